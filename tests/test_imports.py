"""Imports point one way: a room imports only rooms above it, and no module itself through others."""

import ast
import functools
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from autost_optuna.network.neurons.kinds import KINDS
from autost_optuna.network.parts.kinds import KINDS as PARTS
from autost_optuna.network.parts.kinds import MIXERS

ROOT = Path(__file__).parent.parent / "autost_optuna"

ROOMS = ["network", "space", "data", "proxies", "front", "storage", "evidence", "search", "training", "delivery", "cli"]

FILES = sorted(ROOT.rglob("*.py"))


def room(module):
    """The position of a module's room; the root is above all."""
    part = (*module.split("."), "")[1]
    return ROOMS.index(part) if part in ROOMS else -1


def name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name(path) for path in FILES}


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


@functools.cache
def imported(path):
    """The modules that a file imports."""
    modules = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            children = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [child for child in children if child in MODULES]
            modules += [*found, node.module] if len(found) < len(children) else found
    return modules


def ours(path):
    """The modules of this package that a file imports, the package's own list of public names apart."""
    return {module for module in imported(path) if module.startswith("autost_optuna.")} - {name(path)}


def test_all_rooms_are_there_and_no_other():
    assert sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()) == sorted(ROOMS)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != ROOT], ids=name)
def test_a_room_imports_only_rooms_above_it(path):
    assert not [module for module in ours(path) if room(module) > room(name(path))]


def test_no_module_imports_itself_through_others():
    graph = {}
    for path in FILES:
        if (
            path != ROOT / "__init__.py"
        ):  # a part, or a neuron, and its twin are one thing in two files, of which one needs no torch
            graph.setdefault(whole(name(path)), set()).update(whole(module) for module in ours(path))
    for module, others in graph.items():
        others.discard(module)
    TopologicalSorter(graph).prepare()  # CycleError names the cycle


def whole(module):
    """The module of a part or a neuron, for that of its twin."""
    return module.removesuffix("_torch") if ".parts." in module or ".neurons." in module else module


def test_only_parts_and_neurons_name_their_kinds():
    """Everything else loops over the chain. `moved` has the names of 0.1.0."""
    named = {kind.__name__ for kind in (*PARTS.values(), *KINDS.values())} | set(MIXERS) - {
        "identity"
    }  # which is a word for more
    found = {}
    for path in FILES:
        if path.parent.name in ("parts", "neurons") or path.name in ("moved.py", "presets.py"):
            continue
        nodes = list(ast.walk(parsed(path)))
        words = {node.id for node in nodes if isinstance(node, ast.Name)}
        words |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        if words & named:
            found[name(path)] = words & named
    assert found == {
        "autost_optuna.network.architecture": {"PLIF"},
        "autost_optuna.network.form": {"depthwise"},  # a position convolution
        "autost_optuna.network.place": {"PLIF"},
    }  # defaults


@pytest.mark.slow
def test_only_the_model_knows_spikingjelly():
    users = {name(path) for path in FILES if any(m.startswith("spikingjelly") for m in imported(path))}
    assert users == {
        f"autost_optuna.network.neurons.{file}" for file in ("module", *(f"{kind}_torch" for kind in KINDS))
    }


def test_arithmetic_takes_no_torch():
    for module in (
        "network/rows.py",
        "network/place.py",
        "network/chain.py",
        "network/parts/__init__.py",
        "network/neurons/__init__.py",
        "network/neurons/kinds.py",
        *(f"network/neurons/{kind}.py" for kind in KINDS),
        "proxies/flops.py",
        "proxies/convention.py",
        "proxies/energy.py",
        "proxies/quantised.py",
        "proxies/patterns.py",
        "front/front.py",
        "front/picks.py",
        "front/candidate.py",
        "training/calibration.py",
        "ranks.py",
        "evidence/verdict.py",
        "evidence/validity.py",
    ):
        assert not [m for m in imported(ROOT / module) if m.startswith("torch")]


@pytest.mark.slow
@pytest.mark.process
def test_every_public_name_is_listed_and_found_and_the_list_imports_no_torch():
    script = (
        "import sys, autost_optuna as package; listed = dir(package); early = {'torch', 'optuna'} & {*sys.modules};"
        "print(sorted(early), sorted(set(package.__all__) - set(listed)), set(package._LAZY) <= set(package.__all__),"
        "[name for name in package.__all__ if getattr(package, name).__name__ != name])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.split("\n")[0] == "[] [] True []"


def test_old_module_paths_lead_to_the_new_ones_and_warn():
    from autost_optuna import moved

    for path, targets in moved.OLD.items():
        old = import_module(f"autost_optuna.{path}")
        for target in targets:
            there = import_module(f"autost_optuna.{target}")
            own = [key for key in vars(there) if getattr(vars(there)[key], "__module__", "") == there.__name__]
            own = [key for key in own if not isinstance(vars(old).get(key), ModuleType)]
            for key in own[:1]:
                with pytest.warns(FutureWarning, match=f"autost_optuna.{path}.{key} is autost_optuna.* now"):
                    assert getattr(old, key) is getattr(there, key)
    with pytest.warns(FutureWarning, match="autost_optuna.study.create is autost_optuna.search.study.create now"):
        from autost_optuna.study import create
    assert create.__module__ == "autost_optuna.search.study"
    with pytest.warns(
        FutureWarning, match=r"autost_optuna.trained.Trainings is autost_optuna.training.claims.Records now"
    ):
        from autost_optuna.trained import Trainings  # noqa: F401
    with pytest.warns(
        FutureWarning, match=r"model.neuron.PLIF is autost_optuna.network.neurons.plif_torch.PLIFModule now"
    ):
        from autost_optuna.model.neuron import PLIF  # noqa: F401
    with pytest.warns(FutureWarning, match="autost_optuna.front.knee is"):
        from autost_optuna.front import knee  # noqa: F401
    with pytest.raises(ImportError):
        import_module("autost_optuna.nowhere")
    with pytest.raises(AttributeError, match=r"'autost_optuna.study' has no attribute 'nothing'"):
        import_module("autost_optuna.study").nothing  # noqa: B018


def test_no_file_of_the_package_is_long():
    assert [name(path) for path in FILES if len(path.read_text().splitlines()) > 300] == []


def test_no_function_but_commands_has_more_than_six_parameters():
    long = []
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and not any(
                "click.command" in ast.unparse(d) for d in node.decorator_list
            ):
                given = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
                if len(given - {"self", "cls"}) > 6:
                    long.append(f"{name(path)}.{node.name}")
    assert long == ["autost_optuna.search.objective.__init__"]  # its keywords keep their names


def test_no_two_classes_share_a_name_and_no_two_public_functions():
    readers = {"load", "read"}  # a common protocol
    seen = Counter()
    for path in FILES:
        for node in parsed(path).body:
            function = isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and path.parent.name != "cli"
            if isinstance(node, ast.ClassDef) or (function and node.name not in readers):
                seen[node.name] += 1
    assert [name for name, count in seen.items() if count > 1] == []
