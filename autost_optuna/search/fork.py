"""Fork: a new study that starts from the results of an old study that cannot be continued."""

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from autost_optuna.data import rate_images
from autost_optuna.front.candidate import MEASURED, Candidate
from autost_optuna.proxies.convention import Convention
from autost_optuna.search.enrol import CANDIDATE, CHECKED, figures_differ
from autost_optuna.search.objective import Objective, measure_box
from autost_optuna.search.restore import make_objective
from autost_optuna.search.search import Search
from autost_optuna.search.settings import ATTRIBUTE, installed_versions
from autost_optuna.search.study import check_name, existing_names, make_study, named_twice
from autost_optuna.search.tables import store_measured, stored_measured, stored_table
from autost_optuna.storage.location import check_file
from autost_optuna.units import StrPath

ORIGIN = f"{ATTRIBUTE}:forked_from"


@dataclass(frozen=True, kw_only=True, slots=True)
class Forked:
    """A forked study: `copied` results taken over unchanged, or else `queued` architectures to measure again.

    `reason` says why the old figures do not hold here; None if they do.
    """

    search: Search
    copied: int
    queued: int
    reason: str | None


def fork(
    search: Search,
    name: str,
    storage: StrPath,
    *,
    convention: Convention | None = None,
    data_root: StrPath | None = None,
    device: str = "cpu",
) -> Forked:
    """A new study called `name`, with the settings of `search` under the current packages, images and convention.

    The user's own objectives beside those of the settings are dropped; own parameters and attributes are kept.

    If some members of the old front, measured again, give the same figures, all results are taken over. Otherwise the
    members of the old front are queued as the first trials of the next run. The old study is not changed.
    """
    check_name(name)
    storage = os.fspath(storage)
    check_file(storage, create=True, write=True)
    if name in existing_names(storage):  # before anything is measured
        raise named_twice(name, storage, skips=False)
    old = search.settings
    sample = old.sample(data_root)
    drawn = rate_images(old.task, sample)
    settings = replace(
        old,
        convention=convention or old.convention,
        data_root=None if sample.data_root is None else str(Path(sample.data_root).resolve()),
        fingerprint=drawn.fingerprint,
        versions=installed_versions(),
    )
    objective = make_objective(settings, device=device)
    objective.tabled = stored_table(search.study, settings.space, settings.task)
    members = search.front()
    reason = _difference(search, objective, members)
    if reason is not None:
        objective.tabled = None  # the old one does not hold here
    tabled = objective.table() if objective.by_table else None
    made = make_study(name, storage, replace(settings, box=measure_box(objective)), tabled)
    finished = _finished(search)
    if reason is None:
        made.study.add_trials(finished)
        numbers = {trial.number: number for number, trial in enumerate(finished)}
        for number, candidate in stored_measured(search.study).items():
            store_measured(made.study, replace(candidate, number=numbers[number]))
    else:
        parameters = {trial.number: trial.params for trial in finished}
        for member in members:
            made.study.enqueue_trial(parameters[member.number or 0])
    made.study.set_user_attr(ORIGIN, {"name": search.study.study_name, "versions": old.versions, "reason": reason})
    copied = len(finished) if reason is None else 0
    return Forked(search=made, copied=copied, queued=0 if reason is None else len(members), reason=reason)


def _finished(search: Search) -> list[FrozenTrial]:
    """The finished trials of a search, without the values of the user's own objectives."""
    found = []
    for trial in search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if trial.state == TrialState.PRUNED or CANDIDATE in trial.user_attrs:
            trial = copy.copy(trial)
            trial.values = trial.values and trial.values[: len(search.settings.objectives)]
            found.append(trial)
    return found


def _difference(search: Search, objective: Objective, members: list[Candidate]) -> str | None:
    """Why the figures of `search` differ from those of `objective`; None if they agree."""
    old = search.settings
    if objective.convention.hash != old.convention.hash:
        return f"the convention is {objective.convention.label}, it was {old.convention.label}"
    if objective.images.fingerprint != old.fingerprint:
        return f"the images have fingerprint {objective.images.fingerprint}, they had {old.fingerprint}"
    measured = [member for member in members if member.rates == MEASURED]
    if not measured:
        return "no member of its front was measured"
    again = (
        (member, objective.measure(member.architecture)) for member in measured[:: max(1, len(measured) // CHECKED)]
    )
    return next(filter(None, (figures_differ(before, after) for before, after in again)), None)
