"""The hypervolume over trials: what is drawn (`convergence_view`), and how (`draw_convergence`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.delivery.plots.figure import BLUE, INK, dress
from autost_optuna.front.convergence import Course, StopRule, convergence_in_words
from autost_optuna.search.exact import ExactFront

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvergenceView:
    """What the plot shows: the trials that changed the hypervolume, and the exact front's hypervolume if known."""

    title: str
    subtitle: str
    trials: tuple[int, ...]
    hypervolumes: tuple[float, ...]
    exact: float | None


def convergence_view(
    name: str, course: Course, exact: ExactFront | None = None, *, by_table: bool = False
) -> ConvergenceView:
    """The plot of the course of a search called `name`, judged `by_table` or measured. ValueError if no trial is finished."""
    volumes = course.hypervolumes
    if not volumes:
        raise ValueError(
            f"study {name} has no finished trial yet; run {units.command('study', 'run', name, '--trials', '100')}"
        )
    last = len(volumes) - 1
    turns = [place for place, volume in enumerate(volumes) if place in (0, last) or volume != volumes[place - 1]]
    reached = "" if exact is None or by_table else f", {volumes[-1] / exact.hypervolume:.1%} of the exact front's"
    return ConvergenceView(
        title=f"{name}: hypervolume {volumes[-1]:.4f} after {units.counted(len(volumes), 'trial')}{reached}",
        subtitle=convergence_in_words(course.evidence(StopRule())) + ("; by the table of rates" if by_table else ""),
        trials=tuple(place + 1 for place in turns),
        hypervolumes=tuple(volumes[place] for place in turns),
        exact=None if exact is None else exact.hypervolume,
    )


def draw_convergence(view: ConvergenceView) -> "Figure":
    """The view as steps that rise, under the exact front's line."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Scatter(
            name="search",
            x=view.trials,
            y=view.hypervolumes,
            mode="lines",
            line={"color": BLUE, "width": 2, "shape": "hv"},
            hovertemplate="after %{x:,} trials: %{y:.4f}<extra></extra>",
        )
    )
    if view.exact is not None:
        figure.add_scatter(
            name="exact front",
            x=[view.trials[0], view.trials[-1]],
            y=[view.exact, view.exact],
            mode="lines",
            line={"color": INK, "width": 1.2, "dash": "4px,3px"},
            hovertemplate="exact front: %{y:.4f}<extra></extra>",
        )
    dress(figure, view.title, view.subtitle)
    figure.update_xaxes(title="finished trials", rangemode="tozero", tickformat=",d")
    figure.update_yaxes(title="hypervolume", rangemode="tozero")
    return figure
