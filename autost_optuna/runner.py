"""Run the trials of a study; again to resume."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from autost_optuna.candidate import Candidate
from autost_optuna.front import nondominated
from autost_optuna.settings import make_objective
from autost_optuna.study import Search


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The state of a run after a trial: trials done of those asked for, members of the front."""

    done: int
    trials: int
    front_size: int
    duration_s: float


def run(
    search: Search,
    *,
    trials: int,
    timeout: float | None = None,
    data_root: Path | None = None,
    device: str = "cpu",
    on_trial: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Run `trials` more trials, or until `timeout` seconds have passed or `stopped()`; returns how many were run.

    `data_root` replaces the folder that the study was created with. ValueError where the images there are others.
    """
    if trials < 1:
        raise ValueError(f"trials {trials} is not positive; ask for at least 1")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout {timeout} is not positive; give seconds, such as 60")
    study, settings = search.study, search.settings
    objective = make_objective(settings, data_root, device)
    earlier = search.candidates()
    objective.remember(earlier)
    members = nondominated(earlier)
    start = time.monotonic()
    done = 0
    while done < trials and not stopped() and not (timeout is not None and time.monotonic() - start >= timeout):
        trial = study.ask()
        try:
            study.tell(trial, objective(trial))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise
        else:
            members = nondominated([*members, Candidate.from_dict(trial.user_attrs["candidate"])])
        done += 1
        on_trial(Progress(done=done, trials=trials, front_size=len(members), duration_s=time.monotonic() - start))
    return done
