"""Layouts: what a network may be beside its blocks, and the Optuna parameters that choose it."""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.form import AUTOST, POSITIONS, RESIDUALS, Form
from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.kinds import neuron_of, neuron_text
from autost_optuna.network.styles import STAGED, STYLES, USUAL_STYLE

# Choices with their defaults, by the names of FILE.toml, in the order in which they are asked for.
USUAL: dict[str, tuple[Any, ...]] = {
    "stem": (USUAL_STYLE,),
    "residual": (RESIDUALS[0],),
    "position": (POSITIONS[0],),
    "convolutions": (AUTOST.convolutions,),
    "pooling": ("",),
    "feed_forward": (AUTOST.feed_forward,),
    "time_steps": (None,),
    "stages": (1,),
    "widths": (),
    "stage_depth": (),
}
OF_FORM = tuple(name for name in USUAL if name not in ("stages", "widths", "stage_depth"))
OF_ONE_STAGE = ("position", "convolutions")  # of stems without embeddings for later stages


class Layout(NamedTuple):
    """One choice of everything but depths and blocks. `widths` are those of the stages."""

    embed_dim: int
    neuron: Neuron
    form: Form
    widths: tuple[int, ...]

    def with_depths(self, depths: tuple[int, ...]) -> Form:
        """The form of a network with so many blocks per stage."""
        if len(depths) == 1:
            return self.form
        chosen = {name: value for name, value in self.form.chosen.items() if name != "depths"}
        return Form(**chosen, depths=depths, widths=self.widths).normalised(self.embed_dim)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layouts:
    """The choices per network; see `Space`."""

    embed_dim: tuple[int, ...]
    depth: tuple[int, ...]
    neuron: tuple[str, ...]
    choices: Mapping[str, tuple[Any, ...]]

    def asked(self, values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The parameters and their choices, one after another; `values` has those that came before."""
        yield "embed_dim", self.embed_dim
        for name in (*OF_FORM, "stages"):
            if len(self.choices[name]) > 1 and self._applies(name, values):
                yield name, self.choices[name]
        shares = self._shares(values)
        if len(shares) > 1:
            yield self._named(shares), shares
        stages = self._stages(values)
        offered = self.depth if stages == 1 else self.choices["stage_depth"]
        yield from ((name, offered) for name in _names_of_depths(stages))
        if len(self.neuron) > 1:
            yield "neuron", self.neuron

    def _applies(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a network whose stem is known has the choice called `name`."""
        if name in OF_ONE_STAGE:
            return not self._staged(values)
        return name != "stages" or self._staged(values)

    def chosen(self, name: str, values: Mapping[str, Any]) -> Any:
        """The choice called `name`: the only one, or that in `values`."""
        offered = self.choices[name]
        return offered[0] if len(offered) == 1 else values[name]

    def _staged(self, values: Mapping[str, Any]) -> bool:
        return self.chosen("stem", values) in STAGED

    def _stages(self, values: Mapping[str, Any]) -> int:
        return int(self.chosen("stages", values)) if self._staged(values) else 1

    def _shares(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The choices of widths for a number of stages that divide the width, and leave the stem whole layers."""
        stages, dim, fraction = self._stages(values), values["embed_dim"], STYLES[self.chosen("stem", values)].fraction
        return tuple(
            text
            for text, shares in ((text, shares_in(text)) for text in self.choices["widths"])
            if len(shares) == stages
            and all((dim * share).denominator == 1 for share in (*shares, shares[0] / fraction))
        )

    def _named(self, shares: tuple[str, ...]) -> str:
        """The parameter of these widths, which says their places if a network offers only some."""
        every = self.choices["widths"]
        return "widths" if shares == every else "widths_" + "_".join(str(every.index(text)) for text in shares)

    def depths(self, values: Mapping[str, Any]) -> tuple[int, ...]:
        """The blocks of every stage."""
        return tuple(values[name] for name in _names_of_depths(self._stages(values)))

    def widths(self, values: Mapping[str, Any]) -> tuple[int, ...]:
        """The width of every stage."""
        dim, stages = int(values["embed_dim"]), self._stages(values)
        if stages == 1:
            return (dim,)
        shares = self._shares(values)
        text = "" if not shares else shares[0] if len(shares) == 1 else values[self._named(shares)]
        return widths_of(dim, text, stages)

    def layout(self, values: Mapping[str, Any]) -> Layout:
        """The layout with these parameters, by name; those that it does not have are ignored."""
        dim = int(values["embed_dim"])
        neuron = neuron_of(self.neuron[0] if len(self.neuron) == 1 else values["neuron"])
        fields = tuple((name, self.chosen(name, values)) for name in OF_FORM if self._applies(name, values))
        return Layout(dim, neuron, _form(fields), self.widths(values))

    def check(self) -> None:
        """ValueError if a choice needs another one, or no network could have it."""
        staged = [stem for stem in self.choices["stem"] if stem in STAGED]
        later = any(number > 1 for number in self.choices["stages"])
        if not self.depth and (1 in self.choices["stages"] or len(staged) < len(self.choices["stem"])):
            raise ValueError("depth is missing, which networks of one stage need; give choices, such as [1, 2]")
        if later and not staged:
            raise ValueError(
                f"stages: no stem of the space has later stages; leave it out, or offer {', '.join(STAGED)}"
            )
        if staged and later and not self.choices["stage_depth"]:
            raise ValueError("stages: stage_depth needs choices too, such as [1, 2]")
        if not later and (self.choices["stage_depth"] or self.choices["widths"]):
            raise ValueError("stage_depth and widths are of stages; list stages too, such as [3], or leave them out")
        self._check_widths(staged)
        counts = {len(shares_in(text)) for text in self.choices["widths"]}
        if odd := counts - set(self.choices["stages"]):
            raise ValueError(f"widths of {min(odd)} stages, and stages {list(self.choices['stages'])}; make them agree")
        for name in OF_ONE_STAGE:
            if self.choices[name] != USUAL[name] and len(staged) == len(self.choices["stem"]):
                raise ValueError(f"{name}: no stem of the space has it; leave it out")

    def _check_widths(self, staged: Sequence[str]) -> None:
        """ValueError if some width can be divided as none of `widths` says."""
        for stem, stages, dim in itertools.product(staged, self.choices["stages"], self.embed_dim):
            texts = [text for text in self.choices["widths"] if len(shares_in(text)) == stages > 1]
            if texts and not self._shares({"embed_dim": dim, "stem": stem, "stages": stages}):
                raise ValueError(
                    f"widths: {' and '.join(map(repr, texts))} of embed_dim {dim} leave no whole layers in stem {stem}; choose "
                    "multiples, or other fractions"
                )

    def holds(self, architecture: Architecture) -> bool:
        """Whether an architecture has one of these layouts, and depths that it may have."""
        form, stages = architecture.form, architecture.stages
        if architecture.embed_dim not in self.embed_dim or neuron_text(architecture.neuron) not in self.neuron:
            return False
        known = {"embed_dim": architecture.embed_dim, "stem": form.stem, "stages": len(stages)}
        if any(getattr(form, name) not in self.choices[name] for name in OF_FORM if self._applies(name, known)):
            return False
        if form.stem in STAGED and len(stages) not in self.choices["stages"]:
            return False
        if len(stages) == 1:
            return architecture.depth in self.depth
        depths = all(depth in self.choices["stage_depth"] for _, depth in stages)
        return depths and tuple(width for width, _ in stages) in self._offered_widths(known)

    def _offered_widths(self, values: Mapping[str, Any]) -> dict[tuple[int, ...], str]:
        """The widths of stages that a network may have, with their text."""
        dim, stages = values["embed_dim"], values["stages"]
        return {widths_of(dim, text, stages): text for text in self._shares(values) or ("",)}

    def chosen_widths(self, values: Mapping[str, Any], widths: tuple[int, ...]) -> dict[str, str]:
        """The parameter of the widths of stages, if there is a choice."""
        shares = self._shares(values) if len(widths) > 1 else ()
        return {self._named(shares): self._offered_widths(values)[widths]} if len(shares) > 1 else {}

    def every(self) -> Iterator[tuple[Layout, tuple[tuple[int, ...], ...]]]:
        """Every layout, each with the depths of stages that it may have; neurons, then widths change slowest."""
        for values in self._every_values():
            yield self.layout(values), self._every_depth(values)

    def questions(self) -> Iterator[dict[str, Any]]:
        """Values of the parameters of every layout with its deepest stages, which ask for all that any asks for."""
        for values in self._every_values():
            deepest = self._every_depth(values)[-1]
            yield {**values, **dict(zip(_names_of_depths(len(deepest)), deepest, strict=True))}

    def _every_values(self) -> Iterator[dict[str, Any]]:
        """Values of the parameters of every layout, without depths."""
        for neuron, dim in itertools.product(self.neuron, self.embed_dim):
            for values in self._values({"embed_dim": dim, "neuron": neuron}, [*OF_FORM, "stages"]):
                yield from ({**values, **widths} for widths in self._every_width(values))

    def _every_depth(self, values: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
        """The depths of stages that a layout may have, the deepest last."""
        stages = self._stages(values)
        offered = self.depth if stages == 1 else self.choices["stage_depth"]
        return tuple(itertools.product(offered, repeat=stages))

    def _every_width(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        shares = self._shares(values) if self._stages(values) > 1 else ()
        return [{self._named(shares): text} for text in shares] or [{}]

    def _values(self, known: dict[str, Any], names: list[str]) -> Iterator[dict[str, Any]]:
        """Every choice of `names`, those that do not apply left out."""
        if not names:
            yield known
            return
        name, *others = names
        if not self._applies(name, known):
            yield from self._values(known, others)
            return
        for value in self.choices[name]:
            yield from self._values({**known, name: value}, others)


@functools.cache
def _form(fields: tuple[tuple[str, Any], ...]) -> Form:
    return Form(**dict(fields))


@functools.cache
def _names_of_depths(stages: int) -> tuple[str, ...]:
    """The parameters that give the blocks of every stage."""
    return ("depth",) if stages == 1 else tuple(f"depth_{stage}" for stage in range(1, stages + 1))


@functools.cache
def shares_in(text: str) -> tuple[Fraction, ...]:
    """The fractions of a text such as "1/6 1/2 1"; none if it has something else."""
    try:
        return tuple(Fraction(part) for part in text.split())
    except (ValueError, ZeroDivisionError):
        return ()


def checked_shares(text: object) -> str:
    """Fractions of the last width, one per stage, such as "1/6 1/2 1". ValueError if they are none or do not end in 1."""
    shares = shares_in(text) if isinstance(text, str) else ()
    if not shares or shares[-1] != 1 or min(shares) <= 0:
        raise ValueError(f'widths {text!r} are not fractions of the last stage, such as "1/6 1/2 1"')
    return " ".join(map(str, shares))


def widths_of(embed_dim: int, text: str, stages: int) -> tuple[int, ...]:
    """The widths of stages, from fractions of the last one such as "1/6 1/2 1"; each half of the next if "".

    ValueError if one is no whole number.
    """
    shares = shares_in(text) or [Fraction(1, 2 ** (stages - 1 - n)) for n in range(stages)]
    widths = [embed_dim * share for share in shares]
    if any(width.denominator != 1 or width < 1 for width in widths):
        raise ValueError(
            f"embed_dim {embed_dim} cannot be divided into widths of {' '.join(map(str, shares))}; choose multiples"
        )
    return tuple(int(width) for width in widths)
