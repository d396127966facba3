import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import torch
import warm
from makers import TOY_FILE
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.trial import TrialState

from autost_optuna import Space, Task
from autost_optuna.data import load
from autost_optuna.front.picks import pick
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, open_search
from autost_optuna.training.evaluation import Judging
from autost_optuna.training.members import train_members
from autost_optuna.training.orders import Means, folder_name, orders
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.records import open_trained
from autost_optuna.training.resume import Stopped
from autost_optuna.training.trainer import TrainOptions

SPACE = Space(name="toy", embed_dim=(16, 24, 32), depth=(1, 2), num_heads=(2, 4), mlp_ratio=(1, 2))
RECIPE = Recipe(name="tiny", epochs=1, batch_size=100, images=200)
MEANS = Means(data="digits", options=TrainOptions(accelerator="cpu"))


@pytest.fixture
def search(tmp_path):
    found = create("demo", str(tmp_path / "s.journal"), Plan(space=SPACE, task=Task.preset("digits")))
    run(found, trials=12)
    return open_search("demo", found.storage, write=True)


def members(search, count):
    return pick(search.front(), search.settings.box, count)


@pytest.mark.slow
def test_what_was_trained_stands_beside_what_was_predicted(search, tmp_path):
    todo = orders(search, members(search, 2), RECIPE, 2, tmp_path / "out")
    assert [order.folder.name for order in todo] == [
        name
        for order in todo[::2]
        for name in (f"demo-{order.candidate.number}", f"demo-{order.candidate.number}-seed1")
    ]
    told = []
    found = train_members(search, todo, MEANS, tell=told.append)
    heard = Counter(message.kind for message in told)
    assert heard.pop("judged") > 4 * 3
    assert heard == {"forecast": 1, "batch": 4 * 2, "epoch": 4, "trained": 4}
    assert told[0].kind == "forecast"
    assert {message.text for message in told if message.kind == "judged"} == {"validation", "test"}
    assert all(1 <= message.done <= message.total for message in told if message.kind == "judged")
    assert [one.seed for one in found] == [0, 1, 0, 1]
    assert found == open_trained(search).all()
    for one, order in zip(found, todo, strict=True):
        assert one.search_trial == order.candidate.number
        assert one.predicted_mj == order.candidate.energy_mj
        assert one.recipe_hash == RECIPE.hash
        assert set(one.rates) == set(one.initial_rates)
        assert one.images == 144  # a tenth of the 1,437 training digits
        assert (order.folder / "model.safetensors").exists()
    trial = open_trained(search).study.trials[0]
    assert trial.values == [round(found[0].validation_accuracy, 6), found[0].energy_mj]
    assert trial.params["embed_dim"] == found[0].architecture.embed_dim
    (curve,) = get_all_artifact_meta(study_or_trial=trial, storage=search.study._storage)
    with FileSystemArtifactStore(f"{search.storage}.artifacts").open_reader(curve.artifact_id) as file:
        lines = file.read().decode().splitlines()
    assert lines[0] == "epoch,loss,validation_accuracy,mean_rate,images_per_s"
    assert len(lines) == 2


@pytest.mark.slow
def test_a_network_is_trained_once_whoever_asks(search, tmp_path):
    todo = orders(search, members(search, 2), RECIPE, 1, tmp_path / "out")
    first = train_members(search, todo, MEANS)
    told = []
    again = orders(search, members(search, 2), dataclasses.replace(RECIPE, name="renamed"), 1, tmp_path / "elsewhere")
    assert train_members(search, again, MEANS, tell=told.append) == first
    assert [message.before for message in told] == [True, True]
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
@pytest.mark.process
def test_workers_share_the_orders(search, tmp_path):
    todo = orders(search, members(search, 3), RECIPE, 1, tmp_path / "out")
    told = []
    found = train_members(search, todo, dataclasses.replace(MEANS, workers=2), tell=told.append)
    assert sorted(one.search_trial for one in found) == sorted(order.candidate.number for order in todo)
    assert Counter(message.kind for message in told)["trained"] == 3
    states = Counter(trial.state for trial in open_trained(search).study.trials)
    assert states == {TrialState.COMPLETE: 3}
    # Each network equals that of one process with as many threads, whoever trained it.
    alone = create("demo", str(tmp_path / "alone.journal"), Plan(space=SPACE, task=Task.preset("digits")))
    run(alone, trials=12)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    try:
        again = train_members(alone, orders(alone, members(alone, 3), RECIPE, 1, tmp_path / "alone"), MEANS)
    finally:
        torch.set_num_threads(threads)
    one, other = ({t.search_trial: (t.validation_accuracy, t.rates) for t in trained} for trained in (found, again))
    assert one == other


@pytest.mark.slow
def test_a_training_that_fails_leaves_the_others_alone(search, tmp_path):
    good, bad = orders(search, members(search, 2), RECIPE, 1, tmp_path / "out")
    bad = dataclasses.replace(bad, recipe=dataclasses.replace(RECIPE, lr=1e9, min_lr=1e9, epochs=3, batch_size=20))
    told = []
    with pytest.raises(RuntimeError, match="1 of 2 trainings failed"):
        train_members(search, [bad, good], MEANS, tell=told.append)
    ends = [message for message in told if message.kind in ("failed", "trained")]
    assert [message.kind for message in ends] == ["failed", "trained"]
    assert "lower --lr" in ends[0].text
    failed, complete = open_trained(search).study.trials
    assert failed.state == TrialState.FAIL
    assert complete.state == TrialState.COMPLETE


@pytest.mark.slow
def test_a_wrong_folder_is_told_before_anything_is_trained(search, tmp_path):
    todo = orders(search, members(search, 3), RECIPE, 1, tmp_path / "out")
    train_members(search, todo[1:2], MEANS)
    swapped = [dataclasses.replace(todo[0], folder=todo[1].folder), todo[2]]
    for workers in (1, 2):
        with pytest.raises(ValueError, match="holds a training of another architecture"):
            train_members(search, swapped, dataclasses.replace(MEANS, workers=workers))
    assert len(_trials(search)) == 1


@pytest.mark.slow
def test_what_is_left_is_not_begun_by_a_command_that_is_to_stop(search, tmp_path):
    todo = orders(search, members(search, 3), RECIPE, 1, tmp_path / "out")
    with pytest.raises(Stopped):
        train_members(search, todo, MEANS, stopped=lambda: True)
    assert len(_trials(search)) == 1


@pytest.mark.slow
def test_a_recipe_file_keeps_its_seed(cli, search, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(dataclasses.replace(RECIPE, seed=7).to_toml())
    given = ("train", "demo", "--storage", search.storage, "--knee", "--recipe", recipe, "-o", tmp_path / "out")
    assert cli(*given).exit_code == 0
    recipe.write_text('name = "tiny"\nepochs = 1\nimages = 100\n')
    assert cli(*given).exit_code == 0
    assert cli(*given, "--seed", 3).exit_code == 0
    assert [one.seed for one in open_trained(search).all()] == [7, 0, 3]


@pytest.mark.slow
def test_a_stopped_training_is_claimed_again(search, tmp_path):
    (order,) = orders(search, members(search, 1), RECIPE, 1, tmp_path / "out")
    with pytest.raises(Stopped):
        train_members(search, [order], MEANS, stopped=lambda: True)
    (trial,) = open_trained(search).study.trials
    assert trial.state == TrialState.FAIL
    (found,) = train_members(search, [order], MEANS)
    assert found.number == 1


def command(search, *arguments):
    return ["-m", "autost_optuna", "train", "demo", "--storage", search.storage, *arguments]


def wait_for(condition):
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.process
def test_two_commands_at_once_and_one_killed(search, tmp_path):
    """Two processes train three networks by two seeds; one is killed; the other goes on: each is trained once."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(dataclasses.replace(RECIPE, epochs=4).to_toml())
    given = (
        "--front",
        "3",
        "--seeds",
        "2",
        "--recipe",
        str(recipe),
        "--accelerator",
        "cpu",
        "-o",
        str(tmp_path / "out"),
    )

    def train():
        return warm.Popen(command(search, *given), stdout=warm.DEVNULL, stderr=warm.DEVNULL)

    def begun():
        return [t for t in _trials(search) if t.state == TrialState.RUNNING]

    def stopped_at_work():
        victim.send_signal(signal.SIGSTOP)
        if begun():
            return True
        victim.send_signal(signal.SIGCONT)
        return False

    victim = train()
    wait_for(lambda: begun() and stopped_at_work())  # for as long as the other needs to start
    other = train()
    wait_for(lambda: len(begun()) == 2)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert other.wait(120) == 0
    done = warm.run(command(search, *given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    trials = _trials(search)
    keys = Counter(
        (t.user_attrs["search_trial"], t.user_attrs["seed"]) for t in trials if t.state == TrialState.COMPLETE
    )
    assert len(keys) == 6
    assert set(keys.values()) == {1}
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    assert len(done.stdout.splitlines()) == 7


def _trials(search):
    try:
        return open_trained(open_search("demo", search.storage)).study.get_trials(deepcopy=False)
    except ValueError:  # not made yet
        return []


@pytest.mark.slow
@pytest.mark.process
def test_a_command_that_is_interrupted_keeps_its_state_and_goes_on(search, tmp_path):
    given = (
        "--knee",
        "--epochs",
        "400",
        "--images",
        "400",
        "-o",
        str(tmp_path / "out"),
        "--workers",
        "2",
        "--seeds",
        "2",
    )
    process = warm.Popen(command(search, *given), stderr=warm.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if "epoch 2/400" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "repeat the command to go on" in err
    assert "Traceback" not in err
    assert list((tmp_path / "out").glob("*/resume.safetensors"))
    assert {t.state for t in _trials(search)} == {TrialState.FAIL}


TWICE = """
from autost_optuna.cli import main
try:
    main({words} + ["--workers", "2"], prog_name="autost-optuna")
except SystemExit as end:
    assert end.code == 2
main({words}, prog_name="autost-optuna")
"""


@pytest.mark.slow
@pytest.mark.process
def test_under_torchrun_a_study_is_told_once(search, tmp_path):
    _, _, *words = command(search, "--front", "2", "--epochs", "1", "--images", "200", "-o", str(tmp_path / "out"))
    script = tmp_path / "twice.py"
    script.write_text(TWICE.format(words=words))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    done = subprocess.run(torchrun, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert [t.state for t in _trials(search)] == [TrialState.COMPLETE] * 2
    assert open_trained(search).all()[0].machine.startswith("2 x CPU")
    assert done.stderr.count("error: workers 2 and torchrun are two ways") == 2


@pytest.mark.slow
def test_wrong_input_is_told_before_anything_is_trained(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    cli("study", "create", "demo", "--space", "toy.toml", "--task", "digits")
    cli("study", "run", "demo", "--trials", "2")
    for given, said in (
        (("--knee", "--recipe", "long"), "no recipe 'long'"),
        (("--knee", "--epochs", "0"), "epochs 0 is not a whole number"),
        (("--knee", "--precision", "16-mixed"), "precision 16-mixed needs a GPU"),
        (("--knee", "--workers", "0"), "workers 0 is not positive"),
        (("--knee", "--seeds", "0"), "seeds 0 is not a whole number"),
        (("--knee", "--images", "5000"), "images 5,000 is more than the 1,294"),
        (("--knee", "--data", "nmnist"), "nmnist"),
        ((), "Give --trial N, --knee, --front K or --exact K"),
    ):
        result = cli("train", "demo", *given)
        assert result.exit_code == 2, given
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "trained").exists()
    assert "trained" not in cli("study", "list").stdout
    assert json.loads(cli("study", "show", "demo", "-f", "json").stdout)["trials"] == 2


def test_names_become_folders():
    assert folder_name("a/b ü.1") == "a_b_ü.1"


@pytest.mark.slow
def test_how_much_is_judged_is_recorded_and_does_not_tell_trainings_apart(search, tmp_path):
    todo = orders(search, members(search, 1), RECIPE, 1, tmp_path / "out")
    bounded = dataclasses.replace(
        MEANS, options=TrainOptions(accelerator="cpu", judging=Judging(eval_images=20, test_images=50))
    )
    (found,) = train_members(search, todo, bounded)
    assert (found.images, found.test_images) == (20, 50)
    assert (found.test_accuracy * 50) % 1 == pytest.approx(0, abs=1e-9)
    told = []
    assert train_members(search, todo, MEANS, tell=told.append) == [found]
    assert [message.kind for message in told] == ["trained"]
    with pytest.raises(ValueError, match=r"test_images 1,000 is out of range; the test set of digits has 1 to 359"):
        train_members(search, todo, dataclasses.replace(MEANS, options=TrainOptions(judging=Judging(test_images=1000))))


def test_the_validation_split_shrinks_with_the_training_images_but_keeps_enough_to_judge_on():
    digits = load("digits", Task.preset("digits"))
    labels = digits.train.labels[:1].repeat(50_000)
    many = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=labels))

    def images(judging, **recipe):
        return len(judging.chosen(many, Recipe(name="r", **recipe))[0])

    assert images(Judging()) == 5000
    assert images(Judging(), images=45_000) == 5000
    assert images(Judging(), images=9000) == 1000
    assert images(Judging(), images=64) == 250
    assert images(Judging(eval_images=7), images=64) == 7
    validation, test = Judging(eval_images=30, test_images=60).chosen(digits, RECIPE)
    assert validation.tolist() == Judging().chosen(digits, RECIPE)[0][:30].tolist()
    assert len(set(digits.test.labels[test.numpy()])) == 10  # of all classes, also where they lie one after the other


@pytest.mark.slow
def test_a_pipe_hears_of_every_phase(search, tmp_path, capsys, monkeypatch):
    from autost_optuna.cli import teller

    monkeypatch.setattr(teller, "SIGN_OF_LIFE_S", 0.0)
    todo = orders(search, members(search, 1), RECIPE, 1, tmp_path / "out")
    train_members(search, todo, MEANS, tell=teller.Teller(todo, lambda *shown, passing=False: None))
    said = capsys.readouterr().err
    number = todo[0].candidate.number
    assert said.startswith("about ")
    assert "validation and energy (144 images after each epoch)" in said
    for line in (
        "epoch 1/1: 2 of 2 batches",
        "validation: 144 of 144 images",
        "test: 359 of 359",
    ):
        assert f"trial {number}, {line}" in said
