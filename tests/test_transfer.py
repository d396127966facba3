"""Copies of studies: equal when read back by Optuna, all or nothing, from and to every storage."""

import json
import signal
from datetime import datetime

import optuna
import pytest
import warm
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from autost_optuna.search import study as studies
from autost_optuna.search.catalogue import delete
from autost_optuna.search.runner import run
from autost_optuna.storage import transfer
from autost_optuna.storage.storage import open_storage
from autost_optuna.storage.transfer import copy_study

DISTRIBUTIONS = {
    "float": FloatDistribution(-1.0, 1.0),
    "log": FloatDistribution(1e-8, 1.0, log=True),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
    "int": IntDistribution(1, 8),
    "int log": IntDistribution(1, 1024, log=True),
    "int step": IntDistribution(64, 512, step=64),
    "ü": CategoricalDistribution((None, True, 1.5, "größe\n'\"\\", 7)),
}
PARAMS = {"float": 1 / 3, "log": 1e-8, "step": 0.3, "int": 8, "int log": 512, "int step": 128, "ü": "größe\n'\"\\"}
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING, TrialState.RUNNING)
VALUES = ([1 / 3, -1e300], [float("inf"), float("-inf")], [0.0, 5e-324])


def trials_of_all_kinds(times=3):
    day = datetime(2026, 3, 1, 12, 30, 15, 123456)
    for number in range(times * len(STATES)):
        state = STATES[number % len(STATES)]
        complete = state == TrialState.COMPLETE
        yield FrozenTrial(
            number=number,
            trial_id=-1,
            state=state,
            value=None,
            values=VALUES[number // len(STATES) % 3] if complete else None,
            datetime_start=None if state == TrialState.WAITING else day,
            datetime_complete=day.replace(microsecond=7) if state.is_finished() else None,
            params={} if state == TrialState.WAITING else PARAMS,
            distributions={} if state == TrialState.WAITING else DISTRIBUTIONS,
            user_attrs={"candidate": {"a": [1, None, 1e-17], "ß": "\u2028"}, "long": "x" * 5000, "nothing": None},
            system_attrs={"constraints": [-1.0, 0.5], "NSGAIISampler:generation": 3, "fixed_params": {"int": 2}},
            intermediate_values={0: 1.5, 7: float("inf"), 8: float("-inf")} if complete else {},
        )


def make_source(url):
    study = optuna.create_study(
        study_name="Quelle ü", storage=open_storage(url, create=True), directions=["maximize", "minimize"]
    )
    study.set_user_attr("settings", {"x": [1, 2, {"y": "ä"}], "long": "x" * 70_000})
    study._storage.set_study_system_attr(study._study_id, "study:metric_names", ["FLOPs", "energy (mJ)"])
    for trial in trials_of_all_kinds():
        study._storage.create_new_trial(study._study_id, trial)
    return study


def as_copied(trial):
    """What a trial is in a copy: a running one has failed."""
    trial._trial_id = 0
    if trial.state == TrialState.RUNNING:
        trial.state, trial.datetime_complete = TrialState.FAIL, "then"
    return trial


def assert_equal(study, url, name="Quelle ü"):
    there = optuna.load_study(study_name=name, storage=open_storage(url))
    assert there.directions == study.directions
    assert there.user_attrs == study.user_attrs
    assert there._storage.get_study_system_attrs(there._study_id) == study._storage.get_study_system_attrs(
        study._study_id
    )
    found, meant = there.get_trials(), [as_copied(trial) for trial in study.get_trials()]
    for ours, theirs in zip(found, meant, strict=True):
        ours._trial_id = 0
        if theirs.datetime_complete == "then":
            assert (datetime.now() - ours.datetime_complete).total_seconds() < 300
            ours.datetime_complete = "then"
        assert vars(ours) == vars(theirs)
        assert {k: type(v) for k, v in ours.params.items()} == {k: type(v) for k, v in theirs.params.items()}


@pytest.fixture
def place(request, tmp_path):
    """URLs of the four kinds of storages: place("sqlite", "a")."""

    def url(kind, name):
        if kind == "grpc":
            return request.getfixturevalue("server").url
        if kind == "postgresql":
            return request.getfixturevalue("database")
        return str(tmp_path / f"{name}.journal") if kind == "journal" else f"sqlite:///{tmp_path}/{name}.db"

    return url


KINDS = ("journal", "sqlite", "postgresql", "grpc")
WAYS = [(a, b) for a in KINDS for b in KINDS if not (a == b and a in ("postgresql", "grpc"))]


@pytest.mark.parametrize(("source", "to"), WAYS)
@pytest.mark.slow
def test_a_copy_reads_back_equal(place, source, to):
    study = make_source(place(source, "from"))
    place(to, "to")
    slow = []
    made = copy_study(study, place(to, "to"), on_slow=slow.append)
    assert (made.trials, made.cut_off) == (15, 3)
    assert slow == ([] if to in ("sqlite", "postgresql") else [15])
    assert_equal(study, place(to, "to"))
    trial = optuna.load_study(study_name="Quelle ü", storage=open_storage(place(to, "to"))).ask()
    assert trial.number in (3, 15)  # the first that waits, or a new one without a gap
    with pytest.raises(ValueError, match=r"study 'Quelle ü' exists in .*; copy it under another name with --as"):
        copy_study(study, place(to, "to"))
    copy_study(study, place(to, "to"), name="zweite")
    assert_equal(study, place(to, "to"), "zweite")


@pytest.mark.slow
def test_a_copy_into_its_own_storage_and_of_an_empty_study(place):
    for kind in ("journal", "sqlite"):
        study = make_source(place(kind, "same"))
        copy_study(study, place(kind, "same"), name="twin")
        assert_equal(study, place(kind, "same"), "twin")
    empty = optuna.create_study(study_name="empty", storage=open_storage(place("journal", "e"), create=True))
    assert copy_study(empty, place("sqlite", "e")).trials == 0
    assert_equal(empty, place("sqlite", "e"), "empty")


def test_not_a_number_is_copied_as_an_intermediate_value(place):
    study = optuna.create_study(study_name="n", storage=open_storage(place("journal", "n"), create=True))
    trial = study.ask()
    trial.report(float("nan"), 1)
    study.tell(trial, 1.0)
    copy_study(study, place("sqlite", "n"))
    (there,) = optuna.load_study(study_name="n", storage=open_storage(place("sqlite", "n"))).trials
    assert str(there.intermediate_values) == "{1: nan}"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "journal"])
def test_a_copy_that_fails_leaves_nothing(place, kind, monkeypatch):
    study, to = make_source(place("journal", "from")), place(kind, "to")
    if kind == "journal":
        calls = []
        add = optuna.storages.JournalStorage.create_new_trial

        def fail(self, *arguments):
            calls.append(1)
            if len(calls) == 9:
                raise OSError("no space")
            return add(self, *arguments)

        monkeypatch.setattr(optuna.storages.JournalStorage, "create_new_trial", fail)
    else:

        def rows(trial):
            raise OSError("no space")

        monkeypatch.setitem(transfer._ROWS_OF, transfer.models.TrialSystemAttributeModel, rows)
    with pytest.raises(OSError, match="no space"):
        copy_study(study, to)
    monkeypatch.undo()
    assert studies.existing_names(to) == []
    copy_study(study, to)
    assert_equal(study, to)


KILLED = """
import os, signal, sys, optuna
from autost_optuna import transfer
from autost_optuna.storage.storage import open_storage
def rows(trial):
    os.kill(os.getpid(), signal.SIGKILL)
transfer._ROWS_OF[transfer.models.TrialSystemAttributeModel] = rows
study = optuna.load_study(study_name="Quelle ü", storage=open_storage(sys.argv[1]))
transfer.copy_study(study, sys.argv[2])
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.process
def test_a_copy_that_is_killed_leaves_nothing(place, kind):
    study, to = make_source(place("journal", "from")), place(kind, "to")
    killed = warm.run(["-c", KILLED, place("journal", "from"), to])
    assert killed.returncode == -signal.SIGKILL
    assert studies.existing_names(to) == []
    copy_study(study, to)
    assert_equal(study, to)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "journal"])
@pytest.mark.slow
@pytest.mark.process
def test_of_two_copies_at_once_one_is_told(place, kind, tmp_path, create):
    source, to = place("journal", "from"), place(kind, "to")
    run(create("s", source), trials=30)
    command = ["-m", "autost_optuna", "study", "copy", "s", "--storage", source, "--to", to]
    racers = [warm.Popen(command, stderr=warm.PIPE, stdout=warm.DEVNULL, text=True) for _ in range(2)]
    errors = [racer.communicate(timeout=120)[1] for racer in racers]
    codes = [racer.returncode for racer in racers]
    assert sorted(codes) == [0, 2], errors
    assert "exists in" in errors[codes.index(2)]
    assert len(studies.open_search("s", to).candidates()) == 30


@pytest.mark.parametrize(("of", "kind"), [("journal", "sqlite"), ("sqlite", "journal"), ("sqlite", "sqlite")])
@pytest.mark.slow
def test_a_copied_study_goes_on_as_the_old_one_would(place, create, of, kind):
    source, to = place(of, "from"), place(kind, "to")
    create("other", source).study.ask()  # so that identifiers differ
    optuna.create_study(study_name="other", storage=open_storage(to, create=True)).ask()
    search = create("s", source, population=6)
    run(search, trials=10)
    copy_study(search.study, to)
    there = studies.open_search("s", to, write=True)
    run(there, trials=10)
    run(search, trials=10)
    assert [trial.params for trial in there.study.trials] == [trial.params for trial in search.study.trials]
    assert there.front() == search.front()


def test_what_a_killed_slow_copy_leaves_can_be_deleted(place, create, monkeypatch):
    source, to = place("journal", "from"), place("journal", "to")
    search = create("s", source)
    run(search, trials=3)
    monkeypatch.setattr(optuna.storages.JournalStorage, "set_study_user_attr", lambda *arguments: 1 / 0)
    monkeypatch.setattr(optuna.storages.JournalStorage, "delete_study", lambda *arguments: None)
    with pytest.raises(ZeroDivisionError):
        copy_study(search.study, to)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"no settings; .* that was cut off, delete it and copy again"):
        studies.open_search("s", to)
    assert delete("s", to) == 3
    copy_study(search.study, to)
    assert len(studies.open_search("s", to).candidates()) == 3


@pytest.mark.slow
def test_the_command_copies_and_its_mistakes_are_one_line(cli, tmp_path, create):
    search = create("s", str(tmp_path / "autost.journal"))
    run(search, trials=4)
    search.study.ask()
    made = cli("study", "copy", "s", "--to", "sqlite:///team.db", "--as", "ours")
    assert made.stdout == "copied 5 trials of s to study ours in sqlite:///team.db\n"
    assert made.stderr == "1 trial still running: failed in the copy\n"
    assert (
        json.loads(cli("study", "show", "ours", "--storage", "sqlite:///team.db", "-f", "json").stdout)["trials"] == 4
    )
    slow = cli("study", "copy", "s", "--to", "other.journal")
    assert "copying 5 trials one by one" in slow.stderr
    optuna.create_study(study_name="foreign", storage=open_storage(str(tmp_path / "autost.journal")))
    (tmp_path / "text").write_text("no journal\n")
    for options, said in (
        (["s", "--to", "sqlite:///team.db", "--as", "ours"], "study 'ours' exists in sqlite:///team.db"),
        (["s", "--to", "autost.journal"], "study 's' exists in autost.journal"),
        (["nobody", "--to", "x.journal"], "no study 'nobody'"),
        (["foreign", "--to", "x.journal"], "was not made by autost-optuna"),
        (["s", "--to", "text"], "is not an Optuna journal"),
        (["s", "--to", "no/where.journal"], "is not a directory"),
        (["s", "--to", "sqlite:///no/where.db"], "is not a directory"),
        (["s", "--to", "x.journal", "--as", " "], "study name ' ' is empty"),
        (["s"], "--to"),
    ):
        refused = cli("study", "copy", *options)
        assert refused.exit_code == 2, options
        assert refused.stdout == ""
        assert refused.stderr.count("\n") == 1
        assert said in refused.stderr
    assert not (tmp_path / "x.journal").exists()
