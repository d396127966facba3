"""Several processes on one study: as many trials as asked for, whoever dies; and a search that stops when it is done."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import optuna
import pytest
import torch
import warm

from autost_optuna import Space
from autost_optuna.front.convergence import StopRule
from autost_optuna.search import runner, workers
from autost_optuna.search import study as studies
from autost_optuna.search.pool import STOPS, Done, Ended, Pool, on_stop
from autost_optuna.search.presence import RETRY, Presence, abandoned, alive
from autost_optuna.search.restore import make_objective
from autost_optuna.search.runner import Resources, RunCallbacks, run
from autost_optuna.search.settings import Plan
from autost_optuna.storage.storage import open_storage

# Large enough not to be exhausted before a command's workers have started.
TOY = "embed_dim = [16, 32]\ndepth = [1, 2, 3, 4, 5, 6]\nnum_heads = [2, 4]\nmlp_ratio = [1, 2]\n"


@pytest.fixture
def storage(tmp_path):
    return str(tmp_path / "s.journal")


@pytest.fixture
def search(storage, toy_space, toy_task):
    return studies.create("s", storage, Plan(space=toy_space, task=toy_task))


def states(storage, name="s"):
    trials = optuna.load_study(study_name=name, storage=open_storage(storage)).get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    return Counter(trial.state.name for trial in trials)


def forked(process):
    """The processes whose parent is `process`: of a command, the server of its workers; of that, the workers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == process and fields[0] != "Z" and "forkserver" in (stat.parent / "cmdline").read_text():
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def announced(storage):
    """The number of processes that runs have announced in the study."""
    said = studies.open_search("s", storage).study
    runs = said._storage.get_study_system_attrs(said._study_id)
    return sum(len(run["processes"]) for key, run in runs.items() if ":run:" in key and run)


def workers_of(process):
    return [worker for server in forked(process) for worker in forked(server)]


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


RUN = ["-m", "autost_optuna", "study", "run", "s"]
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def command(*arguments, folder, **options):
    return warm.Popen([*RUN, *arguments], cwd=folder, **PIPES, **options)


def completed(storage):
    return states(storage)["COMPLETE"]


@pytest.fixture
def folder(cli, tmp_path):
    """A folder with an empty study s in autost.journal."""
    (tmp_path / "toy.toml").write_text(TOY)
    result = cli("study", "create", "s", "--space", "toy.toml", "--task", "digits")
    assert result.exit_code == 0, result.output
    return tmp_path


@pytest.fixture
def slow_here(monkeypatch):
    """This process takes its time over the trials that it runs before its workers have started; returns what came of them."""
    ran = []

    def run_trial(study, objective):
        time.sleep(0.1)
        ran.append(workers.run_trial(study, objective))
        return ran[-1]

    monkeypatch.setattr("autost_optuna.search.runner.run_trial", run_trial)
    return ran


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
@pytest.mark.usefixtures("warm_workers")
@pytest.mark.slow
@pytest.mark.process
def test_workers_run_exactly_the_trials_asked_for(tmp_path, toy_space, toy_task, kind, slow_here):
    storage = {"journal": str(tmp_path / "s.journal"), "sqlite": f"sqlite:///{tmp_path}/s.db"}[kind]
    search = studies.create("s", storage, Plan(space=toy_space, task=toy_task))
    seen, notes = [], []
    outcome = run(
        search,
        trials=60,
        resources=Resources(workers=3),
        callbacks=RunCallbacks(on_trial=seen.append, on_note=notes.append),
    )
    assert (outcome.done, outcome.ending) == (60, "trials")
    assert [progress.done for progress in seen] == list(range(1, 61))
    assert states(storage) == {"COMPLETE": 60}
    assert 0 < len(slow_here) < 60
    again = studies.open_search("s", storage)
    assert seen[-1].front_size == len(again.front())
    assert len({c.architecture.key for c in again.candidates()}) == 60
    objective = make_objective(again.settings)
    assert all(objective.evaluate(c.architecture).energy_mj == c.energy_mj for c in again.candidates()[::9])


@contextlib.contextmanager
def looking(name, storage, say, what):
    on_stop(signal.SIG_IGN)

    def look(job):
        say(f"job {job}")
        if job == 2:
            raise ValueError("no such job\nat all")
        lines = [Path(f"/proc/{number}/cmdline").read_text() for number in (os.getpid(), os.getppid())]
        threads = [len(os.listdir(f"/proc/{number}/task")) for number in (os.getpid(), os.getppid())]
        stopped = signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(STOPS)
        return what, torch.get_num_threads(), os.environ.get("HERE"), os.getcwd(), lines, threads, stopped

    yield look


def served(pool):
    """The messages of a pool's only worker, up to the end of its job."""
    found = []
    while not found or not isinstance(found[-1], Done | Ended):
        found += [message for _, message in pool.receive(10)]
    return found


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("warm_workers")
@pytest.mark.process
def test_a_worker_has_what_its_parent_has_and_says_how_it_ends(monkeypatch, tmp_path, threads):
    monkeypatch.setenv("HERE", "since the server started")
    monkeypatch.chdir(tmp_path)
    with Pool(looking, ("s", "secret://"), ["this"], [{"OMP_NUM_THREADS": str(threads)}]) as pool:
        assert served(pool) == [Done()]
        (worker,) = pool.workers
        worker.give(1)
        told, done = served(pool)
        assert told == "job 1"
        *found, lines, each, stopped = done.result
        assert found == ["this", threads, "since the server started", str(tmp_path)]
        assert not any("secret" in line for line in lines)
        assert each[1] == 1  # in the server, no thread that does not survive a fork
        assert not stopped
        worker.give(2)
        assert served(pool)[1:] == [Ended("no such job")]
        assert not pool.workers
        worker.process.join(30)
        assert worker.process.exitcode == 0
    with Pool(looking, ("s", "secret://"), ["this"], [{"OMP_NUM_THREADS": "1"}] * 2) as pool:
        wait_for(lambda: len(pool.workers) == 2)
        numbers = [worker.process.pid for worker in pool.workers]
        os.kill(numbers[0], signal.SIGKILL)
        ended = next(message for message in iter(lambda: served(pool)[-1], None) if isinstance(message, Ended))
        assert ended == Ended(f"process {numbers[0]} was killed, perhaps for want of memory", died=True)
    assert not any(Path(f"/proc/{number}").exists() for number in numbers)


@pytest.mark.slow
@pytest.mark.process
def test_a_worker_that_is_killed_is_told_and_its_share_done(folder):
    storage = str(folder / "autost.journal")
    process = command("--trials", 400, "--workers", 3, folder=folder)
    wait_for(lambda: len(workers_of(process.pid)) == 3)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith("400 trials in ")
    told = [line for line in err.splitlines() if line.startswith("warning: a worker died")]
    assert len(told) == 1
    assert "was killed" in told[0]
    assert "2 workers go on and will do its share" in told[0]
    found = states(storage)
    assert found["COMPLETE"] == 400
    assert found["RUNNING"] == 0
    assert found["FAIL"] <= 1
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.process
def test_when_all_workers_die_the_run_has_failed_in_one_line(folder):
    storage = str(folder / "autost.journal")
    process = command("--trials", 5000, "--workers", 2, folder=folder)
    wait_for(lambda: len(workers_of(process.pid)) == 2)
    for number in workers_of(process.pid):
        os.kill(number, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("error: all workers died (the last: process ")
    assert "Traceback" not in err
    assert states(storage)["RUNNING"] == 0


@pytest.mark.slow
@pytest.mark.process
def test_workers_end_their_trial_when_interrupted_or_left_alone(folder):
    storage = str(folder / "autost.journal")
    process = command("--trials", 5000, "--workers", 2, folder=folder)
    wait_for(lambda: completed(storage) > 3 and len(workers_of(process.pid)) == 2)
    numbers = [process.pid, *workers_of(process.pid)]
    assert len(numbers) == 3
    for number in numbers:  # as a terminal does, to all of a group
        os.kill(number, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the study is safe. Resume by the same command, with --trials " in err
    assert set(states(storage)) == {"COMPLETE"}
    before = completed(storage)

    process = command("--trials", 5000, "--workers", 2, folder=folder)
    wait_for(lambda: announced(storage) == 3)  # the workers are ready, and the command runs no further trial itself
    before = completed(storage)
    wait_for(lambda: completed(storage) > before + 3)
    left = [*forked(process.pid), *workers_of(process.pid)]
    process.kill()
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in left), 30)
    assert set(states(storage)) == {"COMPLETE"}


@pytest.mark.usefixtures("warm_workers", "slow_here")
@pytest.mark.process
def test_an_error_in_a_worker_is_one_line(search, tmp_path):
    elsewhere = replace(search, storage=str(tmp_path / "none.journal"))  # where only the workers look
    with pytest.raises(RuntimeError, match=r"none\.journal") as caught:
        run(elsewhere, trials=500, resources=Resources(workers=2))
    assert "\n" not in str(caught.value)
    assert set(states(search.storage)) == {"COMPLETE"}


@contextlib.contextmanager
def slowly(name, storage, say, pickled):
    """The work of the first, whose trials take a second; any other does not get ready."""
    try:
        os.close(os.open(f"{storage}.first", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        time.sleep(60)
    study = studies.open_search(name, storage, write=True).study

    def work(ticket):
        objective = pickle.loads(pickled)
        return workers.run_trial(study, lambda trial: (time.sleep(1), objective(trial))[1])

    yield work


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.process
def test_an_error_here_waits_for_the_trials_of_workers(search, monkeypatch):
    def fails(study, objective):
        wait_for(lambda: states(search.storage)["RUNNING"])
        raise OSError("no space left")

    def late(study, objective):
        monkeypatch.setattr("autost_optuna.search.runner.run_trial", fails)
        time.sleep(1)  # the first worker is ready then
        return workers.run_trial(study, objective)

    monkeypatch.setattr("autost_optuna.search.workers._searching", slowly)
    monkeypatch.setattr("autost_optuna.search.runner.run_trial", late)
    with pytest.raises(OSError, match="no space left"):
        run(search, trials=500, resources=Resources(workers=2))
    assert states(search.storage) == {"COMPLETE": 2}


@pytest.mark.parametrize("workers", [0, -1, 257, 10**9])
def test_workers_out_of_range_are_refused(search, workers):
    with pytest.raises(ValueError, match=f"workers {workers} is out of range; use 1 to 256"):
        run(search, trials=1, resources=Resources(workers=workers))


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.process
def test_more_workers_than_processors_are_allowed_and_told(search, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda number: {0})
    notes = []
    assert run(search, trials=2, resources=Resources(workers=2), callbacks=RunCallbacks(on_note=notes.append)).done == 2
    assert notes == ["note: 2 workers on 1 processor; more than one on each rarely pays"]


def test_two_that_wanted_the_last_point_and_gave_way_do_not_end_the_run(create, tmp_path, monkeypatch):
    """Both saw the other hold it, so both failed, and the point is free again."""
    search = create("s", str(tmp_path / "s.journal"))
    given = [workers.WorkerMessage(kind="exhausted")]
    monkeypatch.setattr(runner, "run_trial", lambda *words: given.pop() if given else workers.run_trial(*words))
    outcome = run(search, trials=3)
    assert (outcome.done, outcome.ending, given) == (3, "trials", [])


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.process
def test_an_exhausted_space_ends_the_run(folder, cli):
    (folder / "few.toml").write_text("embed_dim = [16]\ndepth = [1, 2]\nnum_heads = [2, 4]\nmlp_ratio = [1]\n")
    assert cli("study", "create", "few", "--space", "few.toml", "--task", "digits").exit_code == 0
    result = cli("study", "run", "few", "--trials", "50", "--workers", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("6 trials in ")
    assert "the space is exhausted: all 6 architectures are evaluated\n" in result.stdout
    assert states(str(folder / "autost.journal"), "few")["COMPLETE"] == 6
    again = cli("study", "run", "few", "--trials", "50")
    assert again.exit_code == 0
    assert again.stdout.startswith("the space is exhausted: all 6")


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.slow
@pytest.mark.process
def test_until_converged_stops_with_evidence_and_runs_nothing_again(folder, cli):
    options = ("study", "run", "s", "--until-converged", "--patience", "30")
    result = cli(*options, "--workers", "2")
    assert result.exit_code == 0, result.output
    line = next(line for line in result.stdout.splitlines() if line.startswith("converged: "))
    assert "% over the last 30 of " in line
    assert "(less than 0.1 %), logarithmic axes, reference point " in line
    search = studies.open_search("s", str(folder / "autost.journal"))
    evidence = search.course().evidence(StopRule(patience=30))
    assert evidence.converged
    assert f"hypervolume {evidence.hypervolume:.4f} rose" in line
    again = cli(*options)
    assert again.exit_code == 0
    assert again.stdout.startswith(f"nothing was run: {line}\n")
    assert completed(str(folder / "autost.journal")) == evidence.trials


@pytest.mark.slow
def test_a_bound_that_comes_before_convergence_is_told(folder, cli):
    result = cli("study", "run", "s", "--until-converged", "--trials", "8")
    assert result.exit_code == 0, result.output
    assert "not converged: 8 trials, and the rule looks back over 200\n" in result.stdout
    result = cli("study", "run", "s", "--until-converged", "--trials", "3", "--patience", "9")
    assert "not converged: hypervolume " in result.stdout
    assert "over the last 9 of 11 trials (not less than 0.1 %)" in result.stdout
    assert cli("study", "run", "s", "--trials", "3", "--patience", "9").exit_code == 2
    assert cli("study", "run", "s").exit_code == 2


def test_a_stop_rule_alone_stops_at_the_same_trial_as_the_course_says(storage, toy_task):
    space = Space(name="toy", embed_dim=(16, 32), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 2))
    search = studies.create("s", storage, Plan(space=space, task=toy_task))
    outcome = run(search, trials=None, until=StopRule(patience=15))
    assert outcome.ending == "converged"
    assert outcome.evidence == search.course().evidence(StopRule(patience=15))
    assert outcome.done == len(search.course().hypervolumes)
    with pytest.raises(ValueError, match="neither a number of trials nor a stop rule"):
        run(search, trials=None)


def test_the_trial_of_a_live_run_is_never_failed_by_another(search, storage):
    with Presence(search.study):
        trial = search.study.ask()
        other = studies.open_search("s", storage)
        assert run(other, trials=2).done == 2  # starts and ends beside it
        assert states(storage) == {"RUNNING": 1, "COMPLETE": 2}
        search.study.tell(trial, (1.0, 1.0))


def test_a_trial_of_a_program_that_says_nothing_of_itself_is_left_alone(search, storage):
    trial = studies.open_search("s", storage).study.ask()
    assert run(search, trials=2).done == 2
    assert states(storage) == {"RUNNING": 1, "COMPLETE": 2}
    frozen, now = search.study.trials[trial.number], time.time()
    assert not abandoned(frozen, [])
    assert abandoned(frozen, [{"began": now - 100, "seen": now - 30}])  # of a run that began before it, and died
    assert not abandoned(frozen, [{"began": now - 4000, "seen": now - 3600}])
    frozen.datetime_start -= timedelta(hours=1.1)
    assert abandoned(frozen, [])


def maps(process):
    """The files that a process has mapped: none of one that has ended."""
    try:
        return Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("begun", "seconds"),
    [
        (lambda process: forked(process.pid), 0),
        (lambda process: any("libtorch" in maps(number) for number in forked(process.pid)), 0),
        (lambda process: "libtorch" in maps(process.pid), 0),
        (lambda process: "libtorch" in maps(process.pid), 0.5),
    ],
    ids=["the server starts", "the server imports torch", "torch is imported", "workers start"],
)
@pytest.mark.slow
@pytest.mark.process
def test_an_interrupt_while_workers_start_is_told_and_leaves_none(folder, begun, seconds):
    command = [sys.executable, *RUN, "--trials", "5000", "--workers", "2"]  # what is imported when is what counts here
    process = subprocess.Popen(command, cwd=folder, start_new_session=True, **PIPES)
    wait_for(lambda: begun(process))
    time.sleep(seconds)
    started = [*forked(process.pid), *workers_of(process.pid)]
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C on a terminal, which the whole group gets
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    resume = "interrupted; the study is safe. Resume by the same command, with --trials 5000"
    # click ends the line that has the terminal's ^C
    assert said.lstrip("\n").splitlines() in (["error: interrupted"], [resume, "error: interrupted"])
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in started), 30)


KILLED = """
import os, sys
from autost_optuna.search.presence import Presence
from autost_optuna.search.study import open_search
search = open_search("s", sys.argv[1], write=True)
with Presence(search.study):
    search.settings.space.suggest(search.study.ask())
    os.kill(os.getpid(), 9)
"""


@pytest.mark.process
def test_the_trial_of_a_dead_run_is_failed_and_its_parameters_tried_once_more(search, storage):
    for _ in range(2):
        assert warm.run(["-c", KILLED, storage]).returncode == -signal.SIGKILL
    assert states(storage) == {"FAIL": 1, "RUNNING": 1}  # the second found the trial of the first, and tried it again
    notes = []
    assert run(studies.open_search("s", storage), trials=3, callbacks=RunCallbacks(on_note=notes.append)).done == 3
    assert notes == ["note: 1 unfinished trial that no process works on any more: set to failed"]
    trials = studies.open_search("s", storage).study.get_trials(deepcopy=False)
    assert [trial.state.name for trial in trials] == ["FAIL"] * 2 + ["COMPLETE"] * 3
    assert [trial.user_attrs.get(RETRY) for trial in trials] == [None, 0, None, None, None]
    assert trials[0].params == trials[1].params


@pytest.mark.process
def test_a_killed_run_equals_an_uninterrupted_one_up_to_the_trial_at_hand_which_comes_next(
    search, storage, toy_space, toy_task
):
    whole = studies.create("whole", storage, Plan(space=toy_space, task=toy_task))
    run(whole, trials=7)
    run(search, trials=6)
    assert warm.run(["-c", KILLED, storage]).returncode == -signal.SIGKILL
    run(studies.open_search("s", storage), trials=2)
    expected, trials = ([(t.params, t.values) for t in made.study.get_trials()] for made in (whole, search))
    assert trials[:6] == expected[:6]
    assert trials[6] == (expected[6][0], None)
    assert trials[7] == expected[6]
    assert trials[8] not in trials[:8]


RETIRING = """
import os, sys
from autost_optuna.search.presence import Presence
from autost_optuna.search.study import open_search
search = open_search("s", sys.argv[1], write=True)
search.study._storage.set_trial_state_values = lambda *given: os.kill(os.getpid(), 9)
with Presence(search.study):
    pass
"""
DRAWN = """
import os, sys
from autost_optuna.search.presence import Presence
from autost_optuna.search.study import open_search
search = open_search("s", sys.argv[1], write=True)
with Presence(search.study):
    key, genome = next(iter(search.study.trials[0].system_attrs.items()))
    search.study._storage.set_trial_system_attr(search.study.ask()._trial_id, key, genome)
    os.kill(os.getpid(), 9)
"""


def points(storage):
    trials = studies.open_search("s", storage).study.get_trials(deepcopy=False)
    return [tuple(sorted(trial.params.items())) for trial in trials if trial.state.name == "COMPLETE"]


@pytest.mark.process
def test_a_point_is_not_tried_twice_where_who_queued_it_again_was_killed_too(search, storage):
    for code in (KILLED, RETIRING):
        assert warm.run(["-c", code, storage]).returncode == -signal.SIGKILL
    assert states(storage) == {"RUNNING": 1, "WAITING": 1}  # queued again, and not yet failed
    dead, again = search.study.get_trials(deepcopy=False)
    assert run(studies.open_search("s", storage, write=True), trials=3).done == 3
    assert states(storage) == {"FAIL": 1, "COMPLETE": 3}
    assert len(set(points(storage))) == 3
    assert again.system_attrs["fixed_params"] == dead.params
    assert points(storage)[0] == tuple(sorted(dead.params.items()))


@pytest.mark.process
def test_of_two_that_queued_a_point_again_one_is_tried(search, storage):
    for code in (KILLED, RETIRING):
        assert warm.run(["-c", code, storage]).returncode == -signal.SIGKILL
    search.study._storage.create_new_trial(search.study._study_id, search.study.get_trials()[1])
    # As after two that retired it at once, of which one was killed before it gave way.
    assert states(storage) == {"RUNNING": 1, "WAITING": 2}
    assert run(studies.open_search("s", storage, write=True), trials=3).done == 3
    assert states(storage) == {"FAIL": 2, "COMPLETE": 3}
    assert len(set(points(storage))) == 3


@pytest.mark.process
def test_what_a_killed_process_had_drawn_as_another_did_is_not_tried_again(search, storage):
    assert run(search, trials=1).done == 1
    assert warm.run(["-c", DRAWN, storage]).returncode == -signal.SIGKILL
    assert search.study.sampler.holders(search.study, search.study.get_trials()[1]) == {0}
    assert run(studies.open_search("s", storage, write=True), trials=3).done == 3
    assert states(storage) == {"FAIL": 1, "COMPLETE": 4}
    assert len(set(points(storage))) == 4


@contextlib.contextmanager
def dies_with_a_trial_untold(name, storage, say, pickled):
    """The work of one that is killed in the moment between the begin of its trial and its message."""
    study = studies.open_search(name, storage, write=True).study

    def die(ticket):
        study.ask()
        os.kill(os.getpid(), signal.SIGKILL)

    yield die


@pytest.mark.usefixtures("warm_workers", "slow_here")
@pytest.mark.process
def test_a_trial_that_its_dead_worker_had_not_told_of_is_retired_at_the_end(search, storage):
    notes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autost_optuna.search.workers._searching", dies_with_a_trial_untold)
        with pytest.raises(RuntimeError, match="all workers died"):
            run(search, trials=500, resources=Resources(workers=2), callbacks=RunCallbacks(on_note=notes.append))
    here = completed(storage)
    assert states(storage) == {"FAIL": 2, "COMPLETE": here}
    assert notes[-1] == "note: 2 unfinished trials that no process works on any more: set to failed"
    said = search.study._storage.get_study_system_attrs(search.study._study_id)
    assert [run for key, run in said.items() if ":run:" in key] == [None]  # nobody is there any more
    assert run(search, trials=2, resources=Resources(workers=2)).done == 2
    assert states(storage) == {"FAIL": 2, "COMPLETE": here + 2}


@pytest.mark.usefixtures("warm_workers", "slow_here")
@pytest.mark.process
def test_a_trial_that_a_dead_worker_left_is_retired_by_the_run_that_ends_last(search, storage, monkeypatch):
    monkeypatch.setattr("autost_optuna.search.workers._searching", dies_with_a_trial_untold)
    other = studies.open_search("s", storage, write=True)
    with Presence(other.study):
        with pytest.raises(RuntimeError, match="all workers died"):
            run(search, trials=500, resources=Resources(workers=2))
        # Either of them may be a trial of the other run, which is at work.
        assert states(storage) == {"RUNNING": 2, "COMPLETE": completed(storage)}
    assert states(storage) == {"FAIL": 2, "COMPLETE": completed(storage)}


def test_who_is_alive():
    here = {"machine": "elsewhere", "processes": [[1, 1]], "seen": time.time() - 1800}
    assert alive(here)
    assert not alive({**here, "seen": time.time() - 3700})


@pytest.mark.process
def test_the_lock_of_a_killed_writer_holds_nobody_up_for_long(search, tmp_path, monkeypatch):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from autost_optuna.storage.journal import JournalFile\n"
        "JournalFile(Path(sys.argv[1])).lock.acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    monkeypatch.chdir(tmp_path.parent)
    near = f"{tmp_path.name}/s.journal"  # relative, in a folder: Optuna's own lock would never be taken over
    holder = warm.Popen(["-c", code, near], stdout=warm.PIPE)
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.communicate()
    assert os.path.islink(f"{near}.lock")
    assert run(studies.open_search("s", near), trials=2).done == 2
    assert not os.path.islink(f"{near}.lock")
    assert states(near) == {"COMPLETE": 2}
