"""All proxies of one architecture by their names, each computed only where it is asked for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from autost_optuna.architecture import Architecture
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, total_mj
from autost_optuna.proxies.flops import count_flops, count_params
from autost_optuna.proxies.operations import operations, populations
from autost_optuna.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from autost_optuna.proxies.patterns import Pattern
    from autost_optuna.proxies.spikes import InitialRates


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What a proxy is called, which way is better, and what it is computed from."""

    label: str
    direction: Literal["maximize", "minimize"]
    source: Literal["counts", "rates", "patterns", "weights", "gradients", "noise"]


SCORES = {
    "params": Score(label="parameters", direction="maximize", source="counts"),
    "flops": Score(label="FLOPs", direction="maximize", source="counts"),
    "energy_mj": Score(label="energy (mJ)", direction="minimize", source="rates"),
    "total_spikes": Score(label="spikes an image", direction="minimize", source="patterns"),
    "naswot": Score(label="NASWOT", direction="maximize", source="patterns"),
    "sahd": Score(label="SAHD", direction="maximize", source="patterns"),
    "synflow": Score(label="log SynFlow", direction="maximize", source="weights"),
    "snip": Score(label="SNIP", direction="maximize", source="gradients"),
    "grad_norm": Score(label="GradNorm", direction="maximize", source="gradients"),
    "zen": Score(label="Zen", direction="maximize", source="noise"),
}


def check_scores(names: Collection[str]) -> None:
    """ValueError where one of `names` is no proxy, with those that there are."""
    for name in names:
        if name not in SCORES:
            raise ValueError(f"no proxy {name!r}; choose among {', '.join(SCORES)}")


def scores(
    architecture: Architecture,
    task: Task,
    images: "Tensor",
    labels: "Tensor",
    seed: int = 0,
    names: Collection[str] = tuple(SCORES),
    *,
    convention: Convention = DEFAULT,
    device: str = "cpu",
) -> dict[str, float]:
    """The proxies called `names` of an architecture with weights of `seed`, on `images` [B, *task.input_shape] of `labels` [B].

    All those of one `source` are computed together, the others not at all. A score that cannot tell is -inf, as that of spike
    patterns of which two are the same. ValueError where a name is no proxy, or a class is none of the task's.
    """
    from autost_optuna.proxies.spikes import InitialRates

    patterns = any(SCORES[name].source == "patterns" for name in names if name in SCORES)
    rates = InitialRates(task, images, seed=seed, device=device, patterns=patterns)
    return measure_scores(architecture, rates, labels, names, convention)


def measure_scores(
    architecture: Architecture,
    rates: "InitialRates",
    labels: "Tensor",
    names: Collection[str],
    convention: Convention = DEFAULT,
) -> dict[str, float]:
    """The same on the images, weights and kept spikes of `rates`, means over its seeds, in the order of `names`.

    `labels` are those of all its images, seed after seed.
    """
    check_scores(names)
    task, asked = rates.task, {SCORES[name].source for name in names}
    found: dict[str, float] = {}
    if "counts" in asked:
        found |= {"params": float(count_params(architecture, task)), "flops": float(count_flops(architecture, task))}
    if "rates" in asked:
        ledger, layers = operations(architecture, task), populations(architecture, task)
        mean = mean_by_operation(rates.measure(architecture))
        found["energy_mj"] = total_mj(estimate_energy(ledger, mean, convention, layers))
    if "patterns" in asked:
        found |= _means([_of_patterns(patterns) for patterns in rates.measure_patterns(architecture)])
    if asked & {"weights", "gradients", "noise"}:
        parts = zip(rates.batches.items(), labels.chunk(rates.seeds), strict=True)
        found |= _means([_of_network(architecture, task, seed, x, y, asked) for (seed, x), y in parts])
    return {name: found[name] for name in names}


def check_labels(labels: "Tensor", task: Task) -> None:
    """ValueError where a class is none of the task's."""
    most = int(labels.max())
    if most >= task.num_classes:
        raise ValueError(
            f"class {most} of an image is none of the {task.num_classes} of task {task.name}, so snip and grad_norm cannot be "
            "computed; give images of the task's own classes, or leave these two out"
        )


def _of_patterns(patterns: "Sequence[Pattern]") -> dict[str, float]:
    from autost_optuna.proxies.patterns import naswot, sahd, total_spikes

    return {"total_spikes": total_spikes(patterns), "naswot": naswot(patterns), "sahd": sahd(patterns)}


def _of_network(
    architecture: Architecture, task: Task, seed: int, images: "Tensor", labels: "Tensor", asked: Collection[str]
) -> dict[str, float]:
    """Scores of the network with weights of `seed`: those of its weights, its gradients and its answer to noise."""
    import torch

    from autost_optuna.model.transformer import SpikingTransformer
    from autost_optuna.proxies.gradients import grad_norm, path_network, snip, synflow, weight_gradients
    from autost_optuna.proxies.spikes import batch_statistics
    from autost_optuna.proxies.zen import Features, zen

    network = SpikingTransformer(architecture, task, seed=seed).to(images.device)
    found: dict[str, float] = {}
    if "weights" in asked:
        paths = path_network(network)
        ones = torch.ones(1, *paths.task.input_shape, device=images.device)
        found["synflow"] = synflow(paths, ones, [paths.stem, *paths.blocks])
    if "gradients" in asked:
        check_labels(labels, task)
        with batch_statistics(network):
            gradients = weight_gradients(network, images, labels.to(images.device))
        found |= {"snip": snip(gradients), "grad_norm": grad_norm(gradients)}
    if "noise" in asked:
        drawn = torch.randn(2, *images.shape, generator=torch.Generator().manual_seed(seed)).to(images.device)
        features = Features(network)
        with batch_statistics(features):
            found["zen"] = zen(features, *drawn)
    return found


def _means(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    """The means over seeds; -inf where one is."""
    return {name: fmean(sample[name] for sample in samples) for name in samples[0]}
