"""Space: the choices for every field of an Architecture. AutoST's presets, uniform forms, and the user's own files."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna import notebook
from autost_optuna.files import check_keys, read_toml, read_yaml
from autost_optuna.network.architecture import Architecture, Ratio, as_count, as_depth, as_ratio
from autost_optuna.network.task import Task
from autost_optuna.space.parameters import distribution_of, suggest_choice
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution


def _as_choice(field: str, value: object) -> Ratio:
    """`value` as a choice of an architecture's field."""
    if field == "mlp_ratio":
        return as_ratio(value)
    return as_depth(value) if field == "depth" else as_count(field, value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """The values that a search may choose for each field of an architecture, in ascending order.

    `num_heads` and `mlp_ratio` are chosen for each block, or once for all blocks if `uniform`. Heads must divide the width:
    every choice must divide every width or, if `dividing_heads`, each width offers only the choices that divide it
    (`heads_of`), at least one.
    """

    name: str
    embed_dim: tuple[int, ...]
    depth: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[Ratio, ...]
    uniform: bool = False
    dividing_heads: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"space {self.name!r}: the name is not a text")
        for field in CHOICES:
            values = getattr(self, field)
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise ValueError(f"space {self.name}: {field} {values!r} is not a list of choices, such as [1, 2]")
            try:
                numbers = [_as_choice(field, v) for v in values]
            except ValueError as error:
                raise ValueError(f"space {self.name}: {error}") from None
            if len(set(numbers)) != len(numbers):
                raise ValueError(f"space {self.name}: {field} {list(values)} names a choice twice; name each once")
            object.__setattr__(self, field, tuple(sorted(numbers)))
        for flag in ("uniform", "dividing_heads"):
            if not isinstance(getattr(self, flag), bool):
                raise ValueError(f"space {self.name}: {flag} {getattr(self, flag)!r} is not true or false")
        self._check_heads()
        for dim in self.embed_dim:
            for heads, ratio in itertools.product(self.heads_of(dim), self.mlp_ratio):
                try:
                    Architecture.uniform(embed_dim=dim, depth=1, num_heads=heads, mlp_ratio=ratio)
                except ValueError as error:
                    raise ValueError(f"space {self.name}: {error}") from None

    def _check_heads(self) -> None:
        """ValueError if a number of heads does not fit a width, as strictly as the space demands."""
        for dim, heads in itertools.product(self.embed_dim, self.num_heads):
            if dim % heads and not self.dividing_heads:
                raise ValueError(
                    f"space {self.name}: num_heads {heads} does not divide embed_dim {dim}; choose heads that divide every "
                    "width, or set dividing_heads to true, so that each width has those that divide it"
                )
        for dim in self.embed_dim:
            if not self.heads_of(dim):
                raise ValueError(f"space {self.name}: none of num_heads divides embed_dim {dim}; add one that does")
        for heads in self.num_heads:
            if all(dim % heads for dim in self.embed_dim):
                raise ValueError(f"space {self.name}: num_heads {heads} divides no width; leave it out")

    def heads_of(self, embed_dim: int) -> tuple[int, ...]:
        """The choices of num_heads for a width."""
        return tuple(heads for heads in self.num_heads if not (self.dividing_heads and embed_dim % heads))

    @classmethod
    def load(cls, source: StrPath, *, uniform: bool = False) -> "Space":
        """The preset called `source` (tiny, small, base), or the space in FILE.toml or in AutoST's FILE.yaml."""
        source = os.fspath(source)
        if source in PRESETS:
            space = PRESETS[source]
        elif source.endswith((".toml", ".yaml", ".yml")):
            space = _read(Path(source))
        else:
            raise ValueError(f"no space {source!r}; choose tiny, small or base, or give a FILE.toml or FILE.yaml")
        return replace(space, uniform=True) if uniform else space

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the keys of FILE.toml."""
        lists = {field: list(getattr(self, field)) for field in CHOICES}
        flags = {"uniform": self.uniform, **({"dividing_heads": True} if self.dividing_heads else {})}
        return {"name": self.name, **lists, **flags}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, name: str = "space") -> "Space":
        """Read the form of `to_dict` or of FILE.toml; ValueError names a missing or unknown key."""
        known = check_keys(f"space {name}", data, [field.name for field in fields(cls)], CHOICES)
        return cls(**{"name": name, **known})

    def in_words(self, field: str) -> str:
        """The choices of a field, in words."""
        some = ", of these the ones that divide the width" if field == "num_heads" and self.dividing_heads else ""
        return ", ".join(map(str, getattr(self, field))) + some

    def _repr_html_(self) -> str:
        """In a notebook: the choices of every field."""
        pairs = [(field, self.in_words(field)) for field in CHOICES]
        chosen = "once for all blocks" if self.uniform else "for every block"
        title = f"space {self.name}: {self.size:,} architectures, num_heads and mlp_ratio chosen {chosen}"
        return notebook.titled(title, notebook.facts(pairs))

    @property
    def size(self) -> int:
        """How many architectures the space holds."""
        total = 0
        for dim in self.embed_dim:
            per_block = len(self.heads_of(dim)) * len(self.mlp_ratio)
            total += sum(per_block if self.uniform else per_block**depth for depth in self.depth)
        return total

    @property
    def num_classes(self) -> int:
        """How many triples (embed_dim, depth, sum of ratios) there are; parameters and FLOPs depend on nothing else."""
        if self.uniform:
            return len(self.embed_dim) * len(self.depth) * len(self.mlp_ratio)
        sums, total = {0.0}, 0
        for depth in range(1, max(self.depth) + 1):
            sums = {round(partial + ratio, 9) for partial in sums for ratio in self.mlp_ratio}
            total += len(sums) * (depth in self.depth)
        return len(self.embed_dim) * total

    def check(self, task: Task) -> None:
        """ValueError if the largest architecture of the space exceeds the task's bounds."""
        task.check(self.largest)

    @property
    def smallest(self) -> Architecture:
        """The architecture with the fewest FLOPs."""
        return self._corner(0)

    @property
    def largest(self) -> Architecture:
        """The architecture with the most FLOPs."""
        return self._corner(-1)

    def _corner(self, end: int) -> Architecture:
        return Architecture.uniform(
            embed_dim=self.embed_dim[end],
            depth=self.depth[end],
            num_heads=self.heads_of(self.embed_dim[end])[end],
            mlp_ratio=self.mlp_ratio[end],
        )

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and architecture.embed_dim in self.embed_dim
            and architecture.depth in self.depth
            and set(architecture.num_heads) <= set(self.num_heads)
            and set(architecture.mlp_ratio) <= set(self.mlp_ratio)
            and not (self.uniform and (len(set(architecture.num_heads)) > 1 or len(set(architecture.mlp_ratio)) > 1))
        )

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture of the space once, narrow and shallow ones first; there are `size`."""
        for dim, depth in itertools.product(self.embed_dim, self.depth):
            genes = itertools.product(self.heads_of(dim), self.mlp_ratio)
            blocks = (((gene,) * depth) for gene in genes) if self.uniform else itertools.product(genes, repeat=depth)
            for block in blocks:
                heads, ratios = zip(*block, strict=True)
                yield Architecture(embed_dim=dim, depth=depth, num_heads=heads, mlp_ratio=ratios)

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Every parameter that `suggest` may ask for, in its order; those of a block follow the depth that adds it."""
        found = {"embed_dim": distribution_of(self.embed_dim), "depth": distribution_of(self.depth)}
        choices = list(dict.fromkeys(self.heads_of(dim) for dim in self.embed_dim))
        for block in zip(*(self._blocks(self.depth[-1], heads) for heads in choices), strict=True):
            found |= {name: distribution_of(heads) for (name, _), heads in zip(block, choices, strict=True)}
            found |= {ratio: distribution_of(self.mlp_ratio) for _, ratio in block}
        return found

    def active(self, values: Mapping[str, Any]) -> set[str]:
        """The parameters that `suggest` asks for, given at least the width and the depth."""
        blocks = self._blocks(values["depth"], self.heads_of(values["embed_dim"]))
        return {"embed_dim", "depth", *(name for names in blocks for name in names)}

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture with these parameters, by name; parameters of blocks that it does not have are ignored."""
        depth, names = values["depth"], self._blocks(values["depth"], self.heads_of(values["embed_dim"]))
        blocks = [(values[heads], as_ratio(values[ratio])) for heads, ratio in names]
        heads, ratios = zip(*(blocks * depth if self.uniform else blocks), strict=True)
        return Architecture(embed_dim=values["embed_dim"], depth=depth, num_heads=heads, mlp_ratio=ratios)

    def suggest(self, trial: "Trial") -> Architecture:
        """Ask an Optuna trial for an architecture: embed_dim, depth, then num_heads_01, mlp_ratio_01 for each block.

        Where a width offers only some of the choices, its heads are a separate parameter, such as num_heads_01_of_4_8. So no
        sampler can draw heads that do not divide the width, and the choices of a parameter never change.

        Optuna accepts, with a warning, an enqueued value that is not a choice. Such a trial is not a point of the space: it
        is pruned here, with the reason as its user attribute "outside".
        """
        values = {name: suggest_choice(trial, name, getattr(self, name)) for name in ("embed_dim", "depth")}
        choices = self.heads_of(int(values["embed_dim"]))
        for heads, ratio in self._blocks(int(values["depth"]), choices):
            values |= {
                heads: suggest_choice(trial, heads, choices),
                ratio: suggest_choice(trial, ratio, self.mlp_ratio),
            }
        return self.architecture(values)

    def _blocks(self, depth: int, heads: tuple[int, ...]) -> list[tuple[str, str]]:
        """The parameter names of heads, chosen from `heads`, and ratio: one pair per block, or one for all if `uniform`."""
        of = "" if heads == self.num_heads else f"_of_{'_'.join(map(str, heads))}"
        if self.uniform:
            return [(f"num_heads{of}", "mlp_ratio")]
        return [(f"num_heads_{block:02d}{of}", f"mlp_ratio_{block:02d}") for block in range(1, depth + 1)]


CHOICES = tuple(field.name for field in fields(Architecture))
# AutoST, ICASSP 2024 (arXiv 2307.00293): the three supernet spaces of the paper.
PRESETS = {
    space.name: space
    for space in (
        Space(
            name="tiny",
            embed_dim=tuple(range(192, 385, 64)),
            depth=tuple(range(1, 11)),
            num_heads=(4, 8),
            mlp_ratio=(3, 4, 5),
        ),
        Space(
            name="small",
            embed_dim=tuple(range(256, 513, 64)),
            depth=tuple(range(2, 13)),
            num_heads=(4, 8),
            mlp_ratio=(3, 4, 5),
        ),
        Space(
            name="base",
            embed_dim=tuple(range(384, 769, 64)),
            depth=tuple(range(4, 16)),
            num_heads=(4, 8),
            mlp_ratio=(3, 4, 5, 6),
        ),
    )
}


def _read(path: Path) -> Space:
    if path.suffix == ".toml":
        return Space.from_dict(read_toml(path, "examples/narrow.toml"), name=path.stem)
    data = read_yaml(path)
    if not isinstance(data, Mapping) or not isinstance(data.get("SEARCH_SPACE"), Mapping):
        raise ValueError(f"{path} has no SEARCH_SPACE section; AutoST's form is SEARCH_SPACE: {{MLP_RATIO, ...}}")
    names = {field.upper(): field for field in (*CHOICES, "dividing_heads")}
    section = check_keys(f"space {path.stem}", data["SEARCH_SPACE"], list(names), list(names)[: len(CHOICES)])
    return Space.from_dict({names[key]: value for key, value in section.items()}, name=path.stem)
