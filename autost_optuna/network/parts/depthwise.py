"""A depthwise convolution over the grid of tokens as a mixer (Max-Former, 2025)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row, Sizes

if TYPE_CHECKING:
    from autost_optuna.network.parts.depthwise_torch import DepthwiseModule

KERNELS = (3, 5, 7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Depthwise:
    """Every channel is convolved by itself with `kernel` x `kernel` weights. ValueError unless the kernel is 3, 5 or 7."""

    word: ClassVar[str] = "depthwise"
    name: ClassVar[str] = "depthwise"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {"depthwise convolution": "#117733"}
    kernel: int

    def __post_init__(self) -> None:
        if type(self.kernel) is not int or self.kernel not in KERNELS:
            raise ValueError(f"kernel {self.kernel!r} is not one of {', '.join(map(str, KERNELS))}")

    def after(self, at: Place) -> Place:
        """The same shape."""
        return at.adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """K^2 C MACs per token; normalisation follows."""
        weights = self.kernel**2 * at.width
        yield from at.entry()
        yield at.weighted(
            "conv",
            "depthwise convolution",
            Sizes(at.tokens * at.width, at.tokens * at.width),
            macs=weights * at.tokens,
            params=weights + (3 if "conv" in at.biases else 2) * at.width,
            driven_by="neuron",
        )
        yield from at.exit("out_neuron")

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block, the width and the kernel."""
        return self.name, at.block, at.width, self.kernel

    def module(self, at: Place) -> "DepthwiseModule":
        """The twin."""
        from autost_optuna.network.parts.depthwise_torch import DepthwiseModule

        return DepthwiseModule(self, at)
