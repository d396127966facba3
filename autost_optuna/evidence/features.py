"""What is known of a network without training it, as numbers that a predictor learns from."""

import math
from collections import Counter
from statistics import fmean

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import chain, rows_of
from autost_optuna.network.rows import Operation, Population
from autost_optuna.network.task import Task


def features_of(architecture: Architecture, task: Task, energy_mj: float) -> dict[str, float]:
    """Features by name; what a network lacks is 0.

    Logarithms (base 2) of widths, parameters, neurons, MACs and energy; depth, stages, time steps, mean MLP ratio and heads;
    the shares of groups of rows in MACs ("q, k, v", "MLP") and of kinds of parts among all of their place; 1 for the stem, the
    residual stream, the position and the neuron that the network has.
    """
    macs: Counter[str] = Counter()
    words: Counter[str] = Counter()
    params = neurons = 0
    for link in chain(architecture, task):
        for row in rows_of(link.part, link.at):
            params += row.params
            if isinstance(row, Operation):
                macs[row.group] += row.total_macs
            elif isinstance(row, Population):
                neurons += row.neurons
        if link.adds:
            words[link.part.word] += 1
    form, stages = architecture.form, architecture.stages
    heads = [getattr(mixer, "num_heads", 0) for mixer in architecture.mixers]
    return {
        "width": math.log2(architecture.embed_dim),
        "first width": math.log2(stages[0][0]),
        "depth": float(architecture.depth),
        "stages": float(len(stages)),
        "steps": float(form.time_steps or task.time_steps),
        "MLP ratio": fmean(architecture.mlp_ratio) if architecture.depth else 0.0,
        "heads": fmean(heads) if heads else 0.0,
        "parameters": math.log2(1 + params),
        "neurons": math.log2(1 + neurons),
        "MACs": math.log2(1 + macs.total()),
        "energy": math.log2(max(energy_mj, 1e-12)),
        **{f"MACs of {group}": count / macs.total() for group, count in macs.items()},
        **{f"share of {word}": 2 * count / max(1, words.total()) for word, count in words.items()},
        f"stem {form.stem}": 1.0,
        f"residual {form.residual}": 1.0,
        f"neuron {architecture.neuron.word}": 1.0,
        f"position {form.position}": 1.0,
    }


def columns(rows: list[dict[str, float]]) -> dict[str, tuple[float, ...]]:
    """The features of several networks by name; what one lacks is 0."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: tuple(row.get(name, 0.0) for row in rows) for name in names}
