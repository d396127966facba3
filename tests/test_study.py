import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from makers import write_cifar10
from optuna.trial import TrialState

from autost_optuna import Architecture, Candidate, DeclaredNSGAIISampler, Objective, Task
from autost_optuna.data import RateImages
from autost_optuna.search import study as studies
from autost_optuna.search.catalogue import delete, list_searches
from autost_optuna.search.restore import make_objective
from autost_optuna.search.runner import Resources, RunCallbacks, run
from autost_optuna.search.settings import Plan
from autost_optuna.search.summary import reached, summarise
from autost_optuna.storage.location import shown
from autost_optuna.storage.storage import open_storage


@pytest.fixture
def storage(tmp_path):
    return str(tmp_path / "s.journal")


@pytest.fixture
def create(storage, toy_space, toy_task):
    def make(name="s", *, skip_if_exists=False, **planned):
        return studies.create(name, storage, Plan(toy_space, toy_task, **planned), skip_if_exists=skip_if_exists)

    return make


def test_a_search_end_to_end(create, storage, toy_space):
    search = create()
    seen = []
    assert run(search, trials=30, callbacks=RunCallbacks(on_trial=seen.append)).done == 30
    assert [progress.done for progress in seen] == list(range(1, 31))
    again = studies.open_search("s", storage)
    assert again.settings == search.settings
    assert again.study.directions == [optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE]
    assert again.study.metric_names == ["FLOPs", "energy (mJ)"]
    candidates = again.candidates()
    assert [candidate.number for candidate in candidates] == list(range(30))
    for trial, candidate in zip(again.study.trials, candidates, strict=True):
        assert trial.values == [candidate.flops, candidate.energy_mj]
        assert candidate.architecture in toy_space
        json.dumps(trial.user_attrs)
    front = again.front()
    assert seen[-1].front_size == len(front)
    best = {tuple(trial.values) for trial in again.study.best_trials}
    assert {(c.flops, c.energy_mj) for c in front} == best


@pytest.mark.slow
def test_the_same_seed_gives_the_same_trials(create):
    one, two, other = create("one"), create("two"), create("other", seed=7)
    for search in (one, two, other):
        run(search, trials=15)
    assert [t.values for t in one.study.trials] == [t.values for t in two.study.trials]
    assert [t.params for t in one.study.trials] != [t.params for t in other.study.trials]


@pytest.mark.slow
def test_an_interrupted_run_equals_an_uninterrupted_one_trial_by_trial(create, storage):
    whole = create("whole", population=8)
    run(whole, trials=40)
    create(population=8)
    for trials in (13, 7, 20):
        run(studies.open_search("s", storage), trials=trials)
    resumed = studies.open_search("s", storage)
    assert [t.params for t in resumed.study.trials] == [t.params for t in whole.study.trials]
    assert [c.energy_mj for c in resumed.candidates()] == [c.energy_mj for c in whole.candidates()]


@pytest.mark.slow
def test_two_processes_with_one_seed_do_not_repeat_each_other(create, storage):
    create()
    one, other = studies.open_search("s", storage), studies.open_search("s", storage)
    for _ in range(10):  # in turns, each with a sampler of its own
        run(one, trials=1)
        run(other, trials=1)
    trials = studies.open_search("s", storage).study.trials
    assert [t.params for t in trials[0::2]] != [t.params for t in trials[1::2]]
    single = create("single")
    run(single, trials=20)
    assert [t.params for t in trials] == [t.params for t in single.study.trials]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_journal_is_mended_and_loses_one_line_at_most(create, storage, cut):
    search = create()
    run(search, trials=6)
    path = Path(storage)
    lines = path.read_bytes().splitlines(keepends=True)
    last = max(index for index, line in enumerate(lines) if b'"values"' in line)  # the end of the last trial
    path.write_bytes(b"".join(lines[: last + 1])[:-cut])
    assert len(studies.open_search("s", storage).candidates()) == 5  # reading needs no mending
    assert path.read_bytes()[-1:] != b"\n"
    resumed = studies.open_search("s", storage, write=True)
    assert path.read_bytes()[-1:] == b"\n"
    run(resumed, trials=3)
    assert len(studies.open_search("s", storage).candidates()) == 8


def test_a_study_whose_creation_fails_is_not_left_behind(create, storage, monkeypatch):
    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(optuna.Study, "set_user_attr", fail)
    with pytest.raises(OSError, match="disk full"):
        create()
    monkeypatch.undo()
    assert studies.existing_names(storage) == []
    optuna.create_study(study_name="half", storage=open_storage(storage))  # as a kill in that moment leaves it
    assert delete("half", storage) == 0
    assert studies.existing_names(storage) == []


def test_candidates_measured_again_after_a_resume_are_equal(create, storage):
    search = create()
    run(search, trials=10)
    objective = make_objective(studies.open_search("s", storage).settings)
    for candidate in search.candidates():
        measured = objective.evaluate(candidate.architecture)
        assert measured.to_dict() == candidate.to_dict()


def test_stopping_leaves_whole_trials(create, storage):
    search = create()
    done = []
    assert (
        run(search, trials=50, callbacks=RunCallbacks(on_trial=done.append, stopped=lambda: len(done) >= 5)).done == 5
    )
    states = {trial.state for trial in studies.open_search("s", storage).study.trials}
    assert states == {TrialState.COMPLETE}
    assert run(search, trials=50, timeout=0.001).done <= 1


def test_an_interrupt_inside_a_trial_leaves_no_running_one(create, storage, monkeypatch):
    search = create()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(search, trials=3)
    monkeypatch.undo()
    reopened = studies.open_search("s", storage)
    assert [trial.state for trial in reopened.study.trials] == [TrialState.FAIL]
    assert run(reopened, trials=3).done == 3
    assert summarise(reopened).failed == 1


def test_objective_works_with_a_plain_optuna_study(toy_space, toy_task):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=0))
    study.optimize(Objective(toy_space, toy_task), n_trials=8)
    assert all(trial.values[0] == trial.user_attrs["candidate"]["flops"] for trial in study.trials)


@pytest.mark.slow
def test_a_silent_network_is_pruned_and_said_not_counted(toy_space, toy_task):
    blank = RateImages(images=torch.zeros(2, 1, 8, 8), data="blank", fingerprint="0")
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(Objective(toy_space, toy_task, images=blank), n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED] * 2
    assert all("silent network" in trial.user_attrs["silent"] for trial in study.trials)


OUTSIDE = (
    ({"embed_dim": 999}, "embed_dim 999 is none of 16, 32"),
    ({"embed_dim": 24}, "embed_dim 24 is none of 16, 32"),  # between two choices
    ({"embed_dim": "wide"}, "embed_dim 'wide' is none of 16, 32"),
    ({"embed_dim": [16]}, "embed_dim [16] is none of 16, 32"),
    ({"depth": 999}, "depth 999 is none of 1, 2, 3"),  # 999 blocks would be asked for
    ({"depth": 2, "num_heads_02": 8}, "num_heads_02 8 is none of 2, 4"),
    ({"depth": 1, "mlp_ratio_01": 1.5}, "mlp_ratio_01 1.5 is none of 1, 2, 4"),  # a category, unlike the others
)
INSIDE = (
    {"embed_dim": 32.0, "depth": 1},
    {"depth": 1, "num_heads_03": 8},
)  # a block that is not there is not asked for


@pytest.fixture
def uneven(toy_space):
    """A space in which the ratios are no range."""
    return replace(toy_space, mlp_ratio=(1, 2, 4))


@pytest.mark.parametrize("name", ["TPESampler", "NSGAIISampler", "declared"])
def test_an_enqueued_value_that_the_space_does_not_offer_is_pruned_with_the_reason(uneven, toy_task, name):
    declared = DeclaredNSGAIISampler(uneven.distributions(), active=uneven.active, population_size=4, seed=0)
    sampler = declared if name == "declared" else getattr(optuna.samplers, name)(seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for point in (*INSIDE, *(point for point, _ in OUTSIDE)):
        study.enqueue_trial(point)
    study.optimize(Objective(uneven, toy_task), n_trials=len(INSIDE) + len(OUTSIDE) + 8)
    for trial, (_, reason) in zip(study.trials[len(INSIDE) :], OUTSIDE, strict=False):
        assert trial.state == TrialState.PRUNED
        assert trial.user_attrs == {"outside": f"outside the space: {reason}"}
    for trial in (*study.trials[: len(INSIDE)], *study.trials[-8:]):
        assert trial.state == TrialState.COMPLETE
        assert Candidate.from_dict(trial.user_attrs["candidate"]).architecture in uneven


def test_a_value_that_another_sampler_brings_from_outside_is_pruned_too(toy_space, toy_task):
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        sampler = optuna.samplers.PartialFixedSampler({"embed_dim": 999}, optuna.samplers.RandomSampler(seed=0))
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(Objective(toy_space, toy_task), n_trials=1)
    assert study.trials[0].user_attrs == {"outside": "outside the space: embed_dim 999 is none of 16, 32"}


def test_a_run_goes_on_after_points_outside_the_space_and_does_not_count_them(cli, uneven, storage, toy_task):
    search = studies.create("s", storage, Plan(space=uneven, task=toy_task))
    for point, _ in OUTSIDE[:3]:
        search.study.enqueue_trial(point)
    done = cli("study", "run", "s", "--trials", 8, "--storage", storage)
    assert done.exit_code == 0, done.output
    assert "3 trials outside the space: an enqueued value is not among its choices" in done.stderr
    shown_ = cli("study", "show", "s", "--storage", storage).stdout
    assert "trials       5 complete, 3 outside the space, 0 silent, 0 failed" in shown_
    assert f"unique       5 of {uneven.size:,} architectures in the space, 100.0% of the trials" in shown_
    found = json.loads(cli("study", "show", "s", "-f", "json", "--storage", storage).stdout)
    assert (found["outside"], found["trials"], found["unique"], found["failed"]) == (3, 5, 5, 0)


@pytest.mark.slow
def test_a_point_outside_the_space_that_an_older_version_measured_is_left_out(create, storage, toy_space, toy_task):
    """0.1.0 took an enqueued width from outside the space, and its trial completed."""
    search = create()
    run(search, trials=6)
    studies.find_exact(search)
    before, near = summarise(search), reached(search)
    wide = Architecture.uniform(embed_dim=64, depth=1, num_heads=2, mlp_ratio=1)
    candidate = Objective(replace(toy_space, embed_dim=(64,)), toy_task).evaluate(wide)
    search.study.add_trial(
        optuna.trial.create_trial(values=[1e12, 1e-9], user_attrs={"candidate": candidate.to_dict()})
    )
    again = studies.open_search("s", storage)
    assert summarise(again) == replace(before, outside=1)
    assert reached(again).share == near.share
    assert wide not in {one.architecture for one in again.front()}
    with pytest.raises(ValueError, match="no complete trial 6"):
        again.candidate(6)
    assert run(again, trials=2).done == 2


def test_other_images_than_the_studys_are_refused(tmp_path, storage, toy_space):
    write_cifar10(tmp_path / "a")
    write_cifar10(tmp_path / "b", count=7)
    task = Task(name="cifar10", image_size=8, channels=3, num_classes=10, time_steps=2, pooling="0001")
    search = studies.create("c", storage, Plan(toy_space, task, data="cifar10", data_root=tmp_path / "a"))
    assert run(search, trials=2).done == 2
    with pytest.raises(ValueError, match=r"fingerprint .* those of the study"):
        run(search, trials=2, resources=Resources(data_root=tmp_path / "b"))
    (tmp_path / "a").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="no CIFAR-10 batch"):
        run(search, trials=2)
    assert run(search, trials=2, resources=Resources(data_root=tmp_path / "moved")).done == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": " "}, "study name"),
        ({"name": "a\nb"}, "study name"),
        ({"name": "-q"}, "would be read as an option"),
        ({"population": 1}, "population 1"),
        ({"population": 10**20}, "population 1"),
        ({"seed": -1}, "seed -1"),
        ({"images": 0}, "images 0"),
        ({"data": "cifar10"}, "needs --data-root"),
        ({"data": "mnist"}, "no data 'mnist'"),
    ],
)
def test_what_cannot_be_a_study_is_refused_and_nothing_is_made(create, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        create(**options)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_study_makes_no_database(tmp_path, toy_space, toy_task):
    with pytest.raises(ValueError, match="images 0"):
        studies.create("s", f"sqlite:///{tmp_path}/a.db", Plan(space=toy_space, task=toy_task, images=0))
    assert list(tmp_path.iterdir()) == []


def test_existing_and_missing_studies(create, storage, toy_space):
    create()
    with pytest.raises(ValueError, match="'s' exists"):
        create()
    assert create(skip_if_exists=True).settings.seed == 0
    others = {"seed": 9, "images": 8, "seeds": 2, "population": 10}
    for name, value in others.items():
        with pytest.raises(
            ValueError, match=f"the study has {name} .*, this command asks for {value}; ask for the same"
        ):
            create(skip_if_exists=True, **{name: value})
    with pytest.raises(ValueError, match="has task digits, this command asks for nmnist"):
        studies.create("s", storage, Plan(space=toy_space, task=Task.preset("nmnist")), skip_if_exists=True)
    with pytest.raises(ValueError, match=r"no study 'other' .*it has s"):
        studies.open_search("other", storage)
    with pytest.raises(ValueError, match="no complete trial yet; run autost-optuna study run s"):
        studies.open_search("s", storage).front()
    optuna.create_study(study_name="foreign", storage=open_storage(storage))
    with pytest.raises(ValueError, match="was not made by autost-optuna"):
        studies.open_search("foreign", storage)
    assert [row.name for row in list_searches(storage)] == ["foreign", "s"]
    optuna.load_study(study_name="foreign", storage=open_storage(storage)).ask()
    with pytest.raises(ValueError, match="was not made by autost-optuna"):
        delete("foreign", storage)
    assert delete("s", storage) == 0
    assert studies.existing_names(storage) == ["foreign"]
    like = optuna.create_study(study_name="like", storage=open_storage(storage))
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        like.set_metric_names(["parameters"])  # a word of ours alone does not make a study ours
    like.ask()
    with pytest.raises(ValueError, match="was not made by autost-optuna"):
        delete("like", storage)


def test_a_study_of_another_version_is_told_listed_and_deleted(create, storage):
    search = create()
    run(search, trials=2)
    stored = search.settings.to_dict()
    search.study.set_user_attr(studies.ATTRIBUTE, {**stored, "convention": "horowitz-45nm-fp32"})
    with pytest.raises(ValueError, match="made by another version of autost-optuna"):
        studies.open_search("s", storage)
    assert [(row.name, row.trials, row.space) for row in list_searches(storage)] == [("s", 2, None)]
    assert delete("s", storage) == 2
    with pytest.raises(ValueError, match="no study 's'"):
        delete("s", storage)


def test_a_stored_convention_that_was_changed_is_refused(create, storage):
    search = create()
    stored = search.settings.to_dict()
    assert stored["convention_hash"] == search.settings.convention.hash
    stored["convention"]["mac"]["pj"] = 1.0
    search.study.set_user_attr(studies.ATTRIBUTE, stored)
    with pytest.raises(ValueError, match=f"the study was made under {stored['convention_hash']}"):
        studies.open_search("s", storage)


def test_no_storage_is_made_by_looking_for_one(tmp_path):
    for storage in (str(tmp_path / "a.journal"), f"sqlite:///{tmp_path}/a.db"):
        with pytest.raises(ValueError, match="no storage at"):
            studies.open_search("s", storage)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_holds_a_study_too(tmp_path, toy_space, toy_task):
    storage = f"sqlite:///{tmp_path}/a.db"
    search = studies.create("s", storage, Plan(space=toy_space, task=toy_task))
    run(search, trials=3)
    assert len(studies.open_search("s", storage).candidates()) == 3


def test_storages_that_cannot_be(tmp_path):
    (tmp_path / "no.journal").write_text("not a journal\n")
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0 and so on")
    cases = {
        str(tmp_path): "is a directory",
        str(tmp_path / "missing" / "a.journal"): "is not a directory",
        str(tmp_path / "no.journal"): "is not an Optuna journal",
        "grpc://nowhere": "is not grpc://host:port",
        "/dev/null": "is not a regular file",
        "postgresql+nodriver://me:secret@127.0.0.1/db": "cannot open the storage",
        "postgresql:/me:secret@127.0.0.1/db": "neither a file nor a URL",
        "postgresql+psycopg//me:secret@127.0.0.1/db": "neither a file nor a URL",
        "me:secret@127.0.0.1/db": "neither a file nor a URL",
        str(tmp_path / "a.db"): "is an SQLite database: write sqlite:///",
    }
    for storage, said in cases.items():
        with pytest.raises(ValueError, match=said) as caught:
            open_storage(storage, create=True)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert shown("mysql+pymysql://me:secret@host/db") == "mysql+pymysql://me:***@host/db"
