"""The second study of a search: what it keeps of trained networks, and that each is trained once, whoever asks."""

import csv
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from dataclasses import replace

import optuna
import pytest
from makers import SPACE, TASK, claim_of, free_port, store, training
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.trial import TrialState, create_trial
from warm import DEVNULL, FORKS, PIPE, Popen, start

from autost_optuna import Architecture, Task
from autost_optuna.network.chain import operations
from autost_optuna.search import study as studies
from autost_optuna.search.catalogue import delete, list_searches
from autost_optuna.search.presence import Presence, owner_alive
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.storage.transfer import copy_study
from autost_optuna.training.claims import Claim, Records
from autost_optuna.training.record import CURVE, Key, Record, Taken, write_curve
from autost_optuna.training.records import _make, copy_trained, open_trained, trainings_of

on_files = pytest.mark.parametrize("storage", ["journal", "sqlite"], indirect=True)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with one search of four trials in a journal and in a database."""
    folder = tmp_path_factory.mktemp("searched")
    search = studies.create("demo", str(folder / "s.journal"), Plan(space=SPACE, task=TASK, population=4))
    run(search, trials=4)
    copy_study(search.study, f"sqlite:///{folder}/s.db")
    return folder


@pytest.fixture
def storage(request, searched, tmp_path):
    sqlite = getattr(request, "param", "journal") == "sqlite"
    name = "s.db" if sqlite else "s.journal"
    shutil.copy(searched / name, tmp_path / name)
    return f"sqlite:///{tmp_path}/{name}" if sqlite else str(tmp_path / name)


@pytest.fixture
def search(storage):
    return studies.open_search("demo", storage, write=True)


@on_files
def test_a_trained_network_is_kept_whole_and_readable(search, storage):
    member = search.front()[-1]
    made = store(search, member, validation_accuracy=0.875, test_accuracy=0.8125, energy_mj=0.5)
    again = studies.open_search("demo", storage)
    assert trainings_of(again) == [made]
    assert open_trained(again).find(made.key) == made
    assert open_trained(again).find(replace(made.key, seed=1)) is None
    study = optuna.load_study(study_name="demo.trained", storage=again.study._storage)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["validation accuracy", "measured energy (mJ)"]
    assert study.user_attrs[studies.TRAINED]["search"] == "demo"
    trial, origin = study.trials[0], again.study.trials[member.number]
    assert trial.values == [0.875, 0.5]
    assert (trial.params, trial.distributions) == (origin.params, origin.distributions)
    readable = {name: trial.user_attrs[name] for name in ("search_trial", "seed", "recipe", "test_accuracy")}
    assert readable == {"search_trial": member.number, "seed": 0, "recipe": "short", "test_accuracy": 0.8125}
    assert trial.user_attrs["predicted_mj"] == member.energy_mj


def test_the_largest_network_fits_the_columns_of_every_database():
    deep = Architecture.uniform(embed_dim=2048, depth=64, num_heads=8, mlp_ratio=4)
    rates = {row.name: 1 / 3 for row in operations(deep, Task.preset("cifar10"))}
    record = training(deep, rates=rates).to_dict()
    assert len(json.dumps(record.pop("rates"))) < 65_535  # MySQL's TEXT
    assert len(json.dumps(record)) < 65_535


def test_json_there_and_back():
    made = training(Architecture.uniform(embed_dim=16, depth=1, num_heads=2, mlp_ratio=1))
    assert Record.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    with pytest.raises(ValueError, match="stored by another version of autost-optuna"):
        Record.from_dict({**made.to_dict(), "colour": "red"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("test_accuracy", 75, "75 is not a share"),
        ("energy_mj", 0.0, "0.0 is not an energy"),
        ("predicted_mj", float("nan"), "nan"),
    ],
)
def test_figures_that_cannot_be_are_refused(name, value, said):
    with pytest.raises(ValueError, match=said):
        training(Architecture.uniform(embed_dim=16, depth=1, num_heads=2, mlp_ratio=1), **{name: value})


@on_files
def test_what_is_done_is_handed_out_what_failed_is_free(search):
    member = search.front()[0]
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        first = claim_of(trainings, member, presence)
        assert isinstance(first, Claim)
        taken = claim_of(trainings, member, presence)
        assert (taken.number, taken.process) == (first.number, os.getpid())
        other_seed = claim_of(trainings, member, presence, training(member.architecture, seed=1))
        assert isinstance(other_seed, Claim)
        other_seed.fail("the loss is nan")
        first.fail("interrupted")
        second = claim_of(trainings, member, presence)
        made = training(member.architecture, search_trial=member.number)
        second.complete(made)
        assert claim_of(trainings, member, presence) == replace(made, number=second.number)
    trials = trainings.study.get_trials()
    assert [t.state.name for t in trials] == ["FAIL", "FAIL", "COMPLETE"]
    assert [t.user_attrs.get("reason") for t in trials] == ["interrupted", "the loss is nan", None]


def test_a_claim_takes_no_other_networks_figures(search):
    members = search.candidates()
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        claim = claim_of(trainings, members[0], presence)
        with pytest.raises(ValueError, match="store it under its own"):
            claim.complete(training(members[0].architecture, seed=7))
        with pytest.raises(ValueError, match="give its own"):
            claim_of(trainings, members[1], presence, training(members[0].architecture))
        with pytest.raises(ValueError, match="is of no trial"):
            claim_of(trainings, replace(members[1], number=None), presence)


def test_of_two_that_look_before_either_has_written_the_first_goes_on(search, monkeypatch):
    """Both look, both find nothing, both write: as bad a race as there can be."""
    member = search.front()[0]
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        first = claim_of(trainings, member, presence)
        look, calls = Records._found, []

        def blind_at_first(self, key, before=None):
            calls.append(before)
            return None if before is None else look(self, key, before)

        monkeypatch.setattr(Records, "_found", blind_at_first)
        second = claim_of(trainings, member, presence)
    assert calls == [None, first.number + 1]
    assert isinstance(second, Taken)
    assert second.number == first.number
    assert trainings.study.trials[-1].state == TrialState.FAIL
    assert trainings.study.trials[-1].user_attrs["reason"] == f"trial {first.number} of the same network came first"


def compete(storage, folder, barrier):
    """Claim each member at the same moment as others do, and say by a file which ones one was given."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = studies.open_search("demo", storage, write=True)
    barrier.wait(60)
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        for candidate in search.candidates():
            barrier.wait(60)
            for seed in range(2):
                claim = claim_of(trainings, candidate, presence, training(candidate.architecture, seed=seed))
                if isinstance(claim, Claim):
                    (folder / f"{candidate.number}-{seed}-{os.getpid()}").touch()
                    claim.complete(training(candidate.architecture, seed=seed, search_trial=candidate.number))


@on_files
@pytest.mark.slow
@pytest.mark.process
def test_of_many_at_once_one_trains_each_network(search, storage, tmp_path):
    folder, barrier = tmp_path / "told", FORKS.Barrier(3)
    folder.mkdir()
    processes = [start(compete, storage, folder, barrier) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    wanted = sorted(f"{c.number}-{seed}" for c in search.candidates() for seed in range(2))
    assert sorted(path.name.rpartition("-")[0] for path in folder.iterdir()) == wanted
    found = trainings_of(studies.open_search("demo", storage))
    assert sorted(f"{t.search_trial}-{t.seed}" for t in found) == wanted
    study = open_trained(studies.open_search("demo", storage)).study
    states = [trial.state for trial in study.get_trials()]
    assert set(states) <= {TrialState.COMPLETE, TrialState.FAIL}
    assert study.metric_names == ["validation accuracy", "measured energy (mJ)"]


def hold(storage, told):
    """Claim the first member and train for ever."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = studies.open_search("demo", storage, write=True)
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        claim = claim_of(trainings, search.candidates()[0], presence)
        told.write_text(str(claim.number))
        time.sleep(600)


@on_files
@pytest.mark.process
def test_the_network_of_a_killed_process_is_free_at_once(search, storage, tmp_path):
    told = tmp_path / "told"
    holder = start(hold, storage, told)
    deadline = time.monotonic() + 60
    while not (told.exists() and told.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    trainings, member = open_trained(search, create=True), search.candidates()[0]
    with Presence(trainings.study, retires=False) as presence:
        taken = claim_of(trainings, member, presence)
        assert isinstance(taken, Taken)
        assert (taken.number, taken.process) == (int(told.read_text()), holder.pid)
    holder.kill()
    holder.join()
    with Presence(trainings.study, retires=False) as presence:
        claim = claim_of(trainings, member, presence)
        assert isinstance(claim, Claim)
        claim.complete(training(member.architecture))
    states = [(t.number, t.state, t.user_attrs.get("reason")) for t in trainings.study.get_trials()]
    assert states == [
        (0, TrialState.FAIL, "its process ended before it was done"),
        (1, TrialState.COMPLETE, None),
    ]  # and none waits: a search would have queued the dead one's point


def test_a_process_elsewhere_is_alive_until_its_run_ends_or_is_silent():
    owner = {"run": "a", "machine": "elsewhere boot pid", "processes": [[1, 1]]}
    said = {"machine": "elsewhere boot pid", "processes": [[1, 1]], "began": 0.0, "seen": time.time()}
    assert owner_alive(owner, {"a": said})
    assert not owner_alive(owner, {"a": {**said, "seen": time.time() - 3601}})
    assert not owner_alive(owner, {"a": None})
    assert not owner_alive(owner, {"b": said})


def test_who_was_taken_for_dead_hears_of_it(search):
    member = search.candidates()[0]
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        claim = claim_of(trainings, member, presence)
        trainings.give_up(claim.trial, "silent for an hour")
        with pytest.raises(RuntimeError, match=r"taken for abandoned.* trained/0: repeat"):
            claim.complete(training(member.architecture))
        claim.fail("too late")
    assert trainings.study.trials[0].user_attrs["reason"] == "silent for an hour"


def test_learning_curves_are_artifacts(search, storage, tmp_path):
    rows = [dict(zip(CURVE, (epoch, 2.0 / epoch, 0.25 * epoch, 0.1, 99.5), strict=True)) for epoch in (1, 2)]
    write_curve(tmp_path / "curve.csv", rows)
    member = search.candidates()[0]
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        claim_of(trainings, member, presence).complete(training(member.architecture), [tmp_path / "curve.csv"])
    (meta,) = get_all_artifact_meta(study_or_trial=trainings.study.trials[0], storage=trainings.study._storage)
    assert (meta.filename, meta.mimetype) == ("curve.csv", "text/csv")
    folder = tmp_path / "s.journal.artifacts"
    with FileSystemArtifactStore(folder).open_reader(meta.artifact_id) as file:
        read = list(csv.DictReader(file.read().decode().splitlines()))
    assert [{name: float(value) for name, value in row.items()} for row in read] == rows
    assert delete("demo.trained", storage) == 1
    assert not folder.exists()


@pytest.mark.process
def test_the_dashboard_shows_curves(search, storage, tmp_path):
    """Asked as its page asks: the program itself, over its API."""
    write_curve(tmp_path / "curve.csv", [dict(zip(CURVE, (1, 2.0, 0.25, 0.1, 99.5), strict=True))])
    store(search, search.candidates()[0], artifacts=[tmp_path / "curve.csv"])
    trial = open_trained(search).study.trials[0]
    port = free_port()
    command = ["-m", "autost_optuna", "dashboard", "--port", port, "--storage", storage]
    served = Popen(command, stdout=PIPE, stderr=DEVNULL)
    try:
        assert served.stdout.readline()
        study_id = open_trained(search).study._study_id
        page = json.loads(asked(port, f"api/studies/{study_id}?after=0"))
        (shown,) = page["trials"][0]["artifacts"]
        assert shown["filename"] == "curve.csv"
        assert page["artifacts"] == []
        params = {param["name"]: param["param_external_value"] for param in page["trials"][0]["params"]}
        assert params == {name: str(value) for name, value in trial.params.items()}
        sent = asked(port, f"artifacts/{study_id}/{trial._trial_id}/{shown['artifact_id']}")
        assert sent.decode().splitlines() == [",".join(CURVE), "1,2.0,0.25,0.1,99.5"]
    finally:
        served.kill()
        served.wait()
        served.stdout.close()


def asked(port, path):
    """What the dashboard answers, once it does."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as reply:
                return reply.read()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_curves_are_copied_between_files_and_kept_while_a_copy_needs_them(search, storage, tmp_path):
    write_curve(tmp_path / "curve.csv", [])
    store(search, search.candidates()[0], artifacts=[tmp_path / "curve.csv"])
    study, curves = open_trained(search).study, tmp_path / "s.journal.artifacts"
    (name,) = os.listdir(curves)
    to = f"sqlite:///{tmp_path}/to.db"
    assert copy_trained(study, storage, to)[1] == 0
    assert (tmp_path / "to.db.artifacts" / name).read_text() == ",".join(CURVE) + "\n"
    assert copy_trained(study, storage, storage, name="other.trained")[1] == 0
    delete("demo.trained", storage)
    assert os.listdir(curves) == [name]
    delete("other.trained", storage)
    assert not curves.exists()
    assert copy_trained(studies.load_study("demo.trained", to), "grpc://nowhere:1", str(tmp_path / "a.journal"))[1] == 1


def test_curves_go_to_a_folder_that_is_named_where_the_storage_is_no_file(search, tmp_path):
    member = search.candidates()[0]
    elsewhere = replace(search, storage="postgresql://somewhere/db")
    write_curve(tmp_path / "curve.csv", [])
    nowhere = open_trained(elsewhere, create=True)
    with Presence(nowhere.study, retires=False) as presence:
        claim = claim_of(nowhere, member, presence)
        with pytest.raises(ValueError, match="no folder for artifacts is given"):
            claim.complete(training(member.architecture), [tmp_path / "curve.csv"])
        claim.fail("no folder")
        (tmp_path / "file").write_text("")
        unwritable = open_trained(elsewhere, artifacts=tmp_path / "file")
        with pytest.raises(OSError, match="file"):
            claim_of(unwritable, member, presence).complete(training(member.architecture), [tmp_path / "curve.csv"])
        named = open_trained(elsewhere, artifacts=tmp_path / "curves")
        unwritable.give_up(unwritable.study.trials[-1], "no folder")
        claim_of(named, member, presence).complete(training(member.architecture), [tmp_path / "curve.csv"])
    assert len(list((tmp_path / "curves").iterdir())) == 1


@on_files
def test_the_trained_study_is_listed_copied_and_outlives_its_search(search, storage, tmp_path):
    made = store(search, search.front()[0])
    rows = {row.name: row for row in list_searches(storage)}
    assert rows["demo.trained"].space == "trained networks of demo"
    assert (rows["demo.trained"].task, rows["demo.trained"].trials) == ("digits", 1)
    to = f"sqlite:///{tmp_path}/to.db"
    copy_study(search.study, to)
    study = studies.load_study("demo.trained", storage)
    assert copy_trained(study, storage, to)[0].trials == 1
    there = studies.open_search("demo", to)
    assert trainings_of(there) == [made]
    assert there.front() == search.front()
    copy_trained(study, storage, to, name="other.trained")
    assert {row.space for row in list_searches(to)} == {
        "toy", "trained networks of demo", "trained networks of other"
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"trained networks cannot be called 'other'; .*NAME\.trained"):
        copy_trained(study, storage, to, name="other")
    assert delete("demo", storage) == 4
    assert studies.existing_names(storage) == ["demo.trained"]
    assert delete("demo.trained", storage) == 1
    assert studies.existing_names(storage) == []


def test_a_trained_study_is_no_search_and_a_search_is_not_called_so(search, storage):
    with pytest.raises(ValueError, match="no trained networks yet; autost-optuna train demo"):
        open_trained(search)
    assert trainings_of(search) == []
    store(search, search.front()[0])
    with pytest.raises(ValueError, match="is no search; autost-optuna study show demo shows them"):
        studies.open_search("demo.trained", storage)
    with pytest.raises(ValueError, match=r"choose one without \.trained"):
        studies.create("mine.trained", storage, Plan(space=SPACE, task=TASK))


def test_networks_of_another_search_of_the_same_name_are_not_mixed_in(search, storage):
    store(search, search.front()[0])
    delete("demo", storage)
    other = studies.create("demo", storage, Plan(space=replace(SPACE, embed_dim=(16,)), task=TASK))
    for create in (True, False):
        with pytest.raises(ValueError, match=r"another space than demo has now; .*study delete demo\.trained"):
            open_trained(other, create=create)
    with pytest.raises(ValueError, match="another space"):
        trainings_of(other)


def test_a_foreign_study_of_that_name_is_left_alone(search, storage):
    foreign = optuna.create_study(study_name="demo.trained", storage=search.study._storage, sampler=None)
    foreign.add_trial(create_trial(value=1.0))
    with pytest.raises(ValueError, match="was not made by autost-optuna"):
        open_trained(search, create=True)
    with pytest.raises(ValueError, match="was not made by autost-optuna"):
        delete("demo.trained", storage)


def test_what_a_killed_creator_left_is_completed(search):
    _make("demo.trained", search)  # and killed before its next write
    assert open_trained(search, create=True).study.metric_names == ["validation accuracy", "measured energy (mJ)"]


def test_keys_tell_apart_what_is_trained_apart():
    made = training(Architecture.uniform(embed_dim=16, depth=1, num_heads=2, mlp_ratio=1))
    assert made.key == Key(
        architecture="C16-d1-h2-r1", data="digits", data_fingerprint="ab", recipe_hash="0123456789ab", seed=0
    )
    assert replace(made, test_accuracy=0.25, recipe_name="mine").key == made.key
    for change in ({"seed": 1}, {"data": "cifar10"}, {"data_fingerprint": "cd"}, {"recipe_hash": "f"}):
        assert replace(made, **change).key != made.key
