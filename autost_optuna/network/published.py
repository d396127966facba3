"""Published spiking transformers: their sizes, their authors' figures, and figures counted on the authors' networks.

The package does not build these networks yet. It builds AutoST's form in their sizes, which is a different network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from autost_optuna.network.architecture import Architecture

SOURCES = {
    "Spikformer": "Zhou et al. 2022, arXiv 2209.15425",
    "Spikingformer": "Zhou et al. 2023, arXiv 2304.11954",
}
# Measured in studies/true_spikingformer, on the same images.
MEASURED = (
    "at initialisation on CIFAR-10 images, under horowitz-45nm-fp32, Spikingformer-4-384 costs 0.35 mJ as its authors build it "
    "and 2.02 mJ in AutoST's form"
)
INTEGERS = (
    "Spikformer's residual stream holds integers: at initialisation Spikformer-4-384 costs 0.59 mJ where an integer counts as "
    "that many accumulates, 5.12 mJ where it makes a layer MAC"
)
DIFFERENCES = (
    "In AutoST's form the position convolution reads real values, where the published networks read spikes, and each layer of "
    "neurons has a learnable scalar. Each block of Spikformer has 4 C parameters of LayerNorms that it never uses, each of "
    "Spikingformer C more than ours."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published network: its sizes as an architecture, its authors' figures, and figures counted on their network.

    `params` and `gmacs` (attention products included, summed over 4 time steps) are counted on the authors' network for
    `task`. `accuracies` in % by data set, and `energy_mj` of the trained network for `task`, are as printed in `source`.
    None of these figures belongs to `architecture`, which has the same sizes in AutoST's form.
    """

    name: str
    architecture: Architecture
    task: str
    params: int
    gmacs: float
    accuracies: Mapping[str, float]
    energy_mj: float | None
    remark: str | None = None

    @property
    def source(self) -> str:
        """The paper of its family."""
        return SOURCES[self.name.partition("-")[0]]

    @property
    def accuracies_in_words(self) -> str:
        """The accuracies with their data sets: "95.19 % CIFAR-10, 77.86 % CIFAR-100"."""
        return ", ".join(f"{value:.2f} % {data}" for data, value in self.accuracies.items())

    def to_dict(self) -> dict[str, Any]:
        """Its own figures as JSON, without the architecture, whose figures differ."""
        row = {name: getattr(self, name) for name in ("name", "task", "params", "gmacs", "energy_mj")}
        return {**row, "accuracies": dict(self.accuracies), "source": self.source, "remark": self.remark}


def _cifar(family: str, depth: int, params: int, gmacs: float, accuracies: tuple[float, float]) -> Published:
    """A network for CIFAR of width 384, with heads of 32 dimensions, as in Spikformer-4-384, and an MLP ratio of 4."""
    return Published(
        name=f"{family}-{depth}-384",
        architecture=Architecture.uniform(embed_dim=384, depth=depth, num_heads=12, mlp_ratio=4),
        task="cifar10",
        params=params,
        gmacs=gmacs,
        accuracies=MappingProxyType(dict(zip(("CIFAR-10", "CIFAR-100"), accuracies, strict=True))),
        energy_mj=None,
    )


NETWORKS: Mapping[str, Published] = MappingProxyType(
    {
        network.name.lower(): network
        for network in (
            _cifar("Spikformer", 2, 5_768_122, 2.805010, (94.80, 76.95)),
            _cifar("Spikformer", 4, 9_330_874, 3.736145664, (95.19, 77.86)),
            _cifar("Spikingformer", 2, 5_765_818, 2.805010, (95.22, 78.34)),
            _cifar("Spikingformer", 4, 9_326_266, 3.736145664, (95.61, 79.09)),
            # 8 heads, as in the log of its published energy.
            Published(
                name="Spikingformer-8-512",
                architecture=Architecture.uniform(embed_dim=512, depth=8, num_heads=8, mlp_ratio=4),
                task="imagenet",
                params=29_705_768,
                gmacs=33.436192768,
                accuracies=MappingProxyType({"ImageNet": 74.79}),
                energy_mj=7.46,
                remark="the GMACs of Spikingformer-8-512 have attention as q (k^T v), ours as (q k^T) v",
            ),
        )
    }
)
