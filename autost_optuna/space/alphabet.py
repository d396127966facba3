"""The alphabet of a space: what a block may be, and the Optuna parameters that choose it."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.form import NAMES as FORM_NAMES
from autost_optuna.network.form import Form
from autost_optuna.network.neurons.kinds import neuron_of, neuron_text
from autost_optuna.network.parts import Part, genes_of
from autost_optuna.network.parts.kinds import FEED_FORWARDS, MIXERS, USUAL_MIXER
from autost_optuna.network.values import Ratio, as_depth, as_one_of, as_ratio, as_stages
from autost_optuna.space.layout import Layout, checked_shares
from autost_optuna.space.parameters import distribution_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def _checked(name: str, value: Any) -> Any:
    """A choice of what all blocks share. ValueError if it is none."""
    return getattr(Form(**{name: value}), name)


Letter = tuple[Part, Ratio]  # a block: its mixer and its MLP ratio
Where = Mapping[str, tuple[str, int]]  # by name of a choice: what follows it in the parameter's name, and the width
# What makes a choice of each name a value; any other is a whole number.
CHECKS: "dict[str, Callable[[object], Any]]" = {
    "depth": as_depth,
    "mlp_ratio": as_ratio,
    "mixer": lambda word: word,
    "neuron": lambda text: neuron_text(neuron_of(text)),
    "stages": as_stages,
    "stage_depth": as_depth,
    "widths": lambda text: checked_shares(text),
    **{name: functools.partial(_checked, name) for name in FORM_NAMES if name not in ("depths", "widths")},
    "feed_forward": functools.partial(as_one_of, "feed_forward", offered=FEED_FORWARDS),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Alphabet:
    """The mixers that a block may have, by their words, the choices for their genes, and MLP ratios; see `Space`."""

    mixer: tuple[str, ...] = (USUAL_MIXER,)
    num_heads: tuple[int, ...] = ()
    mlp_ratio: tuple[Ratio, ...]
    dividing_heads: bool = False
    genes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)

    def choices(self, gene: str, embed_dim: int) -> tuple[int, ...]:
        """The choices of a mixer's gene for a width."""
        if gene != "num_heads":
            return self.genes[gene]
        if not self.dividing_heads:
            return self.num_heads
        return tuple(heads for heads in self.num_heads if embed_dim % heads == 0)

    def letters(self, embed_dim: int) -> tuple[Letter, ...]:
        """All blocks that a network of a width may have."""
        return _letters(self, embed_dim)

    @property
    def all_genes(self) -> tuple[str, ...]:
        """The genes that some mixer has."""
        return tuple(dict.fromkeys(gene for word in self.mixer for gene in genes_of(MIXERS[word])))

    @property
    def names(self) -> tuple[str, ...]:
        """The choices of a block: the mixer if there are several, its genes, the MLP ratio."""
        return (*(["mixer"] if len(self.mixer) > 1 else []), *self.all_genes, "mlp_ratio")

    def with_one_choice(self, names: Sequence[str], embed_dim: int) -> "Iterator[Alphabet]":
        """Alphabets with one choice for each of `names`, which have the blocks of this one between them."""
        for mixer in [(word,) for word in self.mixer] if "mixer" in names else [self.mixer]:
            one = replace(self, mixer=mixer)
            genes = [gene for gene in one.all_genes if gene in names]
            for values in itertools.product(*(self.choices(gene, embed_dim) for gene in genes)):
                chosen = {gene: (value,) for gene, value in zip(genes, values, strict=True)}
                heads = chosen.pop("num_heads", self.num_heads)
                for ratio in [(value,) for value in self.mlp_ratio] if "mlp_ratio" in names else [self.mlp_ratio]:
                    yield replace(one, num_heads=heads, genes={**self.genes, **chosen}, mlp_ratio=ratio)

    def asked(self, where: Where, values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The parameters of a block and their choices, one after another; `values` has those that came before."""
        if len(self.mixer) > 1:
            yield self._parameter("mixer", where)
        for gene in genes_of(MIXERS[self._word(where, values)]):
            yield self._parameter(gene, where)
        yield self._parameter("mlp_ratio", where)

    def letter(self, where: Where, values: Mapping[str, Any]) -> Letter:
        """The block with these parameters, by name."""
        kind = MIXERS[self._word(where, values)]
        genes = {gene: values[self._parameter(gene, where)[0]] for gene in genes_of(kind)}
        return kind(**genes), as_ratio(values[self._parameter("mlp_ratio", where)[0]])

    def values(self, where: Where, letter: Letter) -> dict[str, Any]:
        """The parameters of a block, by name, for `letter`."""
        part, ratio = letter
        chosen = {**{gene: getattr(part, gene) for gene in genes_of(part)}, "mlp_ratio": ratio}
        chosen |= {"mixer": part.word} if len(self.mixer) > 1 else {}
        return {self._parameter(name, where)[0]: value for name, value in chosen.items()}

    def distributions(self, places: Sequence[Where]) -> "dict[str, BaseDistribution]":
        """Every parameter that `asked` may yield for a block at one of these places."""
        asked = (self._parameter(name, where) for name in self.names for where in places)
        return {name: distribution_of(choices) for name, choices in asked}

    def _word(self, where: Where, values: Mapping[str, Any]) -> str:
        """The word of a block's mixer."""
        return str(values[self._parameter("mixer", where)[0]]) if len(self.mixer) > 1 else self.mixer[0]

    def _parameter(self, choice: str, where: Where) -> tuple[str, tuple[Any, ...]]:
        """The parameter of a choice, which says its values if a width offers only some, and these values."""
        suffix, embed_dim = where[choice]
        if choice in ("mixer", "mlp_ratio"):
            return f"{choice}{suffix}", getattr(self, choice)
        choices = self.choices(choice, embed_dim)
        some = choice == "num_heads" and choices != self.num_heads
        return f"{choice}{suffix}" + (f"_of_{'_'.join(map(str, choices))}" if some else ""), choices

    def check_mixers(self, space: str) -> None:
        """ValueError unless the mixers are known, and have choices for all their genes and for no other."""
        if isinstance(self.mixer, str) or not isinstance(self.mixer, Sequence) or not self.mixer:
            raise ValueError(f"space {space}: mixer {self.mixer!r} is not a list, such as [{', '.join(MIXERS)}]")
        for word in self.mixer:
            if not isinstance(word, str) or word not in MIXERS:
                raise ValueError(f"space {space}: mixer {word!r} is unknown; choose among {', '.join(MIXERS)}")
        if not isinstance(self.genes, Mapping):
            raise ValueError(f"space {space}: genes {self.genes!r} is not a mapping of names to choices")
        if "num_heads" in self.genes:
            raise ValueError(f"space {space}: num_heads is not one of genes; give it by itself")
        given = {*self.genes, *(["num_heads"] if self.num_heads else [])}
        needed = {gene: word for word in reversed(self.mixer) for gene in genes_of(MIXERS[word])}
        for gene in sorted(given ^ set(needed)):
            reason = "no mixer of the space uses it" if gene in given else f"mixer {needed[gene]} needs choices for it"
            raise ValueError(f"space {space}: {gene}: {reason}; {'leave it out' if gene in given else 'list them'}")

    def check_heads(self, space: str, widths: Sequence[int]) -> None:
        """ValueError if a number of heads does not fit a width, as strictly as the space demands."""
        if not self.num_heads:
            return
        for dim, heads in itertools.product(widths, self.num_heads):
            if dim % heads and not self.dividing_heads:
                raise ValueError(
                    f"space {space}: num_heads {heads} does not divide embed_dim {dim}; choose heads that divide every "
                    "width, or set dividing_heads to true, so that each width has those that divide it"
                )
        for dim in widths:
            if not self.choices("num_heads", dim):
                raise ValueError(f"space {space}: none of num_heads divides embed_dim {dim}; add one that does")
        for heads in self.num_heads:
            if all(dim % heads for dim in widths):
                raise ValueError(f"space {space}: num_heads {heads} divides no width; leave it out")


@functools.lru_cache(256)
def _letters(alphabet: Alphabet, embed_dim: int) -> tuple[Letter, ...]:
    mixers = []
    for word in alphabet.mixer:
        genes = genes_of(MIXERS[word])
        for values in itertools.product(*(alphabet.choices(gene, embed_dim) for gene in genes)):
            mixers.append(MIXERS[word](**dict(zip(genes, values, strict=True))))
    return tuple(itertools.product(mixers, alphabet.mlp_ratio))


def of_letters(layout: Layout, depths: tuple[int, ...], letters: Sequence[Letter]) -> Architecture:
    """The architecture with these blocks in stages of these depths."""
    mixers, ratios = zip(*letters, strict=True)
    return Architecture(
        embed_dim=layout.embed_dim,
        depth=len(letters),
        mixer=mixers,
        mlp_ratio=ratios,
        neuron=layout.neuron,
        form=layout.with_depths(depths),
    )
