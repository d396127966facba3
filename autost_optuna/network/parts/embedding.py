"""Embeddings of the published families: images to tokens, and the tokens of one stage to those of the next.

An embedding is a chain of convolutions, each followed by normalisation, with neurons between them. It may add a shortcut.
Where the network's stream carries spikes, neurons end both branches; where it carries currents, they stand before them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from autost_optuna.network.form import Form
from autost_optuna.network.parts.stem import AutoSTStem
from autost_optuna.network.place import Place
from autost_optuna.network.rows import REAL, Row, Sizes
from autost_optuna.network.styles import STYLES
from autost_optuna.units import counted

if TYPE_CHECKING:
    from autost_optuna.network.parts.embedding_torch import EmbeddingModule


class Convolution(NamedTuple):
    """A convolution to `width` channels, padded so that a stride of 1 keeps the size; normalisation follows.

    `pool` says where 3x3 max-pooling with stride 2 follows: behind the normalisation ("currents"), behind the neurons that
    come next ("spikes"), or not (""). A `bare` one reads currents, without neurons before it.
    """

    name: str
    width: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    pool: str = ""
    bare: bool = False


class Shortcut(NamedTuple):
    """What is added to the output: the input of convolution `tap`, as it is or through a convolution of its own.

    Neurons of its `own` read the currents there; else it reads the spikes that the other convolution reads.
    """

    tap: int
    convolution: Convolution | None = None
    own: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """`convolutions` one after the other, and a `shortcut` that is added if there is one."""

    word: ClassVar[str] = "embedding"
    name: ClassVar[str] = "embedding"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {"convolutions": "#0072b2", "position convolution": "#d55e00"}
    convolutions: tuple[Convolution, ...]
    shortcut: Shortcut | None = None

    def after(self, at: Place) -> Place:
        """Tokens of the last convolution's grid; a stream of spikes has as many summands as branches."""
        side = at.side
        for one in self.convolutions:
            side = _halved(-(-side // one.stride), one.pool != "")
        carried = replace(at, width=self.convolutions[-1].width, side=side, still=False, source=REAL, most=0)
        if not at.spiking:
            return carried
        branches = 1 if self.shortcut is None else 2
        return replace(carried, source=at.path, most=branches * at.neuron.most)

    def rows(self, at: Place) -> Iterator[Row]:
        """Convolutions of K^2 C D MACs per pixel, divided by their groups, and the neurons between them."""
        read, side = at.width, at.side
        taps: list[tuple[int, int, str]] = []  # what each convolution reads: channels, side, driver
        for number, (one, before, behind) in enumerate(zip(self.convolutions, *self.neurons(at), strict=True)):
            if number == 0 and before:
                yield at.neurons(before, read * side**2)
            first = REAL if at.stage == "stem" else "neuron"
            taps.append((read, side, first if number == 0 else before or REAL))
            yield self._row(at, one, taps[-1], still=at.still and number == 0)
            read, side = one.width, _halved(-(-side // one.stride), one.pool == "currents")
            if behind:
                yield at.neurons(behind, read * side**2)
            side = _halved(side, one.pool == "spikes")
        if self.shortcut is not None and self.shortcut.convolution is not None:
            channels, wide, driver = taps[self.shortcut.tap]
            if self.shortcut.own and not at.spiking:
                yield at.neurons("shortcut_neuron", channels * wide**2)
                driver = "shortcut_neuron"
            yield self._row(at, self.shortcut.convolution, (channels, wide, driver))
            if at.spiking:
                yield at.neurons("shortcut_neuron", read * side**2)

    def neurons(self, at: Place) -> tuple[list[str], list[str]]:
        """The names of the layers of neurons before and behind each convolution, "" where there is none."""
        before = [
            "" if one.bare or (number == 0 and (at.spiking or at.stage == "stem")) else f"neuron{number or ''}"
            for number, one in enumerate(self.convolutions)
        ]
        return before, [*before[1:], f"neuron{len(self.convolutions)}" if at.spiking else ""]

    def _row(self, at: Place, one: Convolution, tap: tuple[int, int, str], *, still: bool = False) -> Row:
        read, side, driver = tap
        weights = one.kernel**2 * read // one.groups * one.width
        position, pixels = one.name == "position", (-(-side // one.stride)) ** 2
        row = at.weighted(
            one.name,
            "position convolution" if position else "convolutions",
            Sizes(read * side**2, one.width * pixels),
            macs=weights * pixels,
            params=weights + 2 * one.width,
            driven_by=driver,
        )
        return replace(row, still=still, pooled=one.pool != "")

    def weights(self, at: Place) -> tuple[object, ...]:
        """The stage, the channels that it reads, and its convolutions."""
        return self.name, at.stage, at.width, tuple(self.convolutions), self.shortcut

    def module(self, at: Place) -> "EmbeddingModule":
        """The twin."""
        from autost_optuna.network.parts.embedding_torch import EmbeddingModule

        return EmbeddingModule(self, at)


def _halved(side: int, pooled: bool) -> int:
    return -(-side // 2) if pooled else side


def entrance(form: Form, width: int, stage: int, pooling: str) -> AutoSTStem | Embedding:
    """What leads into a stage, the first of which is 0. ValueError if it cannot pool as often as it should."""
    if form.is_autost_stem:
        return AutoSTStem(width=width, pooling=pooling)
    kind = STYLES[form.stem].embedding
    if kind in ("autost", "spikformer", "spikingformer", "sdt"):
        return _plain(form, kind, width, pooling)
    pools = pooling.count("1") - max(0, len(form.depths) - 1)
    if pools < 0:
        raise ValueError(
            f"{len(form.depths)} stages halve the image {counted(len(form.depths) - 1, 'time')}, and pooling {pooling} only "
            f"{counted(pooling.count('1'), 'time')}; use fewer stages, or pooling with more ones"
        )
    if kind == "spikingresformer":
        return _resformer(width, stage, pools)
    if stage:
        return _later(kind, width)
    if kind == "maxformer" and pools == 2:  # as on ImageNet
        return Embedding(
            convolutions=(
                Convolution("conv1", width // 2, stride=2),
                Convolution("conv2", width, stride=2),
                Convolution("conv3", width),
            ),
            shortcut=Shortcut(1, Convolution("shortcut", width, 1, 2)),
        )
    return _first(kind, width, pools)


def _plain(form: Form, kind: str, width: int, pooling: str) -> Embedding:
    """Convolutions of C/8, C/4, C/2 and C channels, or the last of them, and a position convolution."""
    flags = pooling[-form.convolutions :]
    if flags.count("1") != pooling.count("1"):
        raise ValueError(
            f"{form.convolutions} convolutions cannot pool as {pooling} says; use pooling with other flags"
        )
    depthwise = width if form.position == "depthwise" else 1
    position = form.position != "absent"
    convolutions = []
    for number, flag in enumerate(flags, 1):
        last = number == len(flags)
        # Where currents are what the shortcut or the stream takes from the last one, they are pooled, as in SDT.
        currents = last and form.residual == "membrane" and not (kind == "spikingformer" and position)
        pool = ("currents" if currents else "spikes") if flag == "1" else ""
        convolutions.append(Convolution(f"conv{number}", width // 2 ** (len(flags) - number), pool=pool))
    if position:
        bare = kind == "autost" and form.residual == "membrane"
        convolutions.append(Convolution("position", width, groups=depthwise, bare=bare))
    skip = position and kind != "spikingformer"
    return Embedding(convolutions=tuple(convolutions), shortcut=Shortcut(len(flags)) if skip else None)


def _first(kind: str, width: int, pools: int) -> Embedding:
    """The first embedding of QKFormer and Max-Former, which halve the image `pools` times."""
    own = kind == "maxformer"
    if pools == 0:
        convolutions = [Convolution("conv1", width // 2), Convolution("conv2", width)]
        return Embedding(
            convolutions=tuple(convolutions), shortcut=Shortcut(1, Convolution("shortcut", width, 1), own=True)
        )
    if pools == 1:
        pooled = Convolution("shortcut", width, 1, pool="currents") if own else Convolution("shortcut", width, 1, 2)
        return Embedding(
            convolutions=(Convolution("conv1", width // 2), Convolution("conv2", width, pool="currents")),
            shortcut=Shortcut(1, pooled),
        )
    if pools == 2:  # QKFormer's on ImageNet
        return Embedding(
            convolutions=(
                Convolution("conv1", width // 2, pool="currents"),
                Convolution("conv2", width, pool="currents"),
                Convolution("conv3", width),
            ),
            shortcut=Shortcut(1, Convolution("shortcut", width, 1, 2)),
        )
    if pools == 3 and width % 8 == 0:  # both families' for recordings
        widths = (width // 4, width // 2, width)
        pooled_ones = (Convolution(f"conv{n}", each, pool="currents") for n, each in enumerate(widths, 2))
        return Embedding(
            convolutions=(Convolution("conv1", width // 8), *pooled_ones),
            shortcut=Shortcut(2, Convolution("shortcut", width, 1, 4)),
        )
    raise ValueError(
        f"the first embedding of {kind} would halve the image {pools} times to width {width}; "
        "use more stages, pooling with fewer ones, or a width that 8 divides"
    )


def _later(kind: str, width: int) -> Embedding:
    """The embedding of a later stage, which halves the grid."""
    if kind == "maxformer":
        return Embedding(
            convolutions=(Convolution("conv1", width, pool="currents"), Convolution("conv2", width)),
            shortcut=Shortcut(0, Convolution("shortcut", width, 1, pool="currents")),
        )
    first = (
        kind == "qkformer-imagenet"
    )  # which pools behind the first convolution, QKFormer for CIFAR behind the second
    pools = ("currents", "") if first else ("", "currents")
    return Embedding(
        convolutions=tuple(Convolution(f"conv{n}", width, pool=pool) for n, pool in enumerate(pools, 1)),
        shortcut=Shortcut(0, Convolution("shortcut", width, 1, 2)),
    )


def _resformer(width: int, stage: int, pools: int) -> Embedding:
    if stage:
        return Embedding(convolutions=(Convolution("conv1", width, stride=2),))
    if pools > 2:
        raise ValueError(
            f"the first embedding of spikingresformer cannot halve the image {pools} times; use more stages"
        )
    one = Convolution("conv1", width, 7, 2) if pools == 2 else Convolution("conv1", width)
    return Embedding(convolutions=(one._replace(pool="currents" if pools else ""),))
