"""Space: the choices for every field of an Architecture. AutoST's presets, uniform forms, and the user's own files."""

import functools
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna import notebook
from autost_optuna.files import check_keys
from autost_optuna.network.architecture import USUAL, Architecture
from autost_optuna.network.genes import MIXER_GENES
from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.kinds import neuron_of
from autost_optuna.network.parts.kinds import USUAL_MIXER
from autost_optuna.network.task import Task
from autost_optuna.network.values import Ratio, as_count, errors_of
from autost_optuna.space.alphabet import CHECKS, Alphabet, Letter, Where, of_letters
from autost_optuna.space.classes import check_buildable, check_choices, corner, count_classes_in
from autost_optuna.space.layout import USUAL as LAYOUT
from autost_optuna.space.layout import Layouts
from autost_optuna.space.parameters import distribution_of, suggest_choice
from autost_optuna.space.presets import CHOICES_OF_PRESETS
from autost_optuna.space.sharing import BLOCK, NETWORK, Shared, Sharing, simplified, units_of
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
    {"kernel": [3, 5]}. `shared` says what has each choice in common: a "block", a "stage" or the "network", or a mapping from
    choices to these, such as {"mixer": "stage"}. If `uniform`, the network has all of them. Heads must divide the width:
    every choice must divide every width or, if `dividing_heads`, each width offers only the choices that divide it
    (`heads_of`), at least one. `form` has the choices of what all blocks share, by the names in `layout.USUAL`: the stem,
    the residual stream, stages. Only networks of one stage need `depth`.
    """

    name: str
    embed_dim: tuple[int, ...]
    depth: tuple[int, ...] = ()
    num_heads: tuple[int, ...] = ()
    mlp_ratio: tuple[Ratio, ...]
    uniform: bool = False
    dividing_heads: bool = False
    mixer: tuple[str, ...] = (USUAL_MIXER,)
    genes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    neuron: tuple[str, ...] = (USUAL.word,)
    form: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    shared: Shared = field(default=BLOCK, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"space {self.name!r}: the name is not a text")
        self._alphabet.check_mixers(self.name)
        object.__setattr__(self, "mixer", tuple(self.mixer))
        for name, values in self.choices.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise ValueError(f"space {self.name}: {name} {values!r} is not a list of choices, such as [1, 2]")
            check = CHECKS.get(name, functools.partial(as_count, name))
            with errors_of(f"space {self.name}"):
                numbers = [check(value) for value in values]
            if len(set(numbers)) != len(numbers):
                raise ValueError(f"space {self.name}: {name} {list(values)} names a choice twice; name each once")
            words = any(isinstance(number, str) for number in numbers)
            ordered = tuple(numbers) if words else tuple(sorted(numbers))
            for mapping in ("genes", "form"):
                if name in getattr(self, mapping):
                    object.__setattr__(self, mapping, {**getattr(self, mapping), name: ordered})
                    break
            else:
                object.__setattr__(self, name, ordered)
        for flag in ("uniform", "dividing_heads"):
            if not isinstance(getattr(self, flag), bool):
                raise ValueError(f"space {self.name}: {flag} {getattr(self, flag)!r} is not true or false")
        object.__setattr__(self, "form", {n: v for n, v in self.form.items() if v != LAYOUT[n]})
        with errors_of(f"space {self.name}"):
            shared = simplified(self._alphabet, self.shared)
            object.__setattr__(self, "uniform", self.uniform or shared == NETWORK)
            object.__setattr__(self, "shared", BLOCK if shared == NETWORK else shared)
            check_choices(self.name, self.layouts, self.sharing)

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The choices by the names of FILE.toml; mixers and their genes only where the space has them."""
        mixers = {} if tuple(self.mixer) == (USUAL_MIXER,) else {"mixer": self.mixer}
        heads = {"num_heads": self.num_heads} if self.num_heads else {}
        neurons = {} if self.neuron == (USUAL.word,) else {"neuron": self.neuron}
        depths = {"depth": self.depth} if self.depth or "stages" not in self.form else {}
        return {
            "embed_dim": self.embed_dim,
            **depths,
            **mixers,
            **heads,
            **self.genes,
            "mlp_ratio": self.mlp_ratio,
            **neurons,
            **self.form,
        }

    @property
    def sharing(self) -> Sharing:
        """The alphabet of blocks, and what shares one choice of it."""
        alphabet = self._alphabet
        return Sharing(alphabet, units_of(alphabet, NETWORK if self.uniform else self.shared))

    @property
    def layouts(self) -> Layouts:
        """What a network may be beside its blocks."""
        return Layouts(embed_dim=self.embed_dim, depth=self.depth, neuron=self.neuron, choices={**LAYOUT, **self.form})

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
        """The preset called `source`, such as tiny or families, or the space in FILE.toml or in AutoST's FILE.yaml."""
        source = os.fspath(source)
        if source in CHOICES_OF_PRESETS:
            space = _preset(source)
        elif source.endswith((".toml", ".yaml", ".yml")):
            space = cls.from_dict(read_space(Path(source)), name=Path(source).stem)
        else:
            raise ValueError(
                f"no space {source!r}; choose one of {', '.join(CHOICES_OF_PRESETS)}, or give a FILE.toml or FILE.yaml"
            )
        return replace(space, uniform=True) if uniform else space

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the keys of FILE.toml."""
        lists = {name: list(values) for name, values in self.choices.items()}
        flags = {"uniform": self.uniform, **({"dividing_heads": True} if self.dividing_heads else {})}
        shared = (
            {}
            if self.shared == BLOCK
            else {"shared": self.shared if isinstance(self.shared, str) else dict(self.shared)}
        )
        return {"name": self.name, **lists, **flags, **shared}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, name: str = "space") -> "Space":
        """Read the form of `to_dict` or of FILE.toml; ValueError names a missing or unknown key."""
        others = ("uniform", "dividing_heads", "mixer", *MIXER_GENES, "neuron", *LAYOUT, "shared")
        allowed = list(dict.fromkeys(["name", *CHOICES, *others]))
        spared = {"num_heads": "mixer", "depth": "stages"}  # what a space may do without, if it has the other
        needed = [key for key in CHOICES if spared.get(key) not in data]
        known = check_keys(f"space {name}", data, allowed, needed)
        genes = {gene: known.pop(gene) for gene in MIXER_GENES if gene in known and gene != "num_heads"}
        form = {gene: known.pop(gene) for gene in LAYOUT if gene in known}
        return cls(**{"name": name, **known}, genes=genes, form=form)

    def in_words(self, name: str) -> str:
        """The choices called `name`, in words."""
        some = ", of these the ones that divide the width" if name == "num_heads" and self.dividing_heads else ""
        return ", ".join(map(str, self.choices[name])) + some

    def _repr_html_(self) -> str:
        """In a notebook: all choices."""
        pairs = [(name, self.in_words(name)) for name in self.choices]
        units: dict[str, list[str]] = {}
        for name, unit in self.sharing.units:
            units.setdefault(unit, []).append(name)
        chosen = [f"{units.pop(unit)} per {unit}" for unit in list(units)]
        title = f"space {self.name}: {self.size:,} architectures, {'; '.join(chosen)}"
        return notebook.titled(title, notebook.facts(pairs))

    @property
    def size(self) -> int:
        """How many architectures the space holds."""
        sharing = self.sharing
        return sum(sharing.size(layout, depths) for layout, offered in self.layouts.every() for depths in offered)

    @property
    def num_classes(self) -> int:
        """How many classes of architectures with equal layouts, depths, kinds of mixer, and MACs in every role."""
        return count_classes_in(self.layouts, self.sharing)

    def check(self, task: Task) -> None:
        """ValueError if an architecture of the space exceeds the task's bounds, or cannot be built for it."""
        with errors_of(f"space {self.name} on task {task.name}"):
            check_buildable(self.layouts, self.sharing, task)

    def corners(self) -> Iterator[Architecture]:
        """The smallest and the largest blocks of every layout, as few and as many as it may have."""
        for layout, offered in self.layouts.every():
            yield from (corner(self.sharing, layout, offered[end], end) for end in (0, -1))

    @property
    def smallest(self) -> Architecture:
        """The first of the corners."""
        return next(self.corners())

    @property
    def largest(self) -> Architecture:
        """The last of the corners with the first neuron."""
        return [one for one in self.corners() if one.neuron == self.neurons[0]][-1]

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, Architecture):
            return False
        return self.layouts.holds(architecture) and self.sharing.holds(architecture)

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture of the space once, narrow and shallow ones first; there are `size`."""
        sharing = self.sharing
        for layout, offered in self.layouts.every():
            for depths in offered:
                yield from (of_letters(layout, depths, letters) for letters in sharing.every(layout, depths))

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Every parameter that `suggest` may ask for, in its order; those of a block follow the depth that adds it."""
        found: dict[str, BaseDistribution] = {}
        places: dict[tuple[str, ...], dict[tuple[int, ...], Where]] = {}
        for values in self.layouts.questions():
            for name, choices in self.layouts.asked(values):
                found.setdefault(name, distribution_of(choices))
            layout = self.layouts.layout(values)
            for where in self.sharing.places(layout.widths, self.layouts.depths(values)):
                suffixes, widths = zip(*where.values(), strict=True)
                places.setdefault(suffixes, {})[widths] = where
        for some in places.values():
            found |= self._alphabet.distributions(list(some.values()))
        return found

    def _asked(self, values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The parameters of an architecture and their choices, one after another; `values` has those that came before."""
        layouts = self.layouts
        yield from layouts.asked(values)
        yield from self.sharing.asked(layouts.widths(values), layouts.depths(values), values)

    def active(self, values: Mapping[str, Any]) -> set[str]:
        """The parameters that `suggest` asks for, given at least those of the layout and, if it has a choice, the mixers."""
        return {name for name, _ in self._asked(values)}

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture with these parameters, by name; parameters that it does not have are ignored."""
        layout, depths = self.layouts.layout(values), self.layouts.depths(values)
        return of_letters(layout, depths, self.sharing.letters(layout.widths, depths, values))

    def draw(self, generator: random.Random) -> Architecture:
        """A random architecture: every choice that it has with equal probabilities."""
        values: dict[str, Any] = {}
        for name, choices in self._asked(values):
            values[name] = generator.choice(choices)
        return self.architecture(values)

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


@functools.cache
def _preset(name: str) -> Space:
    return Space.from_dict(CHOICES_OF_PRESETS[name], name=name)
