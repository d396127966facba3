"""Architecture: what the search chooses in a spiking transformer. A frozen value with JSON, text and AutoST YAML forms."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autost_optuna import notebook, units
from autost_optuna.files import check_keys, parse_json, read_text, read_yaml
from autost_optuna.units import StrPath

Ratio = int | float
SHORT = {"embed_dim": "C", "num_heads": "heads", "mlp_ratio": "ratio"}  # names in the text form by those in JSON
DEEPEST = 1024  # so that a typing error cannot fill the memory before the task checks its own bound


def as_ratio(value: object) -> Ratio:
    """`value` as an MLP ratio, an int if it is whole, so that 4 and 4.0 give equal architectures. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"mlp_ratio {value!r} is not a number; use values such as 3 or 4.5")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"mlp_ratio {value!r} is not positive and finite; use values such as 3 or 4.5")
    return int(value) if value == int(value) else float(value)


def as_count(name: str, value: object) -> int:
    """`value` as an int. ValueError unless it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} {value!r} is not a whole number of at least 1")
    return value


def as_depth(value: object) -> int:
    """`value` as a number of blocks. ValueError if it is out of range."""
    depth = as_count("depth", value)
    if depth > DEEPEST:
        raise ValueError(f"depth {depth} is over the bound {DEEPEST}; choose a smaller one")
    return depth


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A spiking transformer's embedding dimension, depth, and heads and MLP ratio of every block.

    Equal architectures compare equal and have equal hashes and keys. Raises ValueError if no such network exists.
    """

    embed_dim: int
    depth: int
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[Ratio, ...]

    def __post_init__(self) -> None:
        as_count("embed_dim", self.embed_dim)
        as_depth(self.depth)
        if self.embed_dim % 8:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not a multiple of 8, which the stem (C/8, C/4, C/2, C channels) needs"
            )
        for name in ("num_heads", "mlp_ratio"):
            values = getattr(self, name)
            if not isinstance(values, list | tuple):
                raise ValueError(f"{name} {values!r} is not a list; give one value for each of the {self.depth} blocks")
            if len(values) != self.depth:
                raise ValueError(f"{name} lists {len(values)} values for depth {self.depth}; give one for each block")
        object.__setattr__(self, "num_heads", tuple(as_count("num_heads", h) for h in self.num_heads))
        object.__setattr__(self, "mlp_ratio", tuple(as_ratio(r) for r in self.mlp_ratio))
        for heads in self.num_heads:
            if self.embed_dim % heads:
                raise ValueError(
                    f"num_heads {heads} does not divide embed_dim {self.embed_dim}; "
                    "choose heads that divide it, or another width"
                )
        for ratio in self.mlp_ratio:
            if int(ratio * self.embed_dim) < 1:
                raise ValueError(f"mlp_ratio {ratio} leaves no hidden unit at embed_dim {self.embed_dim}; raise it")

    @classmethod
    def uniform(cls, *, embed_dim: int, depth: int, num_heads: int, mlp_ratio: Ratio) -> "Architecture":
        """The architecture whose blocks all have the same number of heads and the same ratio."""
        repeat = as_depth(depth)
        return cls(embed_dim=embed_dim, depth=depth, num_heads=(num_heads,) * repeat, mlp_ratio=(mlp_ratio,) * repeat)

    @property
    def hidden_dims(self) -> tuple[int, ...]:
        """Hidden units of every block's MLP, int(ratio * C)."""
        return tuple(int(ratio * self.embed_dim) for ratio in self.mlp_ratio)

    @property
    def key(self) -> str:
        """Canonical text: equal for equal architectures, different for different ones."""
        heads = ".".join(map(str, self.num_heads))
        ratios = "_".join(map(str, self.mlp_ratio))
        return f"C{self.embed_dim}-d{self.depth}-h{heads}-r{ratios}"

    def _repr_html_(self) -> str:
        """In a notebook: heads and hidden units of the blocks, one line per run of equal blocks; numbered as in the ledger."""
        rows = []
        blocks = enumerate(zip(self.num_heads, self.mlp_ratio, self.hidden_dims, strict=True))
        for cells, group in itertools.groupby(blocks, key=lambda block: block[1]):
            numbers = [number for number, _ in group]
            span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
            rows.append([span, *map(str, cells)])
        title = f"spiking transformer, C={self.embed_dim}, {units.counted(self.depth, 'block')}"
        return notebook.titled(title, notebook.table(["blocks", "heads", "MLP ratio", "hidden units"], rows))

    def to_text(self) -> str:
        """One readable line that `from_text` reads: "C=256,depth=2,heads=4/8,ratio=4"."""

        def brief(values: tuple[Ratio, ...]) -> str:
            return str(values[0]) if len(set(values)) == 1 else "/".join(map(str, values))

        return f"C={self.embed_dim},depth={self.depth},heads={brief(self.num_heads)},ratio={brief(self.mlp_ratio)}"

    @classmethod
    def from_text(cls, text: str) -> "Architecture":
        """Read "C=384,depth=4,heads=8,ratio=4"; heads and ratio may list every block: heads=4/8/4/4.

        The names of the JSON form work too: "embed_dim=384,depth=4,num_heads=8,mlp_ratio=4".
        """
        fields: dict[str, str] = {}
        for part in text.split(","):
            given, equals, value = part.partition("=")
            name = SHORT.get(given.strip(), given.strip())
            if not equals or name in fields:
                raise ValueError(f'architecture {text!r}: cannot read {part!r}; write "C=384,depth=4,heads=8,ratio=4"')
            fields[name] = value.strip()
        if set(fields) != {"C", "depth", "heads", "ratio"}:
            raise ValueError(
                f"architecture {text!r} has the fields {', '.join(fields)}; "
                'it needs C, depth, heads and ratio, as in "C=384,depth=4,heads=8,ratio=4"'
            )
        depth = as_depth(_whole("depth", fields["depth"]))
        heads = [_whole("heads", value) for value in fields["heads"].split("/")]
        ratios = [_number("ratio", value) for value in fields["ratio"].split("/")]
        return cls(
            embed_dim=_whole("C", fields["C"]),
            depth=depth,
            num_heads=tuple(heads * depth if len(heads) == 1 else heads),
            mlp_ratio=tuple(ratios * depth if len(ratios) == 1 else ratios),
        )

    def to_dict(self) -> dict[str, Any]:
        """The dict of the JSON form: {"embed_dim", "depth", "num_heads": [...], "mlp_ratio": [...]}."""
        return {
            "embed_dim": self.embed_dim,
            "depth": self.depth,
            "num_heads": list(self.num_heads),
            "mlp_ratio": list(self.mlp_ratio),
        }

    @classmethod
    def from_dict(cls, data: object) -> "Architecture":
        """Read the JSON form; ValueError names a missing or unknown key."""
        return cls(**check_keys("architecture", data, ("embed_dim", "depth", "num_heads", "mlp_ratio")))

    def to_autost(self) -> dict[str, Any]:
        """AutoST's form of a chosen network: {"RETRAIN": {"MLP_RATIO", "NUM_HEADS", "DEPTH", "EMBED_DIM"}}."""
        return {
            "RETRAIN": {
                "MLP_RATIO": list(self.mlp_ratio),
                "NUM_HEADS": list(self.num_heads),
                "DEPTH": self.depth,
                "EMBED_DIM": self.embed_dim,
            }
        }

    @classmethod
    def from_autost(cls, data: object) -> "Architecture":
        """Read AutoST's RETRAIN section; other sections of the file are ignored, as AutoST does."""
        if not isinstance(data, Mapping) or "RETRAIN" not in data:
            raise ValueError("the YAML has no RETRAIN section; AutoST's form is RETRAIN: {MLP_RATIO, NUM_HEADS, ...}")
        names = ("MLP_RATIO", "NUM_HEADS", "DEPTH", "EMBED_DIM")
        fields = check_keys("RETRAIN", data["RETRAIN"], names)
        return cls(**{name.lower(): value for name, value in fields.items()})

    @classmethod
    def load(cls, path: StrPath) -> "Architecture":
        """Read FILE.json (this project's form) or FILE.yaml (AutoST's RETRAIN form)."""
        path = Path(path)
        if path.suffix in (".yaml", ".yml"):
            return cls.from_autost(read_yaml(path))
        text = read_text(path)
        try:
            data = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not an architecture in JSON ({error}); give an architecture.json") from None
        return cls.from_dict(data)


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a whole number") from None


def _number(name: str, text: str) -> Ratio:
    try:
        return as_ratio(float(text))
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a positive number") from None
