"""Scores from the spike patterns that images cause in an untrained network: how well it separates them. Arithmetic only.

All scores follow from how many spikes each pair of images has in common, so that the patterns themselves are not kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pattern:
    """The spikes of a layer of `neurons` neurons: `shared` [T, B, B] counts those that two images have in common at each step.

    Its diagonals count the spikes of single images.
    """

    neurons: int
    shared: Kernel


def hamming_kernel(patterns: Sequence[Pattern]) -> Kernel:
    """[B, B]: at how many of all N (neuron, step) pairs two images agree: N - d, with d their Hamming distance."""
    # Mellor et al.: K_H = (N_A - d_H)
    return np.sum([pattern.neurons - _distances(pattern) for pattern in patterns], axis=(0, 1))  # type: ignore[no-any-return]


def sparse_kernel(patterns: Sequence[Pattern]) -> Kernel:
    """[B, B]: the mean over layers and steps of n - a d for n neurons, where a scales d to its value at rates of 1/2.

    a = (1/2) / (r (1 - q) + (1 - r) q) for rates r and q of the two images: the distance of random patterns of these rates
    is n / (2 a), so that a d is n / 2 however few spikes there are. If the rates leave no distance possible, a d is 0.
    """
    kernels = []
    for pattern in patterns:
        rates = np.diagonal(pattern.shared, axis1=1, axis2=2) / pattern.neurons
        one, other = rates[:, :, None], rates[:, None, :]
        expected = one * (1 - other) + (1 - one) * other
        scaled = np.divide(0.5 * _distances(pattern), expected, out=np.zeros_like(expected), where=expected > 0)
        kernels.append(pattern.neurons - scaled)  # Kim et al.: the Hamming kernel, its distances made sparsity-aware
    return np.mean(kernels, axis=(0, 1))  # type: ignore[no-any-return]


def naswot(patterns: Sequence[Pattern]) -> float:
    """log |det K|, with K the Hamming kernel of all neurons and steps; -inf if two images cause the same pattern.

    NASWOT: Mellor, Turner, Storkey, Crowley, ICML 2021, arXiv 2006.04647, where the sign of a ReLU is a unit's binary code.
    """
    return _log_determinant(hamming_kernel(patterns), patterns)  # s = log |K_H|


def sahd(patterns: Sequence[Pattern]) -> float:
    """log |det K|, with K the kernel of sparsity-aware Hamming distances; -inf if two images cause the same pattern.

    SAHD: Kim, Li, Park, Venkatesha, Panda, ECCV 2022, arXiv 2201.10355. The mean over layers and steps follows their program,
    which also adds 1e-3 to divisors and so damps layers with few spikes; here distances are scaled exactly.
    """
    return _log_determinant(sparse_kernel(patterns), patterns)  # as in NASWOT, of that kernel


def total_spikes(patterns: Sequence[Pattern]) -> float:
    """Spikes of all neurons in all steps, averaged over images: the source of energy at initialisation."""
    return float(
        sum(np.trace(pattern.shared, axis1=1, axis2=2).sum() / pattern.shared.shape[1] for pattern in patterns)
    )


def _distances(pattern: Pattern) -> Kernel:
    """Hamming distances [T, B, B]: the spikes of both images minus twice those in common."""
    spikes = np.diagonal(pattern.shared, axis1=1, axis2=2)
    return spikes[:, :, None] + spikes[:, None, :] - 2 * pattern.shared


def _log_determinant(kernel: Kernel, patterns: Sequence[Pattern]) -> float:
    apart = sum(_distances(pattern).sum(axis=0) for pattern in patterns)
    if (apart + np.eye(len(kernel)) == 0).any():  # set exactly to 0; a rounded distance would give a finite determinant
        return float("-inf")
    return float(np.linalg.slogdet(kernel).logabsdet)
