"""Place: where a part of a network stands. It is passed from part to part, as in shape inference, and makes their rows."""

from dataclasses import dataclass, field, replace

from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.network.rows import REAL, Operation, Population

STATES = "neuron states"  # the line of an audit for all neurons


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The stream that a part reads, [T, B, C, H, W] or [T, B, N, C], and the part's path in the network.

    `width` is C and `side` is H = W; N = `side` ** 2. `steps` is T. A `still` stream is the same at all steps: an image.
    `stage` is the part of the network that holds the part: "stem", "blocks.0", ..., "head"; `block` is the index of that
    block, None outside blocks. `part` is the part's name. `neuron` is the kind of all neurons of the network.
    """

    width: int
    side: int
    steps: int
    still: bool
    neuron: Neuron = field(default_factory=PLIF)
    stage: str = ""
    block: int | None = None
    part: str = ""

    @property
    def path(self) -> str:
        """The path of the part's module."""
        return self.part if self.block is None else f"{self.stage}.{self.part}"

    @property
    def tokens(self) -> int:
        """N."""
        return self.side**2

    def entering(self, block: int | None, part: str) -> "Place":
        """The same stream, read by a part of block `block`, or by one outside blocks, which is a stage of its own."""
        stage = part if block is None else f"blocks.{block}"
        return Place(  # `replace` takes twice as long, and every walk makes one place per part
            width=self.width,
            side=self.side,
            steps=self.steps,
            still=self.still,
            stage=stage,
            block=block,
            part=part,
            neuron=self.neuron,
        )

    def weighted(
        self, name: str, group: str, *, macs: int, params: int, driven_by: str, still: bool = False
    ) -> Operation:
        """The row of a weighted sum, computed by the part's module `name`; `driven_by` is a layer of neurons of the part."""
        return Operation(
            name=f"{self.path}.{name}",
            stage=self.stage,
            block=self.block,
            role=f"{self.part}.{name}",
            group=group,
            macs=macs,
            steps=self.steps,
            driven_by=driven_by if driven_by == REAL else f"{self.path}.{driven_by}",
            params=params,
            still=still,
        )

    def linear(self, name: str, group: str, read: int, written: int, driven_by: str) -> Operation:
        """The row of a layer with bias, followed by normalisation, from `read` to `written` values per token."""
        params = read * written + 3 * written
        return self.weighted(name, group, macs=self.tokens * read * written, params=params, driven_by=driven_by)

    def product(self, name: str, group: str, *, macs: int, driven_by: str) -> Operation:
        """The row of a product of two streams, which reads no weights."""
        return replace(self.weighted(name, group, macs=macs, params=0, driven_by=driven_by), weighted=False)

    def neurons(self, name: str, count: int) -> Population:
        """The row of a layer of `count` neurons."""
        return Population(
            name=f"{self.path}.{name}",
            stage=self.stage,
            block=self.block,
            role=f"{self.part}.{name}",
            group=STATES,
            neurons=count,
            steps=self.steps,
            params=self.neuron.params,
            most=self.neuron.most,
        )


def pooled_sides(side: int, pooling: str) -> tuple[int, ...]:
    """Side of the feature map at the input of each convolution, then after the last.

    Pooling takes the maximum over 3x3 pixels with stride 2 and padding 1, which leaves ceil(side / 2).
    """
    sides = [side]
    for flag in pooling:
        sides.append(-(-sides[-1] // 2) if flag == "1" else sides[-1])
    return tuple(sides)
