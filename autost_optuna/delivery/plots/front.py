"""The Pareto plot: what is drawn (`front_view`), and how (`draw_front`)."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autost_optuna import units
from autost_optuna.delivery.plots.figure import BLUE, GREY, INK, ORANGE, dress, legend_of_part, ticks
from autost_optuna.delivery.plots.frame import Frame, edges, frame_of, with_room
from autost_optuna.delivery.plots.labels import Room, steps
from autost_optuna.delivery.plots.names import (
    Mark,
    arrows,
    baseline_names,
    diamonds,
    labels_placed,
    limit_line,
    limit_name,
    outside_names,
    pick_names,
    width_names,
)
from autost_optuna.delivery.plots.points import (
    BUDGET,
    MOST,
    Places,
    at,
    drawn,
    exact_line,
    finding,
    quantised_points,
    thin,
)
from autost_optuna.front.candidate import TABLE, Candidate
from autost_optuna.front.front import in_plane, part
from autost_optuna.front.picks import knee
from autost_optuna.network.architecture import Architecture
from autost_optuna.proxies.goals import GOALS
from autost_optuna.search.baselines import Baseline, baseline_in_words, caveat, sizes_of
from autost_optuna.search.exact import ExactFront, Found

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

POINTER = 90  # characters per line of hover text


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontView:
    """What the Pareto plot shows of a search: `dominated` holds those of its `all_dominated` dominated architectures shown.

    `members` are on the front of FLOPs and energy, `others` are on the front through further objectives. `limits` are
    energies in mJ by name. With `places`, members and picks are of the exact front, and have these places in it.
    """

    name: str
    title: str
    subtitle: str
    dominated: tuple[Candidate, ...]
    all_dominated: int
    members: tuple[Found, ...]
    others: tuple[Candidate, ...]
    knee: Found
    quantised: bool
    exact: ExactFront | None
    picks: tuple[Found, ...]
    baselines: tuple[Mark, ...]
    limits: tuple[tuple[str, float], ...]
    legend: str = "Pareto front"
    places: Places = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """What the Pareto plot shows beside the candidates.

    With `quantised`, each member's network without spikes is a second point. `exact` is the front of the whole space, `picks`
    are marked, and `limits` are energies in mJ by name, such as BUDGET.
    """

    quantised: bool = False
    exact: ExactFront | None = None
    picks: Sequence[Found] = ()
    baselines: Sequence[Baseline] = ()
    limits: Mapping[str, float] = field(default_factory=dict)


BARE = Overlay()


def front_view(name: str, candidates: Sequence[Candidate], overlay: Overlay = BARE, *, most: int = MOST) -> FrontView:
    """The plot of a search called `name`, with at most `most` dominated candidates. ValueError if there is no candidate."""
    whole, dominated = part(candidates)
    chosen, members = knee(whole), in_plane(whole)
    in_line = {member.architecture.key for member in members}
    tabled, on_front = sum(one.rates == TABLE for one in dominated), sum(one.rates == TABLE for one in whole)
    known = f"; by the table of rates: {tabled:,} dominated" if tabled or on_front else ""
    known += f" and {'all' if on_front == len(whole) else f'{on_front:,}'} of the front" if on_front else ""
    return FrontView(
        name=name,
        title=f"{name}: {finding(members, overlay.limits.get(BUDGET))}",
        subtitle=f"{units.counted(len(whole), 'member')} of the front among "
        f"{units.counted(len(whole) + len(dominated), 'architecture')}; {chosen.convention}; {chosen.conditions}{known}",
        dominated=thin(dominated, most),
        all_dominated=len(dominated),
        members=tuple(members),
        others=tuple(member for member in whole if member.architecture.key not in in_line),
        knee=chosen,
        quantised=overlay.quantised,
        exact=overlay.exact,
        picks=tuple(overlay.picks),
        baselines=tuple(_marks(overlay.baselines, members)),
        limits=tuple(overlay.limits.items()),
    )


def exact_view(name: str, front: ExactFront, said: str, overlay: Overlay = BARE) -> FrontView:
    """The plot of the exact front of a search called `name`; `said` are the space and the conditions of its energies."""
    places = {member.architecture: place for place, member in enumerate(front.members, 1)}
    unmeasured = f"; {front.unmeasured:,} by the table of rates" if front.unmeasured else ""
    return FrontView(
        name=name,
        title=f"{name}: {finding(front.members, overlay.limits.get(BUDGET), places)}",
        subtitle=f"{units.counted(len(front.members), 'member')} of the exact front of {said}{unmeasured}",
        dominated=(),
        all_dominated=0,
        members=front.members,
        others=(),
        knee=knee(front.members),
        quantised=False,
        exact=None,
        picks=tuple(overlay.picks),
        baselines=tuple(_marks(overlay.baselines, front.members)),
        limits=tuple(overlay.limits.items()),
        legend=f"exact front ({front.basis})",
        places=places,
    )


def _marks(baselines: Sequence[Baseline], members: Sequence[Found]) -> Iterator[Mark]:
    """One mark per architecture of the baselines."""
    by_architecture: dict[Architecture, list[Baseline]] = {}
    for baseline in baselines:
        by_architecture.setdefault(baseline.architecture, []).append(baseline)
    for architecture, found in by_architecture.items():
        said = textwrap.wrap(caveat(found), POINTER)
        yield Mark(
            names=tuple(dict.fromkeys(one.label for one in found)),
            energy_mj=found[0].energy_mj,
            flops=found[0].flops,
            lines=(architecture.in_words(), baseline_in_words(found[0], members), *said),
            sizes_of=sizes_of(found),
            short=architecture.in_words(blocks=False),
        )


def draw_front(view: FrontView, letters: float = 1.0) -> "Figure":
    """The view as a plotly figure: energy to the right, FLOPs up, both logarithmic; better is up and left.

    The axes follow the front; points far from it are marked at the edge. `letters` is the size of letters relative to the
    plot: 1.0 in a page.
    """
    import plotly.graph_objects as go

    frame = _frame(view, letters)
    cloud = legend_of_part("dominated", len(view.dominated), view.all_dominated)
    cut = sum(not frame.holds(at(one)) for one in view.dominated)
    kinds: list[tuple[str, Sequence[Found], dict[str, Any]]] = [
        (
            f"{cloud}, {cut:,} outside the plot" if cut else cloud,
            view.dominated,
            {"mode": "markers", "marker": {"color": GREY, "size": 5, "opacity": 0.55}},
        ),
        (_further(view), view.others, _ring(BLUE, 11, 1)),
        (
            f"{view.legend} of FLOPs and energy" if view.others else view.legend,
            view.members,
            {
                "mode": "lines+markers",
                "line": {"color": BLUE, "width": 2, "shape": "hv"},
                "marker": {"color": BLUE, "size": 7},
            },
        ),
        (
            "knee",
            (view.knee,),
            {
                "mode": "markers",
                "marker": {"color": ORANGE, "size": 15, "symbol": "star", "line": {"color": "white", "width": 1}},
            },
        ),
        (units.counted(len(view.picks), "pick"), view.picks, _ring(INK, 15, 2)),
    ]
    empty = () if view.places else (cloud,)  # a cloud without points says that none is dominated
    traces = [
        drawn(view.name, name, points, view.places, **style) for name, points, style in kinds if points or name in empty
    ]
    figure = go.Figure([traces[0], *([exact_line(view.exact)] if view.exact else []), *traces[1:]])
    searched = [member for member in view.members if isinstance(member, Candidate)]
    figure.add_traces(quantised_points(view.name, searched) if view.quantised else [])
    _add_named(figure, view, frame, letters)
    dress(figure, view.title, view.subtitle)
    for update, title, low, high in (
        (figure.update_xaxes, "energy (mJ per image, less is better)", frame.low[0], frame.high[0]),
        (figure.update_yaxes, "GFLOPs per image (more is better)", frame.low[1], frame.high[1]),
    ):
        update(type="log", title=title, range=[low, high], **ticks([10**low, 10**high]))
    return figure


def _further(view: FrontView) -> str:
    """The legend of members that are on the front through objectives other than FLOPs and energy."""
    scores = view.others[0].scores if view.others else ()
    return f"on the front by {' and '.join(GOALS[name].label for name, _ in scores)}"


def _ring(colour: str, size: int, width: int) -> dict[str, Any]:
    return {
        "mode": "markers",
        "marker": {"color": colour, "size": size, "symbol": "circle-open", "line": {"width": width}},
    }


def _frame(view: FrontView, letters: float) -> Frame:
    """A frame filled by the front and what was requested with it; it includes other points only if they are near."""
    core = [*map(at, (*view.members, *view.others, *view.picks))]
    core += map(at, view.exact.members if view.exact else ())
    without = [member for member in view.members if view.quantised and isinstance(member, Candidate)]
    core += [(member.quantised_mj, member.flops / 1e9) for member in without]
    near = [*map(at, view.dominated), *map(at, view.baselines)]
    near += [(energy_mj, core[0][1]) for _, energy_mj in view.limits]
    return with_room(frame_of(core, near), [*map(at, view.baselines)], letters)


def _add_named(figure: "Figure", view: FrontView, frame: Frame, letters: float) -> None:
    """Add limits and baselines, with their names and those of picks and widths; more important ones find room first."""
    middle = frame.at((0, 0.5))[1]
    limits = [(name, energy_mj) for name, energy_mj in view.limits if frame.holds((energy_mj, middle))]
    inside = [mark for mark in view.baselines if frame.holds(at(mark))]
    outside = edges(frame, [*map(at, view.baselines)])
    lines = [limit_line(*limit, frame) for limit in limits]
    figure.add_traces([*lines, *([diamonds(inside, view.baselines)] if inside else [])])
    if outside:
        figure.add_trace(arrows(outside, view.baselines, alone=not inside))
    named = (
        outside_names(outside, view.baselines),  # before limits, which the legend also names
        *(limit_name(*limit, frame) for limit in limits),
        pick_names(view.picks or [view.knee], "" if view.picks else "knee: ", view.places),
        baseline_names(inside),
        width_names(view.members),
    )
    hard = [*map(at, (*view.others, *view.picks)), *map(at, inside), *(edge.at for edge in outside)]
    hard += steps([*map(at, view.members)], frame)
    along = [point for line in lines for point in steps([*zip(line.x, line.y, strict=True)], frame)]
    soft = [*map(at, view.dominated), *along]
    figure.add_traces([*labels_placed(named, Room(frame=frame, hard=hard, soft=soft, letters=letters))])
