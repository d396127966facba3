"""Certainty: how likely a candidate is to be on the front, given the spread of its energy."""

from collections.abc import Iterable

from autost_optuna.front.candidate import Candidate
from autost_optuna.front.front import unique


def nondomination(candidates: Iterable[Candidate], *, replicates: int = 1000, seed: int = 0) -> dict[str, float | None]:
    """The probability, by architecture key, that each is non-dominated in FLOPs and in mean energy over images and seeds.

    Seeds, with their weights and images, are drawn with replacement, the same ones for all candidates (a paired bootstrap
    with common random numbers). The probability is the share of draws in which the architecture is non-dominated. Effects
    that all networks share, such as images on which all of them fire more, do not blur the comparison. With one seed, the
    images are drawn instead. That says nothing about other initialisations, and because the images of a batch are normalised
    together, it overstates the effect of other images on a comparison about 3 times (studies/energy_convergence). With one
    image the probabilities are None. ValueError if candidates were measured on different numbers of images or seeds.
    """
    import numpy as np

    distinct = sorted(unique(candidates), key=lambda c: -c.flops)
    if len({(c.images, c.seeds) for c in distinct}) > 1:
        raise ValueError("the candidates were measured on different numbers of images or seeds; measure them alike")
    if not distinct:
        return {}
    energies = np.array([c.energies_mj for c in distinct])  # [n, seeds, images]
    units = energies.mean(2) if energies.shape[1] > 1 else energies[:, 0]
    count = units.shape[1]
    if count == 1:
        return dict.fromkeys((c.architecture.key for c in distinct), None)
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, replicates) / count
    means = units @ drawn.T  # [n, replicates]
    flops = np.array([c.flops for c in distinct])
    starts = np.flatnonzero(np.r_[True, flops[1:] != flops[:-1]])  # groups of equal FLOPs, largest first
    least = np.minimum.reduceat(means, starts)
    above = np.minimum.accumulate(np.vstack([np.full((1, replicates), np.inf), least]))[:-1]
    group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(flops)]))
    kept = (means < above[group]) & (means <= least[group])
    return {c.architecture.key: float(share) for c, share in zip(distinct, kept.mean(1), strict=True)}
