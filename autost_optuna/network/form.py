"""Form: what all blocks of a network share, beside width, depth and neuron. AutoST's form is the default."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from autost_optuna.network.styles import STAGED, STYLES, USUAL_STYLE
from autost_optuna.network.values import as_count, as_one_of

POSITIONS = ("published", "depthwise", "absent")
RESIDUALS = ("membrane", "spike")
MOST_STEPS = 1024
LABELS = {"time_steps": "T", "feed_forward": "ffn"}  # what the text form calls them


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The stem, the stages, and what flows between the blocks of a network.

    `stem` is the family whose embeddings the network has; biases, the order of attention's products and the head are that
    family's too (`styles`). `position` is the position convolution of a stem that has one, and `convolutions` how many a
    stem has before it. `pooling` has one flag for each of four convolutions, "" for the task's; a family with stages halves
    as often in all. `residual` says what the stream between blocks carries: "membrane" currents, which branches read through
    a neuron, or "spike" sums, which they read as they are. `feed_forward` is the kind of feed-forward part of all blocks.
    `depths` and `widths` list the blocks and channels of each stage of a pyramid; without widths each stage doubles them.
    `time_steps` is T, None for the task's.
    """

    stem: str = USUAL_STYLE
    position: str = POSITIONS[0]
    convolutions: int = 4
    pooling: str = ""
    residual: str = RESIDUALS[0]
    feed_forward: str = "mlp"
    depths: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    time_steps: int | None = None

    def __post_init__(self) -> None:
        for name, offered in (("stem", STYLES), ("position", POSITIONS), ("residual", RESIDUALS)):
            as_one_of(name, getattr(self, name), offered)
        if as_count("convolutions", self.convolutions) not in (2, 3, 4):
            raise ValueError(f"convolutions {self.convolutions} is not 2, 3 or 4")
        if not isinstance(self.pooling, str) or len(self.pooling) not in (0, 4) or set(self.pooling) - {"0", "1"}:
            raise ValueError(f'pooling {self.pooling!r} is not four flags of 0 and 1, such as "0011"')
        if self.time_steps is not None and as_count("time_steps", self.time_steps) > MOST_STEPS:
            raise ValueError(f"time_steps {self.time_steps} is over the bound {MOST_STEPS}; choose fewer")
        for name in ("depths", "widths"):
            values = getattr(self, name)
            if isinstance(values, str) or not isinstance(values, list | tuple):
                raise ValueError(f"{name} {values!r} is not a list; give one value per stage")
            object.__setattr__(self, name, tuple(as_count(name, value) for value in values))
        if len(self.depths) == 1:
            object.__setattr__(self, "depths", ())
        if self.widths and len(self.widths) != max(1, len(self.depths)):
            raise ValueError(f"widths {list(self.widths)} and depths {list(self.depths)} list different stages")
        if self.depths and self.stem not in STAGED:
            raise ValueError(f"stem {self.stem} has no embedding for a second stage; choose among {', '.join(STAGED)}")
        if self.stem in STAGED and (self.position != POSITIONS[0] or self.convolutions != 4):
            raise ValueError(f"stem {self.stem} has no position and no convolutions to choose; leave them out")

    @property
    def is_autost_stem(self) -> bool:
        """Whether the stem is AutoST's own, with the position convolution that reads real values."""
        usual = self.stem == USUAL_STYLE and self.position == POSITIONS[0] and self.residual == RESIDUALS[0]
        return usual and self.convolutions == 4

    def normalised(self, embed_dim: int) -> "Form":
        """The same form of a network of this width, without widths that double from stage to stage anyway."""
        if not self.widths or self.widths != self._doubling(embed_dim):
            return self
        return Form(**{name: value for name, value in self.chosen.items() if name != "widths"})

    def _doubling(self, embed_dim: int) -> tuple[int, ...]:
        stages = max(1, len(self.depths))
        return tuple(embed_dim // 2 ** (stages - 1 - stage) for stage in range(stages))

    def stages(self, embed_dim: int, depth: int) -> tuple[tuple[int, int], ...]:
        """Width and blocks of each stage. ValueError if they do not add up to `depth` or end in `embed_dim`."""
        depths, widths = self.depths or (depth,), self.widths or self._doubling(embed_dim)
        if sum(depths) != depth:
            raise ValueError(f"depths {list(depths)} have {sum(depths)} blocks, and depth is {depth}; make them equal")
        if widths[-1] != embed_dim:
            raise ValueError(
                f"widths {list(widths)} end in {widths[-1]}, and embed_dim is {embed_dim}; make them equal"
            )
        fraction = STYLES[self.stem].fraction
        if not self.widths and embed_dim % 2 ** (len(widths) - 1):
            raise ValueError(
                f"embed_dim {embed_dim} cannot be halved from stage to stage; "
                f"choose a multiple of {2 ** (len(widths) - 1)}, or give widths"
            )
        if widths[0] % fraction:
            raise ValueError(self._indivisible(embed_dim, widths[0], fraction))
        return tuple(zip(widths, depths, strict=True))

    def _indivisible(self, embed_dim: int, first: int, fraction: int) -> str:
        if self == AUTOST:
            return f"embed_dim {embed_dim} is not a multiple of 8, which the stem (C/8, C/4, C/2, C channels) needs"
        return f"width {first} of the first stage is not a multiple of {fraction}, which stem {self.stem} needs"

    @property
    def chosen(self) -> dict[str, Any]:
        """What differs from AutoST's form, by name."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, usual) in values.items() if value != usual}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of what differs from AutoST's form."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.chosen.items()}

    def cells(self) -> dict[str, str]:
        """The same as short texts by their labels: {"stem": "qkformer", "depths": "1/1/2", "T": "2"}."""
        return {
            LABELS.get(name, name): "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for name, value in self.chosen.items()
        }


NAMES = tuple(field.name for field in fields(Form))
AUTOST = Form()


def read_form(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of `cells`, by their names as fields: lists of numbers for stages, numbers, words."""

    def number(name: str, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"{name}={text!r} is not a whole number") from None

    found: dict[str, Any] = {}
    for name, text in texts.items():
        if name in ("depths", "widths"):
            found[name] = [number(name, one) for one in text.split("/")]
        else:
            found[name] = number(name, text) if name in ("time_steps", "convolutions") else text
    return found
