"""Place: where a part of a network stands. It is passed from part to part, as in shape inference, and makes their rows."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.network.rows import REAL, Operation, Population, Sizes
from autost_optuna.network.styles import STYLES, USUAL_STYLE

STATES = "neuron states"  # the line of an audit for all neurons


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The stream that a part reads, [T, B, C, H, W] or [T, B, N, C], and the part's path in the network.

    `width` is C and `side` is H = W; N = `side` ** 2. `steps` is T. A `still` stream is the same at all steps: an image.
    `stage` is the part of the network that holds the part: "stem", "blocks.0", ..., "head"; `block` is the index of that
    block, None outside blocks. `part` is the part's name. `neuron` is the kind of all neurons of the network.

    `stem` names the network's style (`styles`). Where the network is `spiking`, its stream carries sums of spikes: whole
    numbers up to `most`, from `source`, which parts read as they are. Else it carries membrane currents, which parts read
    through a neuron of their own, called "neuron".
    """

    width: int
    side: int
    steps: int
    still: bool
    neuron: Neuron = field(default_factory=PLIF)
    stage: str = ""
    block: int | None = None
    part: str = ""
    stem: str = USUAL_STYLE
    spiking: bool = False
    source: str = REAL
    most: int = 0

    @property
    def path(self) -> str:
        """The path of the part's module."""
        return self.stage if self.block is None else f"{self.stage}.{self.part}"

    @property
    def biases(self) -> tuple[str, ...]:
        """The layers that have a bias, by their names in their parts."""
        return STYLES[self.stem].biases

    @property
    def order(self) -> str:
        """The order of attention's products: "qk" for (q k^T) v, "kv" for q (k^T v)."""
        return STYLES[self.stem].order

    @property
    def scale(self) -> float:
        """By what attention's first product is multiplied."""
        return STYLES[self.stem].scale

    @property
    def group(self) -> int:
        """The channels of a group of a grouped convolution, if they divide its channels."""
        return STYLES[self.stem].group

    @property
    def tokens(self) -> int:
        """N."""
        return self.side**2

    @property
    def joined(self) -> bool:
        """Whether an MLP that is as wide as its stream of currents adds to it behind both layers."""
        return STYLES[self.stem].joined and not self.spiking

    def entering(self, block: int | None, part: str, stage: str = "") -> "Place":
        """The same stream, read by a part of block `block`, or by one outside blocks, a stage called `stage` or as the part."""
        stage = stage or (part if block is None else f"blocks.{block}")
        return Place(  # `replace` takes twice as long, and every walk makes one place per part
            width=self.width,
            side=self.side,
            steps=self.steps,
            still=self.still,
            stage=stage,
            block=block,
            part=part,
            neuron=self.neuron,
            stem=self.stem,
            spiking=self.spiking,
            source=self.source,
            most=self.most,
        )

    def divided(self, num_heads: int) -> "Place":
        """The same place. ValueError unless the heads divide the width."""
        if self.width % num_heads:
            raise ValueError(
                f"num_heads {num_heads} does not divide embed_dim {self.width}; choose heads that divide it, or another width"
            )
        return self

    def adding(self) -> "Place":
        """The stream to which the branch of a part was added: spikes of one more layer of neurons, or currents."""
        return replace(self, source=self.path, most=self.most + self.neuron.most) if self.spiking else self

    def entry(self) -> Iterator[Population]:
        """The row of the neurons through which a branch reads currents; it reads spikes as they are."""
        if not self.spiking:
            yield self.neurons("neuron", self.tokens * self.width)

    def exit(self, name: str) -> Iterator[Population]:
        """The row of the neurons that end a branch whose sum is a stream of spikes."""
        if self.spiking:
            yield self.neurons(name, self.tokens * self.width)

    def weighted(self, name: str, group: str, sizes: Sizes, *, macs: int, params: int, driven_by: str) -> Operation:
        """The row of a weighted sum, computed by the part's module `name`; `driven_by` is a layer of neurons of the part.

        If it is "neuron" and the stream is of spikes, the stream drives it.
        """
        stream = driven_by == "neuron" and self.spiking
        return Operation(
            name=f"{self.path}.{name}",
            stage=self.stage,
            block=self.block,
            role=f"{self.part}.{name}",
            group=group,
            macs=macs,
            steps=self.steps,
            driven_by=self.source if stream else driven_by if driven_by == REAL else f"{self.path}.{driven_by}",
            params=params,
            sizes=sizes,
            most=1 if driven_by == REAL else self.most if stream else self.neuron.most,
            levels=1 if driven_by == REAL else self.neuron.most,
        )

    def gated(self, name: str, group: str) -> Operation:
        """The row of a layer of C C weights that reads what a mask lets pass through "gate"."""
        most = self.neuron.most**2  # a mask is as large as a spike
        return replace(self.linear(name, group, self.width, self.width, "gate"), most=most, levels=most)

    def linear(self, name: str, group: str, read: int, written: int, driven_by: str) -> Operation:
        """The row of a layer, followed by normalisation, from `read` to `written` values per token."""
        params = read * written + (3 if name in self.biases else 2) * written
        sizes = Sizes(self.tokens * read, self.tokens * written)
        return self.weighted(name, group, sizes, macs=self.tokens * read * written, params=params, driven_by=driven_by)

    def product(self, name: str, group: str, sizes: Sizes, *, macs: int, driven_by: str) -> Operation:
        """The row of a product of two streams, which reads no weights."""
        return replace(self.weighted(name, group, sizes, macs=macs, params=0, driven_by=driven_by), weighted=False)

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
