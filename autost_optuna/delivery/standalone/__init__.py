"""The network as one file of plain PyTorch, to run it without this package.

The classes are the sources of the parts' twins, without what draws weights or makes training and judging faster.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from string import Template
from typing import Any

import torch

from autost_optuna.data import Normalisation
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import chain
from autost_optuna.network.parts import genes_of
from autost_optuna.network.task import Task
from autost_optuna.network.transformer import Block
from autost_optuna.training.checkpoint import WEIGHTS

NAME = "model.py"
STREAM = {
    "membrane": "is real-valued; every layer in a block reads spikes.",
    "spike": "is a sum of spikes, which layers of a block read as whole numbers.",
}
LEFT_OUT = {"initialise", "short", "pack", "follow_paths"}
READ = (
    "stage",
    "width",
    "side",
    "steps",
    "still",
    "spiking",
    "biases",
    "order",
    "joined",
    "group",
    "scale",
)  # of a place


def write_model(architecture: Architecture, task: Task, normalisation: Normalisation) -> str:
    """The text of model.py, which reads the weights of that architecture from the same folder."""
    template = Template((files(__name__) / f"{NAME}.in").read_text(encoding="utf-8"))
    parts: list[str] = []
    sources: dict[Any, str] = {}
    for at, part, _ in chain(architecture, task):
        with torch.device("meta"):
            twin = type(part.module(at))
        _collect(twin, sources)
        genes = {gene: _plain(getattr(part, gene)) for gene in genes_of(part)}
        place = {name: getattr(at, name) for name in READ}
        parts.append(f"    ({at.path!r}, {twin.__name__}, {genes!r}, {place!r}),".replace("'", '"'))
    _collect(Block, sources)
    classes = "\n\n\n".join(sources.values())
    neuron = next(chain(architecture, task)).at.neuron
    with torch.device("meta"):
        module = neuron.module()
    node = type(module).__bases__[-1]
    return template.substitute(
        title=architecture.to_text(),
        stream=STREAM[architecture.form.residual],
        shape=f"[B, {', '.join(map(str, task.input_shape))}]",
        weights=WEIGHTS,
        input_shape=task.input_shape,
        num_classes=task.num_classes,
        scale=normalisation.scale,
        mean=list(normalisation.mean),
        std=list(normalisation.std),
        classes=classes,
        imported="dataclass, replace" if "replace(" in classes else "dataclass",
        node=node.__name__,
        tau_name="init_tau" if "init_tau" in inspect.signature(node).parameters else "tau",
        tau=neuron.tau,
        settings=module.written,
        spikes="0 or 1" if neuron.most == 1 else f"whole numbers up to {neuron.most}",
        threshold=neuron.threshold,
        parts="\n".join(parts),
    )


def _collect(thing: Any, sources: dict[Any, str]) -> None:
    """Add the source of a class or function of this package to `sources`, behind those that it uses."""
    if thing in sources:
        return
    source = _cut(inspect.getsource(thing))
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    around = vars(sys.modules[thing.__module__])
    for name in sorted(names & around.keys()):
        used = around[name]
        if isinstance(used, int | float | str | tuple):
            sources[name] = f"{name} = {used!r}"
        elif getattr(used, "__module__", "").startswith("autost_optuna.") and used is not thing:
            _collect(used, sources)
    sources[thing] = source


def _plain(value: Any) -> Any:
    """A gene, with plain tuples for named ones."""
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def _cut(source: str) -> str:
    """The source of a class without the methods that are left out, and without what only type checkers read."""
    source = re.sub(r"\b(part|at): [A-Z]\w+( \| \w+)*", r"\1: SimpleNamespace", source)
    source = re.sub(r"\bNeuronModule\b", "nn.Module", source)
    source = re.sub(r"  # type: ignore\[[^]]*\]", "", source)
    lines = source.rstrip().splitlines()
    for node in reversed(list(_methods(source))):
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        del lines[first - 2 : node.end_lineno]  # with the empty line above
    return "\n".join(lines)


def _methods(source: str) -> Iterator[ast.FunctionDef]:
    whole = ast.parse(source).body[0]
    body = whole.body if isinstance(whole, ast.ClassDef) else []
    return (node for node in body if isinstance(node, ast.FunctionDef) and node.name in LEFT_OUT)
