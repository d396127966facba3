"""The genes of an architecture: their names in JSON and in text, and their values as short texts."""

from collections.abc import Iterable, Sequence
from typing import Any

from autost_optuna.network.form import LABELS as FORM_LABELS
from autost_optuna.network.form import NAMES as FORM_NAMES
from autost_optuna.network.parts import Part, genes_of
from autost_optuna.network.parts.kinds import MIXERS
from autost_optuna.network.values import Ratio, as_ratio

# The genes of mixers, in the order of tables, and what the text form calls them, by their names in JSON.
MIXER_GENES = tuple(dict.fromkeys(gene for kind in MIXERS.values() for gene in genes_of(kind)))
LABELS = {
    "embed_dim": "C",
    "depth": "depth",
    "mixer": "mixer",
    **{gene: gene for gene in MIXER_GENES},
    **{gene: label for kind in MIXERS.values() for gene, label in kind.labels.items()},
    "mlp_ratio": "ratio",
    "neuron": "neuron",
    **{name: FORM_LABELS.get(name, name) for name in FORM_NAMES},
}
NAMES = {label: name for name, label in LABELS.items()}


def mixer_of(genes: dict[str, Any]) -> Part:
    """The mixer of a block from its word and genes. ValueError if it lacks a gene or has one that its kind has not."""
    word = genes.pop("mixer")
    if not isinstance(word, str) or word not in MIXERS:
        raise ValueError(f"mixer {word!r} is unknown; choose one of {', '.join(MIXERS)}")
    own = genes_of(MIXERS[word])
    for name in {**dict.fromkeys(own), **genes}:
        if (genes.get(name) is not None) != (name in own):
            label = LABELS[name]
            if name in own:
                raise ValueError(f"a block with mixer {word} needs {name}; give one, such as {label}=2")
            raise ValueError(
                f"a block with mixer {word} has no {name}, and {genes[name]!r} is given; write - for it, as in {label}=2/-"
            )
    part: Part = MIXERS[word](**{name: genes[name] for name in own})
    return part


def cell(value: object) -> str:
    """A value in a table."""
    return "-" if value is None else str(value)


def brief(values: Sequence[object]) -> str:
    """The values of all blocks: "4", or "4/8" if they differ."""
    return cell(values[0]) if len(set(values)) == 1 else "/".join(map(cell, values))


def read_gene(name: str, text: str, depth: int) -> list[Any]:
    """One value for each block from "4" or "4/8/-"."""
    values: Iterable[Any] = (value.strip() for value in text.split("/"))
    if name == "mlp_ratio":
        values = (_number("ratio", value) for value in values)
    elif name != "mixer":
        values = (None if value == "-" else whole_number(LABELS[name], value) for value in values)
    found = list(values)
    return found * depth if len(found) == 1 else found


def whole_number(name: str, text: str) -> int:
    """The number that a text has for `name`. ValueError if it is none."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a whole number") from None


def _number(name: str, text: str) -> Ratio:
    try:
        return as_ratio(float(text))
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a positive number") from None
