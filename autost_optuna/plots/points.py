"""Candidates as points: the line that a pointer sees, the command that exports one, and a cloud thinned."""

import math
from collections.abc import Sequence

from autost_optuna import units
from autost_optuna.architecture import Architecture, Ratio
from autost_optuna.candidate import Candidate
from autost_optuna.goals import GOALS
from autost_optuna.plots.figure import escape

MOST = 5000  # dominated candidates that are drawn; more hide each other, and make a page large and slow


def in_a_line(architecture: Architecture) -> str:
    """An architecture in one readable line: "C 256, depth 4, heads 8, ratio 3/4/4/5"."""

    def brief(values: Sequence[Ratio]) -> str:
        return str(values[0]) if len(set(values)) == 1 else "/".join(map(str, values))

    heads, ratios = brief(architecture.num_heads), brief(architecture.mlp_ratio)
    return f"C {architecture.embed_dim}, depth {architecture.depth}, heads {heads}, ratio {ratios}"


def details(candidate: Candidate) -> list[str]:
    """What `hover` shows of a candidate: trial, architecture, the range of its energy over images, parameters, scores."""
    spread = candidate.spread
    return [
        "-" if candidate.number is None else str(candidate.number),
        in_a_line(candidate.architecture),
        f"{units.energy(spread.low_mj)} to {units.energy(spread.high_mj)}",
        "".join([units.parameters(candidate.params), *(f", {GOALS[n].label} {v:.4g}" for n, v in candidate.scores)]),
    ]


def hover(study: str) -> str:
    """plotly's template of what a pointer sees of the `details` of a study's candidate at (mJ, GFLOPs)."""
    command = _export(literal(units.command("export", study)), "%{customdata[0]}")
    return (
        "<b>trial %{customdata[0]}</b>: %{customdata[1]}<br>%{x:.4g} mJ (%{customdata[2]}), %{y:.4g} GFLOPs, "
        "%{customdata[3]}<br>"
        f"{command}<extra></extra>"
    )


def export_command(study: str, number: int | str) -> str:
    """What one types to take a trial's network away."""
    return _export(units.command("export", study), str(number))


def _export(command: str, number: str) -> str:
    return f"{command} --trial {number} -o trial-{number}"


def literal(text: str) -> str:
    """Text that a template of plotly's shows as it is."""
    return escape(text).replace("%", "&#37;")


def thin(candidates: Sequence[Candidate], most: int = MOST) -> tuple[Candidate, ...]:
    """At most `most` candidates that stand for all: those of the cloud's hull, and of the others evenly spaced ones by energy.

    The same ones whatever their order, unless two have equal figures.
    """
    if len(candidates) <= most:
        return tuple(candidates)
    ordered = sorted(candidates, key=lambda c: (c.energy_mj, c.flops))
    kept = set(hull([(math.log(c.energy_mj), math.log(c.flops)) for c in ordered]))
    others = [place for place in range(len(ordered)) if place not in kept]
    room = max(most - len(kept), 0)
    kept.update(others[turn * len(others) // room] for turn in range(room))
    return tuple(ordered[place] for place in sorted(kept))


def hull(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the corners of the convex hull in points sorted by x, then y (Andrew 1979, monotone chain)."""
    corners: list[int] = []
    for places in (range(len(points)), range(len(points) - 1, -1, -1)):
        chain: list[int] = []
        for place in places:
            while len(chain) > 1 and _turn(points[chain[-2]], points[chain[-1]], points[place]) <= 0:
                chain.pop()
            chain.append(place)
        corners += chain
    return corners


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Positive where a, b, c turn to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
