"""Goals: the proxies that a search may use as objectives, by name, with their labels and directions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

FLOPS, ENERGY = "flops", "energy_mj"
DEFAULT_OBJECTIVES = (FLOPS, ENERGY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A proxy's label, its direction, and what it is computed from: proxies with the same source are computed together."""

    label: str
    direction: Literal["maximize", "minimize"]
    source: Literal["counts", "rates", "patterns", "weights", "gradients", "noise"]


GOALS = {
    "params": Goal(label="parameters", direction="maximize", source="counts"),
    FLOPS: Goal(label="FLOPs", direction="maximize", source="counts"),
    ENERGY: Goal(label="energy (mJ)", direction="minimize", source="rates"),
    "total_spikes": Goal(label="spikes", direction="minimize", source="patterns"),
    "naswot": Goal(label="NASWOT", direction="maximize", source="patterns"),
    "sahd": Goal(label="SAHD", direction="maximize", source="patterns"),
    "synflow": Goal(label="log SynFlow", direction="maximize", source="weights"),
    "snip": Goal(label="SNIP", direction="maximize", source="gradients"),
    "grad_norm": Goal(label="GradNorm", direction="maximize", source="gradients"),
    "zen": Goal(label="Zen", direction="maximize", source="noise"),
}


def check_goals(names: Collection[str]) -> None:
    """ValueError, with the available proxies, if one of `names` is not a proxy."""
    for name in names:
        if name not in GOALS:
            raise ValueError(f"no proxy {name!r}; choose among {', '.join(GOALS)}")


def check_objectives(names: Sequence[str]) -> None:
    """ValueError if `names` cannot be the objectives of a search: unknown, repeated, or without FLOPs and energy."""
    check_goals(names)
    if len(set(names)) < len(names):
        raise ValueError(f"objectives {', '.join(names)} name one twice; name each once")
    if lacking := [name for name in DEFAULT_OBJECTIVES if name not in names]:
        raise ValueError(
            f"objectives {', '.join(names)} lack {' and '.join(lacking)}, which every search has; add "
            f"{' '.join(f'--objective {name}' for name in lacking)}"
        )


def further(objectives: Sequence[str]) -> tuple[str, ...]:
    """The objectives other than FLOPs and energy."""
    return tuple(name for name in objectives if name not in DEFAULT_OBJECTIVES)


def check_plane(objectives: Sequence[str], what: str, remedy: str) -> None:
    """ValueError if a search has objectives other than FLOPs and energy, because `what` covers only these two."""
    if further(objectives):
        raise ValueError(f"{what} is of FLOPs and energy, the study's objectives are {', '.join(objectives)}; {remedy}")
