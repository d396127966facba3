"""The kinds of neurons, by their words, and a neuron as a text: "plif", or "plif(tau=3)" where a field differs."""

import re
from dataclasses import fields

from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.ilif import ILIF
from autost_optuna.network.neurons.lif import LIF
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.network.values import errors_of

KINDS: dict[str, type[Neuron]] = {kind.word: kind for kind in (PLIF, LIF, ILIF)}
FORM = re.compile(r"(\w+)(?:\((.*)\))?")


def neuron_text(neuron: Neuron) -> str:
    """A neuron as `neuron_of` reads it; fields that have their defaults are left out."""
    usual = type(neuron)()
    said = [(field.name, getattr(neuron, field.name)) for field in fields(neuron)]
    other = [f"{name}={_number(value)}" for name, value in said if value != getattr(usual, name)]
    return f"{neuron.word}({';'.join(other)})" if other else neuron.word


def neuron_of(text: object) -> Neuron:
    """The neuron of a text. ValueError if there is no such kind, field or value."""
    found = FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or found[1] not in KINDS:
        raise ValueError(f"neuron {text!r} is unknown; choose one of {', '.join(KINDS)}, such as {PLIF.word}(tau=3)")
    kind, values = KINDS[found[1]], {}
    for part in filter(None, (found[2] or "").split(";")):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in {field.name for field in fields(kind)}:
            own = " and ".join(field.name for field in fields(kind))
            raise ValueError(f"neuron {text!r}: {name!r} is not a field; {found[1]} has {own}")
        if name in values:
            raise ValueError(f"neuron {text!r} gives {name} twice; give it once")
        try:
            values[name] = float(value)
        except ValueError:
            raise ValueError(f"neuron {text!r}: {name} {value!r} is not a number") from None
    with errors_of(f"neuron {text!r}"):
        return kind(**values)


def _number(value: float) -> str:
    """The shortest text that leads back to the number."""
    return repr(int(value)) if value == int(value) else repr(float(value))
