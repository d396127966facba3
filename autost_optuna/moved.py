"""What 0.1.0 called otherwise still works until the next version: module paths and arguments. Each use warns."""

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

KEPT_NAME = {  # by room, the modules that kept their names when they moved there
    "network": "architecture task",
    "proxies": "goals pages",
    "front": "candidate constraints convergence health",
    "storage": "artifacts journal location patience storage transfer",
    "evidence": "validity verdict",
    "search": "adopt baselines bills enrol exact fork genes lost own ownership presence rescue restore"
    " runner sampler selection settings workers",
    "training": "augment batches calibration checkpoint evaluation forecast halving recipe",
    "delivery": "board card dashboard export graphs nir quickstart report reproduce standalone",
}
SPLIT = {  # modules that were renamed, or split into several
    "archive": "delivery.bundle",
    "front": "front.front front.picks front.certainty",
    "model": "network",
    "objective": "search.objective search.evaluate search.describe",
    "plots": "delivery.plots",
    "population": "search.archive",
    "published": "network.families",
    "model.blocks": "network.layers network.transformer network.parts.stem_torch network.parts.ssa_torch"
    " network.parts.mlp_torch",
    "model.linear": "network.layers",
    "model.neuron": "network.neurons.plif_torch network.neurons.module network.neurons.steps",
    "proxies.operations": "network.chain network.rows",
    "proxies.spikes": "proxies.rates proxies.reuse proxies.accumulates",
    "report": "delivery.report delivery.words delivery.trust",
    "space": "space.space space.parameters",
    "study": "search.study search.search search.catalogue search.summary",
    "table": "evidence.tabular training.worth",
    "trained": "training.record training.claims training.records",
    "trainer": "training.trainer training.loop training.loss training.device training.resume",
    "training": "training.orders training.crew training.members training.member",
}
WITHIN = {  # packages whose modules moved with them
    "model": "transformer",
    "plots": "audit convergence figure frame front genes labels names page points stages study trained validity",
}
RENAMED = {
    "model.blocks": {"Stem": "AutoSTStemModule", "Attention": "SSAModule", "MLP": "MLPModule"},
    "model.neuron": {"PLIF": "PLIFModule"},
    "trained": {"Training": "Record", "Trainings": "Records"},
    "trainer": {"Trained": "Result"},
    "evaluation": {"evaluate": "accuracy_of"},
    "convergence": {"Evidence": "Convergence", "in_words": "convergence_in_words"},
}
OLD = {
    **{name: [f"{room}.{name}"] for room, names in KEPT_NAME.items() for name in names.split()},
    **{name: targets.split() for name, targets in SPLIT.items()},
    **{f"{name}.{part}": [f"{SPLIT[name]}.{part}"] for name, parts in WITHIN.items() for part in parts.split()},
}


class Forward:
    """`__getattr__` of an old module path: looks up a name in its new module and warns."""

    def __init__(self, path: str) -> None:
        self._path = path
        old = path.removeprefix("autost_optuna.")
        self._targets = [f"autost_optuna.{target}" for target in OLD[old]]
        self._renamed = RENAMED.get(old, {})

    def __call__(self, name: str) -> Any:
        """The object called `name`. AttributeError if no new module has it."""
        if name.startswith("__"):
            raise AttributeError(name)
        # Leave a module of a room with the same name to the import system: looking further would import it too early.
        if "__path__" not in vars(sys.modules[self._path]) or find_spec(f"{self._path}.{name}") is None:
            for target in self._targets:
                now = self._renamed.get(name, name)
                found = getattr(import_module(target), now, self)
                if found is not self:
                    told = f"{self._path}.{name} is {target}.{now} now; the old path ends with the next version"
                    warnings.warn(told, FutureWarning, stacklevel=2)
                    return found
        raise AttributeError(f"module {self._path!r} has no attribute {name!r}")


class OldPaths(MetaPathFinder, Loader):
    """Finds the module paths of 0.1.0 that no longer exist."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The specification of an old path, or None for any other."""
        root, _, rest = name.partition(".")
        return ModuleSpec(name, self, is_package=rest in WITHIN) if root == "autost_optuna" and rest in OLD else None

    def exec_module(self, module: ModuleType) -> None:
        """Make the module look up its names elsewhere; it has none of its own."""
        module.__getattr__ = Forward(module.__name__)  # type: ignore[method-assign]


def install() -> None:
    """Make old paths importable. This finder comes last, so that modules that exist take precedence."""
    if not any(isinstance(finder, OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(OldPaths())


def regrouped(**groups: type) -> Callable[[Function], Function]:
    """A function that also takes the arguments of 0.1.0 that now are fields of its arguments `groups`, dataclasses.

    They are keywords. Those of the first argument may also be positional.
    """
    held = {name: [field.name for field in fields(group)] for name, group in groups.items()}

    def decorate(function: Function) -> Function:
        own = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            for name, group in groups.items():
                old = {field: named.pop(field) for field in held[name] if field in named and field not in own}
                if name == own[0] and given and not isinstance(given[0], group):
                    old.update(zip(held[name], given, strict=False))
                    given = given[len(held[name]) :]
                if old:
                    there = f"{group.__module__}.{group.__name__}"
                    told = (
                        f"{function.__name__}: {', '.join(old)} are fields of {name}, {there}, from the next version on"
                    )
                    warnings.warn(told, FutureWarning, stacklevel=2)
                    named[name] = replace(named[name], **old) if name in named else group(**old)
            if own[0] in groups and own[0] in named:
                given = (named.pop(own[0]), *given)
            return function(*given, **named)

        return call  # type: ignore[return-value]

    return decorate
