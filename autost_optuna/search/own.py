"""Own: parameters and objectives of the user's program in a study, in addition to those of Objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from autost_optuna.front.candidate import Candidate
from autost_optuna.search.enrol import CANDIDATE
from autost_optuna.search.search import Search


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """The user's own parameters, by name, and own objectives, by name and direction; both stay unchanged."""

    parameters: tuple[str, ...]
    objectives: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.parameters or self.objectives)


def own_of(search: Search) -> Own:
    """The parameters of a study's complete trials that are not in its space, and the directions after its objectives."""
    declared = search.settings.space.distributions()
    trials = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = {name for trial in trials if CANDIDATE in trial.user_attrs for name in trial.params}
    first, directions = len(search.settings.objectives), search.study.directions
    called = search.study.metric_names or [f"Objective {index}" for index in range(len(directions))]
    return Own(
        parameters=tuple(sorted(names - declared.keys())),
        objectives=tuple((called[i], directions[i].name.lower()) for i in range(first, len(directions))),
    )


def own_rows(search: Search, own: Own, members: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The own values of each member's trial, named as in Optuna's trials_dataframe; None for a missing value."""
    first, trials = len(search.settings.objectives), search.study.get_trials(deepcopy=False) if own else []
    return [
        {f"params_{name}": trials[member.number or 0].params.get(name) for name in own.parameters}
        | {f"values_{name}": trials[member.number or 0].values[first + i] for i, (name, _) in enumerate(own.objectives)}
        for member in members
    ]
