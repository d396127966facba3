"""Values that can be chosen: whole numbers and ratios, checked."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager

Value = int | float
Ratio = int | float
MOST_STAGES = 8  # each halves the grid of tokens
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


def as_one_of(name: str, value: object, offered: Collection[str]) -> str:
    """`value`, one of the words that are offered. Raises ValueError."""
    if not isinstance(value, str) or value not in offered:
        raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(offered)}")
    return value


def hidden_units(ratio: float, width: int) -> int:
    """Hidden units of an MLP: int(ratio C). ValueError if there is none."""
    units = int(ratio * width)
    if units < 1:
        raise ValueError(f"mlp_ratio {ratio} leaves no hidden unit at embed_dim {width}; raise it")
    return units


def as_depth(value: object) -> int:
    """`value` as a number of blocks. ValueError if it is out of range."""
    depth = as_count("depth", value)
    if depth > DEEPEST:
        raise ValueError(f"depth {depth} is over the bound {DEEPEST}; choose a smaller one")
    return depth


def as_stages(value: object) -> int:
    """`value` as a number of stages. ValueError if it is out of range."""
    stages = as_count("stages", value)
    if stages > MOST_STAGES:
        raise ValueError(f"stages {stages} are over the bound {MOST_STAGES}; choose fewer")
    return stages


@contextmanager
def errors_of(what: str) -> Iterator[None]:
    """Say what a ValueError within the context is about, unless it says so itself."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(what) else f"{what}: {text}") from None
