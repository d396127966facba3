"""Space: the choices for every field of an Architecture. AutoST's presets, uniform forms, and the user's own files."""

import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna import notebook
from autost_optuna.files import check_keys
from autost_optuna.network.architecture import USUAL, Architecture
from autost_optuna.network.genes import MIXER_GENES
from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.kinds import neuron_of, neuron_text
from autost_optuna.network.parts.kinds import USUAL_MIXER
from autost_optuna.network.task import Task
from autost_optuna.network.values import Ratio, as_count
from autost_optuna.space.alphabet import CHECKS, Alphabet, Letter, of_letters
from autost_optuna.space.classes import count_sums, footprint, kinds_of
from autost_optuna.space.parameters import distribution_of, suggest_choice
from autost_optuna.space.written import CHOICES, read_space
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """The values that a search may choose for each field of an architecture, in ascending order.

    `mixer` lists kinds of mixer by name, and `neuron` kinds of neuron; all layers of a network have the same neuron. Each block
    chooses its mixer, its `mlp_ratio`, and the genes of its mixer: `num_heads`, or those in `genes`, such as
    {"kernel": [3, 5]}. If `uniform`, all blocks share one choice. Heads must divide the width: every choice must divide every
    width or, if `dividing_heads`, each width offers only the choices that divide it (`heads_of`), at least one.
    """

    name: str
    embed_dim: tuple[int, ...]
    depth: tuple[int, ...]
    num_heads: tuple[int, ...] = ()
    mlp_ratio: tuple[Ratio, ...]
    uniform: bool = False
    dividing_heads: bool = False
    mixer: tuple[str, ...] = (USUAL_MIXER,)
    genes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    neuron: tuple[str, ...] = (USUAL.word,)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"space {self.name!r}: the name is not a text")
        self._alphabet.check_mixers(self.name)
        object.__setattr__(self, "mixer", tuple(self.mixer))
        for name, values in self.choices.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise ValueError(f"space {self.name}: {name} {values!r} is not a list of choices, such as [1, 2]")
            check = CHECKS.get(name, functools.partial(as_count, name))
            try:
                numbers = [check(value) for value in values]
            except ValueError as error:
                raise ValueError(f"space {self.name}: {error}") from None
            if len(set(numbers)) != len(numbers):
                raise ValueError(f"space {self.name}: {name} {list(values)} names a choice twice; name each once")
            ordered = tuple(numbers) if name in ("mixer", "neuron") else tuple(sorted(numbers))
            if name in self.genes:
                object.__setattr__(self, "genes", {**self.genes, name: ordered})
            else:
                object.__setattr__(self, name, ordered)
        for flag in ("uniform", "dividing_heads"):
            if not isinstance(getattr(self, flag), bool):
                raise ValueError(f"space {self.name}: {flag} {getattr(self, flag)!r} is not true or false")
        self._alphabet.check_heads(self.name, self.embed_dim)
        for dim in self.embed_dim:
            try:
                for part, ratio in self.alphabet(dim):
                    Architecture(embed_dim=dim, depth=1, mixer=(part,), mlp_ratio=(ratio,))
            except ValueError as error:
                raise ValueError(f"space {self.name}: {error}") from None

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The choices by the names of FILE.toml; mixers and their genes only where the space has them."""
        mixers = {} if tuple(self.mixer) == (USUAL_MIXER,) else {"mixer": self.mixer}
        heads = {"num_heads": self.num_heads} if self.num_heads else {}
        neurons = {} if self.neuron == (USUAL.word,) else {"neuron": self.neuron}
        return {
            "embed_dim": self.embed_dim,
            "depth": self.depth,
            **mixers,
            **heads,
            **self.genes,
            "mlp_ratio": self.mlp_ratio,
            **neurons,
        }

    @property
    def neurons(self) -> tuple[Neuron, ...]:
        """The neurons that a network may have."""
        return tuple(map(neuron_of, self.neuron))

    @property
    def _alphabet(self) -> Alphabet:
        """What a block may be."""
        return Alphabet(
            mixer=self.mixer,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            dividing_heads=self.dividing_heads,
            genes=self.genes,
        )

    def heads_of(self, embed_dim: int) -> tuple[int, ...]:
        """The choices of num_heads for a width."""
        return self._alphabet.choices("num_heads", embed_dim)

    def alphabet(self, embed_dim: int) -> tuple[Letter, ...]:
        """All blocks that a network of a width may have: their mixers and MLP ratios."""
        return self._alphabet.letters(embed_dim)

    @classmethod
    def load(cls, source: StrPath, *, uniform: bool = False) -> "Space":
        """The preset called `source` (tiny, small, base), or the space in FILE.toml or in AutoST's FILE.yaml."""
        source = os.fspath(source)
        if source in PRESETS:
            space = PRESETS[source]
        elif source.endswith((".toml", ".yaml", ".yml")):
            space = cls.from_dict(read_space(Path(source)), name=Path(source).stem)
        else:
            raise ValueError(f"no space {source!r}; choose tiny, small or base, or give a FILE.toml or FILE.yaml")
        return replace(space, uniform=True) if uniform else space

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the keys of FILE.toml."""
        lists = {name: list(values) for name, values in self.choices.items()}
        flags = {"uniform": self.uniform, **({"dividing_heads": True} if self.dividing_heads else {})}
        return {"name": self.name, **lists, **flags}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, name: str = "space") -> "Space":
        """Read the form of `to_dict` or of FILE.toml; ValueError names a missing or unknown key."""
        allowed = list(dict.fromkeys(["name", *CHOICES, "uniform", "dividing_heads", "mixer", *MIXER_GENES, "neuron"]))
        needed = [key for key in CHOICES if key != "num_heads" or "mixer" not in data]
        known = check_keys(f"space {name}", data, allowed, needed)
        genes = {gene: known.pop(gene) for gene in MIXER_GENES if gene in known and gene != "num_heads"}
        return cls(**{"name": name, **known}, genes=genes)

    def in_words(self, name: str) -> str:
        """The choices called `name`, in words."""
        some = ", of these the ones that divide the width" if name == "num_heads" and self.dividing_heads else ""
        return ", ".join(map(str, self.choices[name])) + some

    def _repr_html_(self) -> str:
        """In a notebook: all choices."""
        pairs = [(name, self.in_words(name)) for name in self.choices]
        *others, last = [name for name in self.choices if name not in ("embed_dim", "depth", "neuron")]
        chosen = f"chosen {'once for all blocks' if self.uniform else 'for every block'}"
        title = f"space {self.name}: {self.size:,} architectures, {', '.join(others)} and {last} {chosen}"
        return notebook.titled(title, notebook.facts(pairs))

    @property
    def size(self) -> int:
        """How many architectures the space holds."""
        total = 0
        for dim in self.embed_dim:
            per_block = len(self.alphabet(dim))
            total += sum(per_block if self.uniform else per_block**depth for depth in self.depth)
        return total * len(self.neuron)

    @property
    def num_classes(self) -> int:
        """How many classes of architectures with equal neurons, width, depth, kinds of mixer, and MACs in every role."""
        kinds = [kinds_of(self.alphabet(dim), dim) for dim in self.embed_dim]
        if self.uniform:
            return sum(len({kind.sums for kind in some}) for some in kinds) * len(self.depth) * len(self.neuron)
        return sum(count_sums(some, self.depth) for some in kinds) * len(self.neuron)

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
        dim, depth = self.embed_dim[end], self.depth[end]
        letters = self.alphabet(dim)
        sized = [(sum(size for _, size in footprint(letter, dim)), place) for place, letter in enumerate(letters)]
        letter = letters[(max(sized) if end else min(sized))[1]]
        return of_letters(dim, [letter] * depth, self.neurons[0])

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, Architecture):
            return False
        blocks = set(zip(architecture.mixers, architecture.mlp_ratio, strict=True))
        return (
            architecture.embed_dim in self.embed_dim
            and architecture.depth in self.depth
            and neuron_text(architecture.neuron) in self.neuron
            and blocks <= set(self.alphabet(architecture.embed_dim))
            and not (self.uniform and len(blocks) > 1)
        )

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture of the space once, narrow and shallow ones first; there are `size`."""
        for neuron, dim, depth in itertools.product(self.neurons, self.embed_dim, self.depth):
            letters = self.alphabet(dim)
            blocks = (
                ((letter,) * depth for letter in letters) if self.uniform else itertools.product(letters, repeat=depth)
            )
            for block in blocks:
                yield of_letters(dim, block, neuron)

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Every parameter that `suggest` may ask for, in its order; those of a block follow the depth that adds it."""
        found = {"embed_dim": distribution_of(self.embed_dim), "depth": distribution_of(self.depth)}
        found |= {name: distribution_of(self.neuron) for name in ["neuron"] if len(self.neuron) > 1}
        for suffix in self._suffixes(self.depth[-1]):
            found |= self._alphabet.distributions(suffix, self.embed_dim)
        return found

    def _asked(self, values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The parameters of an architecture and their choices, one after another; `values` has those that came before."""
        yield "embed_dim", self.embed_dim
        yield "depth", self.depth
        if len(self.neuron) > 1:
            yield "neuron", self.neuron
        alphabet, dim = self._alphabet, int(values["embed_dim"])
        for suffix in self._suffixes(int(values["depth"])):
            yield from alphabet.asked(suffix, dim, values)

    def active(self, values: Mapping[str, Any]) -> set[str]:
        """The parameters that `suggest` asks for, given at least the width, the depth and, if it has a choice, the mixers."""
        return {name for name, _ in self._asked(values)}

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture with these parameters, by name; parameters of blocks that it does not have are ignored."""
        dim, depth = values["embed_dim"], values["depth"]
        alphabet = self._alphabet
        letters = [alphabet.letter(suffix, dim, values) for suffix in self._suffixes(depth)]
        neuron = neuron_of(self.neuron[0] if len(self.neuron) == 1 else values["neuron"])
        return of_letters(dim, letters * depth if self.uniform else letters, neuron)

    def suggest(self, trial: "Trial") -> Architecture:
        """Ask an Optuna trial for an architecture: embed_dim, depth, then num_heads_01, mlp_ratio_01 for each block.

        Where a space offers several mixers, mixer_01 comes first, and only its own genes are asked for. Where a width offers
        only some of the choices, its heads are a separate parameter, such as num_heads_01_of_4_8. So no sampler can draw
        heads that do not divide the width, and the choices of a parameter never change.

        Optuna accepts, with a warning, an enqueued value that is not a choice. Such a trial is not a point of the space: it
        is pruned here, with the reason as its user attribute "outside".
        """
        values: dict[str, Any] = {}
        for name, choices in self._asked(values):
            values[name] = suggest_choice(trial, name, choices)
        return self.architecture(values)

    def _suffixes(self, depth: int) -> list[str]:
        """What follows the names of parameters of blocks, for each that is chosen."""
        return [""] if self.uniform else [f"_{block:02d}" for block in range(1, depth + 1)]


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
