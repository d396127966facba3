"""Enrol: write an objective's settings into the Optuna study that it runs in, so that every command can read the study."""

import math
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from autost_optuna.front.candidate import INITIALISATION, Candidate
from autost_optuna.front.constraints import BOUNDS, Constraints
from autost_optuna.network.architecture import Architecture
from autost_optuna.proxies.goals import GOALS, further
from autost_optuna.proxies.limits import PREFIX
from autost_optuna.search.settings import ATTRIBUTE, Settings
from autost_optuna.space.space import Space

CANDIDATE = "candidate"  # the user attribute of a trial
PROGRAM = f"{ATTRIBUTE}:program"  # marks a study whose trials the user's own program runs
CHECKED = 5  # architectures to measure again

LOCK = threading.Lock()  # so that threads that share an objective measure its settings once
_known: "weakref.WeakKeyDictionary[optuna.Study, Settings]" = weakref.WeakKeyDictionary()
_left_out: "weakref.WeakSet[optuna.Study]" = weakref.WeakSet()
_logger = optuna.logging.get_logger(__name__)


def check_directions(study: optuna.Study, objectives: Sequence[str], *, alone: bool = False) -> None:
    """Raise ValueError unless the study's directions are those of `objectives`; unless `alone`, more may follow."""
    needed: list[str] = [GOALS[name].direction for name in objectives]
    given = [direction.name.lower() for direction in study.directions]
    if given[: len(needed)] != needed or (alone and len(given) > len(needed)):
        labels = ", ".join(GOALS[name].label for name in objectives)
        raise ValueError(
            f"study {study.study_name} has the directions {', '.join(given)}; the objective returns {labels}, which need "
            f"{', '.join(needed)}. Create the study with directions={needed}; a function of your own that calls the objective "
            "may return further values after these"
        )


def has_settings(study: optuna.Study, shared: Mapping[str, Any]) -> bool:
    """Whether the study has settings. ValueError if they differ from `shared`, or were made with other packages.

    `shared` holds the fields of `Settings` that all objectives of a study have in common. The study is read once.
    """
    if study not in _known:
        stored = study.user_attrs.get(ATTRIBUTE)
        if stored is None:
            return False
        settings = Settings.from_dict(stored)
        settings.check_versions()
        _known[study] = settings
    known = _known[study]
    own, stored_space = shared["space"], known.space  # equal choices are the same space, whatever it is called
    alike = {**own.to_dict(), "name": stored_space.name} == stored_space.to_dict()
    same = {**shared, "space": stored_space if alike else own}
    known.check_same(same, "the objective has", "use the same, or another study")
    return True


def leave_out(study: optuna.Study, reason: ValueError) -> None:
    """Log why the study receives no settings."""
    _logger.warning(f"The commands of autost-optuna cannot read study {study.study_name}: {reason}.")
    _left_out.add(study)


def is_left_out(study: optuna.Study) -> bool:
    """Whether the study is already known to receive no settings."""
    return study in _left_out


def write_settings(study: optuna.Study, settings: Settings, sampler: str | None) -> None:
    """Name the objectives of a study that a program runs, unless they have names, then store the settings in one write.

    `sampler` is the name of the program's sampler, or None if unknown.
    """
    if study.metric_names is None:
        name_objectives(study, settings.objectives)
    study.set_user_attr(PROGRAM, {"sampler": sampler})
    study.set_user_attr(ATTRIBUTE, settings.to_dict())
    _known[study] = settings


def name_objectives(study: optuna.Study, objectives: Sequence[str]) -> None:
    """Name the objectives of a search. Further values of a program get the names that Optuna and its dashboard use."""
    labels = [GOALS[name].label for name in objectives]
    name_metrics(study, [*labels, *(f"Objective {index}" for index in range(len(labels), len(study.directions)))])


def name_metrics(study: optuna.Study, names: Sequence[str]) -> None:
    """Name the objectives of a study, as optuna-dashboard shows them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # experimental since 3.2; it names the axes
        study.set_metric_names(list(names))


def check_trials(study: optuna.Study, shared: Mapping[str, Any], evaluate: Callable[[Architecture], Candidate]) -> None:
    """Raise ValueError, naming the trial, if the candidates of a study do not match `shared`.

    The stored values of all are compared, and a few are measured again: only results reveal other images and prices.
    Candidates outside the space, which were enqueued, are skipped, as everywhere.
    """
    kept: dict[str, Candidate] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if CANDIDATE in trial.user_attrs:
            candidate = _read(trial)
            _check_measured(trial, candidate, shared)
            _check_drawn(trial, candidate, shared["space"])
            if trial.state == TrialState.COMPLETE:
                _check_values(trial, candidate, shared["objectives"])
                _check_bounds(trial, candidate, shared)
            if candidate.architecture in shared["space"]:
                kept.setdefault(candidate.architecture.key, candidate)
    distinct = list(kept.values())
    for candidate in distinct[:: max(1, len(distinct) // CHECKED)]:
        again = evaluate(candidate.architecture)
        reason = figures_differ(candidate, again)
        if reason is not None:
            other = "task is" if again.flops != candidate.flops else "images, the prices or the packages are"
            raise ValueError(f"{reason}: the {other} not what it was measured with; use the same")


def figures_differ(candidate: Candidate, again: Candidate) -> str | None:
    """How figures differ from those of the same architecture measured again; None if they agree."""
    if again.flops != candidate.flops:
        return f"trial {candidate.number} has {again.flops:,} FLOPs, it had {candidate.flops:,}"
    if not math.isclose(again.energy_mj, candidate.energy_mj, rel_tol=1e-6):
        return f"trial {candidate.number} gives {again.energy_mj:.6g} mJ, it gave {candidate.energy_mj:.6g} mJ"
    for name, value in candidate.scores:
        if not math.isclose(dict(again.scores).get(name, math.nan), value, rel_tol=1e-6):
            return f"trial {candidate.number} had {name} {value:.6g}, and has another here"
    return None


def _read(trial: FrozenTrial) -> Candidate:
    try:
        return Candidate.from_dict(trial.user_attrs[CANDIDATE], number=trial.number)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(
            f"the user attribute {CANDIDATE!r} of trial {trial.number} was not written by Objective; give yours another name"
        ) from None


def _check_measured(trial: FrozenTrial, candidate: Candidate, shared: Mapping[str, Any]) -> None:
    """Raise ValueError if the candidate was measured differently."""
    asked = {name: shared[name] for name in ("data", "images", "seed", "seeds", "rates")}
    asked |= {"convention": shared["convention"].label, "weights": INITIALISATION}
    for name, value in asked.items():
        theirs = getattr(candidate, name)
        if theirs != value:
            raise ValueError(f"trial {trial.number} was measured with {name} {theirs}, not {value}; use the same")
    scores, names = tuple(name for name, _ in candidate.scores), further(shared["objectives"])
    if trial.state == TrialState.COMPLETE and scores != names:
        raise ValueError(
            f"trial {trial.number} has {_listed(scores)} beside FLOPs and energy, not {_listed(names)}; use the same "
            "objectives"
        )


def _check_drawn(trial: FrozenTrial, candidate: Candidate, space: Space) -> None:
    """Raise ValueError if the candidate's architecture was drawn from another space."""
    remedy = "give the space that it was made in, uniform if all blocks share one choice"
    for name, declared in space.distributions().items():
        given = trial.distributions.get(name, declared)
        if given != declared:
            raise ValueError(
                f"trial {trial.number} drew {name} from {_choices(given)}, the space {space.name} offers {_choices(declared)}; "
                f"{remedy}"
            )
    try:
        drawn = space.architecture(trial.params)
    except KeyError as error:
        raise ValueError(f"trial {trial.number} has no parameter {error} of the space {space.name}; {remedy}") from None
    if drawn != candidate.architecture:
        raise ValueError(
            f"trial {trial.number} has the parameters of {drawn.to_text()} and the candidate "
            f"{candidate.architecture.to_text()}; {remedy}"
        )


def _check_values(trial: FrozenTrial, candidate: Candidate, objectives: Sequence[str]) -> None:
    """Raise ValueError if a complete trial's first values are not its candidate's."""
    for name, value in zip(objectives, trial.values, strict=False):
        if not math.isclose(candidate.value(name), value, rel_tol=1e-9):
            raise ValueError(
                f"trial {trial.number} has {GOALS[name].label} {value:g}, its candidate {candidate.value(name):g}; return "
                "the values of the objective as they are, before your own"
            )


def _check_bounds(trial: FrozenTrial, candidate: Candidate, shared: Mapping[str, Any]) -> None:
    """Raise ValueError if a complete trial had other constraints."""
    constraints: Constraints = shared["constraints"]
    ours = constraints.of_counts(candidate.architecture, shared["task"]) | constraints.of_energy(candidate.energy_mj)
    theirs = {n: value for n, value in trial.constraints.items() if n in BOUNDS or n.startswith(PREFIX)}
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs or not math.isclose(ours[name], theirs[name], abs_tol=1e-9):
            how = (
                f"without these settings' bound {name}"
                if name in ours
                else f"with a bound {name} that these settings lack"
            )
            raise ValueError(f"trial {trial.number} was run {how} (they have {constraints}); use the same constraints")


def _choices(distribution: BaseDistribution) -> str:
    """The values of a distribution, for a message."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    if isinstance(distribution, IntDistribution):
        return f"{distribution.low} to {distribution.high} in steps of {distribution.step}"
    return str(distribution)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"
