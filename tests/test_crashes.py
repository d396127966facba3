"""Nothing is lost: processes are killed at random moments, and every trial that they finished is there, once."""

import os
import random
import sys
import time
from collections import Counter
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState
from warm import FORKS, start

from autost_optuna.search import study as studies
from autost_optuna.search.catalogue import list_searches
from autost_optuna.search.runner import RunCallbacks, run
from autost_optuna.search.settings import Plan


def search_until_killed(storage, report):
    """Run trials, and tell the number and the energy of each that the study has taken."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = studies.open_search("s", storage, write=True)

    def tell(progress):
        last = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        mine = [trial for trial in last if trial.number not in told]
        told.update(trial.number for trial in last)
        os.write(report, "".join(f"{trial.number} {trial.values[1]!r}\n" for trial in mine).encode())

    told = set()
    run(search, trials=10**6, callbacks=RunCallbacks(on_trial=tell))


def told_in(path):
    """The numbers and energies told so far; a worker tells the trials of others too."""
    return dict(line.split() for line in path.read_text().splitlines()) if path.exists() else {}


def until_told(path, trials):
    """Wait until so many trials have been told. The lock of a process that was killed may have to run out, after 30 s."""
    deadline = time.monotonic() + 90
    while len(told_in(path)) < trials:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def work(storage, path):
    search_until_killed(storage, os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY))


@pytest.mark.parametrize(("kind", "kills", "lives_s"), [("journal", 50, 0.2), ("sqlite", 10, 0.8)])
@pytest.mark.slow
@pytest.mark.process
def test_whatever_is_killed_whenever_no_finished_trial_is_lost(tmp_path, toy_space, toy_task, kind, kills, lives_s):
    toy_space = replace(toy_space, depth=(1, 2, 3, 4, 5))  # not to be exhausted
    storage = {"journal": str(tmp_path / "s.journal"), "sqlite": f"sqlite:///{tmp_path}/s.db"}[kind]
    studies.create("s", storage, Plan(space=toy_space, task=toy_task, population=10))
    moments, path = random.Random(kind), tmp_path / "told"
    at_work = [start(work, storage, str(path)) for _ in range(3)]
    for kill in range(kills):
        until_told(path, kill + 1)
        time.sleep(moments.uniform(0, lives_s))
        victim = at_work.pop(moments.randrange(len(at_work)))
        victim.kill()
        victim.join()
        at_work.append(start(work, storage, str(path)))
    until_told(path, kills + 1)
    for process in at_work:
        process.kill()
        process.join()
    search = studies.open_search("s", storage, write=True)
    before = Counter(trial.state for trial in search.study.get_trials(deepcopy=False))
    assert run(search, trials=5).done == 5
    trials = studies.open_search("s", storage).study.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    after = Counter(trial.state for trial in trials)
    assert after[TrialState.COMPLETE] == before[TrialState.COMPLETE] + 5
    assert after[TrialState.RUNNING] == 0
    points = [tuple(sorted(trial.params.items())) for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(set(points)) == len(points)
    assert after[TrialState.FAIL] <= kills + 3
    energies = {trial.number: trial.values[1] for trial in trials if trial.state == TrialState.COMPLETE}
    told = told_in(path)
    assert len(told) > kills
    assert {int(number): float(energy) for number, energy in told.items()}.items() <= energies.items()


def create(storage, skip, space, task, barrier):
    """Create a study at the same moment as others; the process's exit code says what came of it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    barrier.wait(60)
    try:
        search = studies.create("s", storage, Plan(space=space, task=task), skip_if_exists=skip)
    except studies.StudyExists:
        sys.exit(3)
    assert search.settings.space == space


@pytest.mark.parametrize(("kind", "rounds"), [("journal", 10), ("sqlite", 6)])
@pytest.mark.slow
@pytest.mark.process
def test_of_creators_at_once_one_makes_the_study(tmp_path, toy_space, toy_task, kind, rounds):
    for round_ in range(rounds):
        skip = round_ % 2 == 1
        path = tmp_path / f"{round_}.{kind}"
        storage = str(path) if kind == "journal" else f"sqlite:///{path}"
        barrier = FORKS.Barrier(3)
        creators = [start(create, storage, skip, toy_space, toy_task, barrier) for _ in range(3)]
        for process in creators:
            process.join(60)
        assert sorted(process.exitcode for process in creators) == ([0, 0, 0] if skip else [0, 3, 3])
        assert studies.open_search("s", storage).settings.space == toy_space
        assert [row.space for row in list_searches(storage)] == ["toy"]
