"""Imports point one way: a module imports only what stands before it in the list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "autost_optuna"

RANKS = [
    "units",
    "notebook",
    "ranks",
    "verdict",
    "validity",
    "files",
    "architecture",
    "task",
    "space",
    "goals",
    "candidate",
    "front",
    "health",
    "data",
    "model",
    "pages",
    "proxies",
    "constraints",
    "settings",
    "enrol",
    "objective",
    "genes",
    "selection",
    "population",
    "sampler",
    "location",
    "patience",
    "journal",
    "storage",
    "artifacts",
    "transfer",
    "convergence",
    "restore",
    "exact",
    "study",
    "own",
    "adopt",
    "lost",
    "rescue",
    "bills",
    "published",
    "baselines",
    "presence",
    "ownership",
    "trained",
    "calibration",
    "table",
    "workers",
    "runner",
    "fork",
    "checkpoint",
    "recipe",
    "augment",
    "batches",
    "evaluation",
    "trainer",
    "forecast",
    "training",
    "halving",
    "archive",
    "graphs",
    "nir",
    "standalone",
    "card",
    "export",
    "plots",
    "board",
    "dashboard",
    "reproduce",
    "report",
    "quickstart",
    "__init__",
    "cli",
    "__main__",
]

ORDER = {
    "data": [
        "dataset",
        "digits",
        "saccades",
        "cifar",
        "imagefolder",
        "events",
        "aedat",
        "nmnist",
        "cifar10dvs",
        "dvs128gesture",
        "cache",
        "__init__",
    ],
    "model": ["__init__", "neuron", "linear", "blocks", "transformer", "packed"],
    "proxies": [
        "__init__",
        "operations",
        "flops",
        "convention",
        "energy",
        "quantised",
        "proof",
        "patterns",
        "counts",
        "spikes",
        "gradients",
        "zen",
        "scores",
    ],
    "plots": [
        "__init__",
        "page",
        "figure",
        "frame",
        "labels",
        "points",
        "names",
        "front",
        "convergence",
        "genes",
        "audit",
        "stages",
        "trained",
        "study",
        "validity",
    ],
    "cli": [
        "show",
        "options",
        "dashboard",
        "trained",
        "study",
        "adopt",
        "copy",
        "run",
        "exact",
        "baselines",
        "front",
        "report",
        "stored",
        "audit",
        "teller",
        "train",
        "networks",
        "validate",
        "__init__",
    ],
}

FILES = sorted(ROOT.rglob("*.py"))


def place(module):
    """("autost_optuna.network.neuron") to its position in the order of imports."""
    parts = module.split(".")[1:]
    if parts and parts[0] in ORDER:
        inner = parts[1] if len(parts) > 1 else "__init__"
        return RANKS.index(parts[0]), ORDER[parts[0]].index(inner)
    return RANKS.index(parts[0] if parts else "__init__"), 0


def name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            children = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = {name(file) for file in FILES}
            found = [child for child in children if child in modules]
            yield from found
            if len(found) < len(children):
                yield node.module


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_module_imports_only_what_stands_before_it(path):
    own = name(path)
    for module in imported(path):
        if module.split(".")[0] == "autost_optuna" and module != own:
            type_only_or_lazy_package = own == "autost_optuna" or module == "autost_optuna"
            assert place(module) < place(own) or type_only_or_lazy_package, f"{own} imports {module}"


def test_only_the_model_knows_spikingjelly():
    users = {name(path) for path in FILES if any(m.startswith("spikingjelly") for m in imported(path))}
    assert users == {"autost_optuna.network.neuron"}


def test_arithmetic_takes_no_torch():
    for module in (
        "proxies/operations.py",
        "proxies/flops.py",
        "proxies/convention.py",
        "proxies/energy.py",
        "proxies/quantised.py",
        "proxies/patterns.py",
        "front.py",
        "candidate.py",
        "calibration.py",
        "ranks.py",
        "verdict.py",
        "validity.py",
    ):
        assert not [m for m in imported(ROOT / module) if m.startswith("torch")]


def test_every_public_name_is_listed_and_found_and_the_list_imports_no_torch():
    script = (
        "import sys, autost_optuna as package; listed = dir(package); early = {'torch', 'optuna'} & {*sys.modules};"
        "print(sorted(early), sorted(set(package.__all__) - set(listed)), set(package._LAZY) <= set(package.__all__),"
        "[name for name in package.__all__ if getattr(package, name).__name__ != name])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.split("\n")[0] == "[] [] True []"
