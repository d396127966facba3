"""All proxies of one architecture by name, each computed only on request."""

from collections.abc import Collection, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, total_mj
from autost_optuna.proxies.flops import count_flops, count_params
from autost_optuna.proxies.goals import GOALS, check_goals

if TYPE_CHECKING:
    from torch import Tensor

    from autost_optuna.proxies.patterns import Pattern
    from autost_optuna.proxies.reuse import InitialRates


def measure_scores(
    architecture: Architecture,
    rates: "InitialRates",
    labels: "Tensor | None",
    names: Collection[str],
    convention: Convention = DEFAULT,
) -> dict[str, float]:
    """The proxies `names` of an architecture on the images and weights of `rates`: means over its seeds, in that order.

    `labels` [B] are the classes of all its images, seed after seed; only SNIP and GradNorm need them. Proxies with the same
    `source` are computed together, others not at all. A score that cannot separate images is -inf, for example if two spike
    patterns are equal. In a deep network rounding alone moves spikes: with another number of threads, SNIP, GradNorm and Zen
    of ten blocks differ by a few per cent. Any thread may call it. ValueError if a name is not a proxy, or a label is not a
    class of the task.
    """
    from autost_optuna.proxies.proof import MEASURING

    check_goals(names)
    task, asked = rates.task, {GOALS[name].source for name in names}
    found: dict[str, float] = {}
    if "counts" in asked:
        found |= {"params": float(count_params(architecture, task)), "flops": float(count_flops(architecture, task))}
    if "rates" in asked:
        ledger, layers = operations_and_populations(architecture, task)
        mean = mean_by_operation(rates.measure(architecture))
        found["energy_mj"] = total_mj(estimate_energy(ledger, mean, convention, layers))
    if "patterns" in asked:
        if {"naswot", "sahd"} & set(names) and len(rates.batches[rates.seed]) < 2:
            raise ValueError("naswot and sahd compare images, and there is 1; measure on --images 2 or more")
        found |= _means([_of_patterns(patterns) for patterns in rates.measure_patterns(architecture)])
    if asked & {"weights", "gradients", "noise"}:
        classes = [None] * rates.seeds if labels is None else labels.chunk(rates.seeds)
        parts = zip(rates.batches.items(), classes, strict=True)
        with MEASURING:  # on a GPU, another thread's measurement would change the algorithms of this one
            found |= _means([_of_network(architecture, task, seed, x, y, asked) for (seed, x), y in parts])
    return {name: found[name] for name in names}


def _checked(labels: "Tensor | None", task: Task) -> "Tensor":
    """The labels. ValueError if they are missing, or if one is not a class of the task."""
    remedy = "so SNIP and GradNorm cannot be computed; give images of the task's own classes, or leave these two out"
    if labels is None:
        raise ValueError(f"the classes of the images are not known, {remedy}")
    if int(labels.max()) >= task.num_classes:
        raise ValueError(
            f"class {int(labels.max())} of an image is not one of the {task.num_classes} of task {task.name}, {remedy}"
        )
    return labels


def _of_patterns(patterns: "Sequence[Pattern]") -> dict[str, float]:
    from autost_optuna.proxies.patterns import naswot, sahd, total_spikes

    return {"total_spikes": total_spikes(patterns), "naswot": naswot(patterns), "sahd": sahd(patterns)}


def _of_network(
    architecture: Architecture, task: Task, seed: int, images: "Tensor", labels: "Tensor | None", asked: Collection[str]
) -> dict[str, float]:
    """Scores of the network with the weights of `seed`: from its weights, its gradients and its response to noise."""
    import torch

    from autost_optuna.network.transformer import SpikingTransformer
    from autost_optuna.proxies.gradients import grad_norm, path_network, snip, synflow, weight_gradients
    from autost_optuna.proxies.rates import batch_statistics
    from autost_optuna.proxies.zen import Features, zen

    network = SpikingTransformer(architecture, task, seed=seed).to(images.device)
    found: dict[str, float] = {}
    if "weights" in asked:
        paths = path_network(network)
        ones = torch.ones(1, *paths.task.input_shape, device=images.device)
        found["synflow"] = synflow(paths, ones, [paths.stem, *paths.blocks])
    if "gradients" in asked:
        classes = _checked(labels, task).to(images.device)
        with batch_statistics(network):
            gradients = weight_gradients(network, images, classes)
        found |= {"snip": snip(gradients), "grad_norm": grad_norm(gradients)}
    if "noise" in asked:
        drawn = torch.randn(2, *images.shape, generator=torch.Generator().manual_seed(seed)).to(images.device)
        features = Features(network)
        with batch_statistics(features):
            found["zen"] = zen(features, *drawn)
    return found


def _means(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    """The means over seeds; -inf if one of the values is."""
    return {name: fmean(sample[name] for sample in samples) for name in samples[0]}
