"""Summary: a study in a few figures, and how close it came to the exact front."""

from dataclasses import dataclass

from optuna.trial import TrialState

from autost_optuna import notebook, units
from autost_optuna.front.front import hypervolume, nondominated
from autost_optuna.front.health import Health, correlations, health
from autost_optuna.search.enrol import CANDIDATE
from autost_optuna.search.search import Search
from autost_optuna.space.parameters import OUTSIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What `study show` reports about a search.

    `outside` trials have values that are not in the space. `correlations` are Spearman's, of further objectives with FLOPs and
    energy.
    """

    health: Health
    hypervolume: float
    space_size: int
    infeasible: int
    outside: int
    silent: int
    failed: int
    unscored: int
    correlations: dict[str, dict[str, float | None]]

    def _repr_html_(self) -> str:
        """In a notebook: the progress and health of the search."""
        found = self.health
        pairs = [
            ("trials", f"{found.trials:,} complete, {self.infeasible:,} outside the constraints, {self.silent} silent"),
            ("unique", f"{found.unique:,} of {self.space_size:,} architectures"),
            (
                "front",
                f"{units.counted(found.front_size, 'member')}, {found.nondominated_share:.1%} of the unique ones",
            ),
            ("hypervolume", f"{self.hypervolume:.4f} of the space's box"),
            ("Spearman", "" if found.spearman is None else f"{found.spearman:.4f} between FLOPs and energy"),
            ("failed", f"{self.failed:,} trials" if self.failed else ""),
            ("outside", f"{units.counted(self.outside, 'trial')} outside the space" if self.outside else ""),
            ("warning", found.warning or ""),
        ]
        return notebook.facts(pairs)


def summarise(search: Search) -> Summary:
    """Health, hypervolume and counts of a search, complete or not."""
    candidates, left = search.settled()
    dropped = list(left.values())
    trials = search.study.get_trials(deepcopy=False)
    measured = sum(trial.state == TrialState.COMPLETE and CANDIDATE in trial.user_attrs for trial in trials)
    size, no_members = search.settings.space.size, {"infeasible", "silent", "unscored"}
    declared = search.settings.space.distributions()  # a program may have its own parameters
    pruned = {
        frozenset(item for item in trial.params.items() if item[0] in declared)
        for trial in trials
        if no_members & trial.user_attrs.keys()
    }
    return Summary(
        health=health(candidates, size - len(pruned)),
        hypervolume=hypervolume(nondominated(candidates), search.settings.box),
        space_size=size,
        infeasible=sum("infeasible" in trial.user_attrs for trial in trials) + sum(not one.silent for one in dropped),
        outside=sum(OUTSIDE in trial.user_attrs for trial in trials) + measured - len(candidates) - len(dropped),
        silent=sum("silent" in trial.user_attrs for trial in trials) + sum(one.silent for one in dropped),
        failed=sum(trial.state == TrialState.FAIL for trial in trials),
        unscored=sum("unscored" in trial.user_attrs for trial in trials),
        correlations=correlations(candidates),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """The share of the exact front's hypervolume that a search reached, the trials it took, and the trials until 95 %.

    `share` may exceed 1 by as much as the spread within the classes allows.
    """

    share: float
    trials: int
    trials_to_95: int | None


def reached(search: Search) -> Reached | None:
    """How close the search came to the exact front; None if that is unknown or no trial is finished."""
    exact, course = search.exact(), search.course()
    if exact is None or not course.hypervolumes:
        return None
    return Reached(
        share=hypervolume(nondominated(search.candidates()), search.settings.box) / exact.hypervolume,
        trials=course.trials_to(course.hypervolumes[-1]) or 0,
        trials_to_95=course.trials_to(0.95 * exact.hypervolume),
    )
