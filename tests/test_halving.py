import dataclasses
import json
import shutil
import signal
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState
from warm import DEVNULL, PIPE, Popen

from autost_optuna import Space, Task
from autost_optuna.data import load
from autost_optuna.front.picks import pick
from autost_optuna.search.presence import Presence
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, open_search
from autost_optuna.training import checkpoint
from autost_optuna.training.checkpoint import WEIGHTS
from autost_optuna.training.halving import RungStanding, rungs, survivors, train_by_halving
from autost_optuna.training.member import claim
from autost_optuna.training.members import train_members
from autost_optuna.training.orders import Means, orders
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.records import open_trained
from autost_optuna.training.resume import RESUME, Stopped
from autost_optuna.training.trainer import TrainOptions

SPACE = Space(name="toy", embed_dim=(8, 16, 24, 32), depth=(1,), num_heads=(2, 4), mlp_ratio=(1, 2))
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=2, pooling="0011")
RECIPE = Recipe(name="tiny", epochs=4, batch_size=25, images=50, warmup_share=0.0, validation_share=0.05)
MEANS = Means(data="digits", options=TrainOptions(accelerator="cpu"))
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("searched") / "s.journal"
    run(create("demo", str(path), Plan(space=SPACE, task=TASK)), trials=12)
    return path


@pytest.fixture
def search(searched, tmp_path):
    shutil.copy(searched, tmp_path / "s.journal")
    return open_search("demo", str(tmp_path / "s.journal"), write=True)


@pytest.fixture(scope="module")
def alone(searched, tmp_path_factory):
    """Four members trained to their end without halving, by their trial: their weights and accuracies."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(searched, folder / "s.journal")
    search = open_search("demo", str(folder / "s.journal"), write=True)
    found = train_members(search, ordered(search, 4, folder / "out"), MEANS)
    courses = open_trained(search).accuracies()
    return {one.search_trial: (weights(folder / "out" / f"demo-{one.search_trial}"), courses[one.key]) for one in found}


def ordered(search, count, folder, seeds=1, recipe=RECIPE):
    return orders(search, pick(search.front(), search.settings.box, count), recipe, seeds, folder)


def states(search):
    found = Counter(trial.state for trial in open_trained(search).study.get_trials(deepcopy=False))
    return {name: found[state] for name, state in STATES.items() if found[state]}


def epochs(told):
    """The epochs trained, by the index of the order."""
    return Counter(message.index for message in told if message.line is not None)


def weights(folder):
    return checkpoint.load(folder / WEIGHTS)[0]


def test_rungs_by_hand():
    assert rungs(16, 16) == (1, 2, 4, 8)  # 16, 8, 4, 2 and 1 members, each time for as many epochs in all
    assert rungs(20, 10) == (1, 2, 3, 5)
    assert rungs(20, 10, 0.1) == (2, 3, 5)  # epoch 1 is the warm-up
    assert rungs(20, 300, 0.0667) == (38, 75, 150)  # of 18.75, 37.5, 75 and 150; the warm-up has 20
    assert rungs(3, 10) == (5,)
    assert rungs(8, 3) == (1, 2)
    assert rungs(20, 1) == rungs(1, 10) == rungs(4, 4, 1.0) == ()


def test_survivors_by_hand():
    def at(number, accuracy, energy_mj=1.0):
        return RungStanding(number=number, accuracy=accuracy, energy_mj=energy_mj)

    assert survivors([at(4, 0.2), at(7, 0.9), at(9, 0.5), at(1, 0.4), at(2, 0.3)]) == [7, 9]
    assert survivors([at(4, 0.5, 2.0), at(7, 0.5, 1.0)]) == [7]  # as accurate, for less energy
    assert survivors([at(7, 0.5), at(4, 0.5)]) == [4]
    assert survivors([at(4, 0.0), at(7, None), at(9, None), at(1, None)]) == [4]
    assert survivors([at(4, 0.2), at(7, None), at(9, 0.3), at(1, None)]) == [9, 4]
    assert survivors([at(4, 0.2)]) == [4]
    assert survivors([at(4, None)]) == []


@pytest.mark.parametrize("count", [2, 3, 5, 8, 9])
def test_optunas_pruner_says_the_same_of_whoever_reports_last(count):
    accuracies = [(7 * number**2 + 3) % 31 / 31 for number in range(count)]
    assert len(set(accuracies)) == count

    def goes_on(number):
        study = optuna.create_study(direction="maximize", pruner=SuccessiveHalvingPruner(1, reduction_factor=2))
        for accuracy in [*accuracies[:number], *accuracies[number + 1 :], accuracies[number]]:
            trial = study.ask()
            trial.report(accuracy, 1)
            pruned = trial.should_prune()
        return not pruned

    standings = [RungStanding(number=n, accuracy=a, energy_mj=1.0) for n, a in enumerate(accuracies)]
    assert sorted(survivors(standings)) == [number for number in range(count) if goes_on(number)]


def test_optuna_prunes_no_study_of_two_objectives():
    trial = optuna.create_study(directions=["maximize", "minimize"]).ask()
    with pytest.raises(NotImplementedError):
        trial.report(0.5, 1)


def verdicts(alone, todo):
    """The members after each rung, as the accuracies without halving have it."""
    energies = {order.candidate.number: order.candidate.energy_mj for order in todo}
    entered = list(alone)
    for level in rungs(4, 4):
        standings = [RungStanding(number=n, accuracy=alone[n][1][level - 1], energy_mj=energies[n]) for n in entered]
        entered = survivors(standings)
        yield entered


@pytest.mark.slow
def test_survivors_end_as_without_halving_and_the_others_go_on_from_where_they_are(search, alone, tmp_path):
    todo = ordered(search, 4, tmp_path / "out")
    told = []
    (best,) = train_by_halving(search, todo, MEANS, tell=told.append)
    # Rungs after epochs 1 and 2: 4 + 2 + 2 of 16 epochs.
    assert sorted(epochs(told).values()) == [1, 1, 2, 4]
    said = [message.text for message in told if message.kind == "rung"]
    assert said[0].startswith("after 1 of 4 epochs 2 of 4 members go on, the best with ")
    assert said[2] == f"8 of 16 epochs: 50% saved; 1 of 4 members remain: trial {best.search_trial}"
    assert states(search) == {"complete": 1, "pruned": 3}
    dropped = {one.search_trial: one for one in open_trained(search).dropped()}
    two, (one,) = verdicts(alone, todo)
    assert best.search_trial == one
    assert {number: out.epochs for number, out in dropped.items()} == {n: 1 + (n in two) for n in alone if n != one}
    for number, out in dropped.items():
        assert out.validation_accuracies == alone[number][1][: out.epochs]

    told.clear()
    found = train_members(search, todo, MEANS, tell=told.append)
    assert sorted(epochs(told).values()) == [2, 3, 3]
    assert states(search) == {"complete": 4, "pruned": 3}
    assert open_trained(search).dropped() == []
    for trained, order in zip(found, todo, strict=True):
        whole, course = alone[trained.search_trial]
        assert open_trained(search).accuracies()[trained.key] == course
        assert all(tensor.equal(whole[name]) for name, tensor in weights(order.folder).items())


@pytest.mark.slow
def test_nothing_is_trained_twice(search, tmp_path):
    todo = ordered(search, 4, tmp_path / "out")
    first = train_by_halving(search, todo, MEANS)
    told, before = [], states(search)
    assert train_by_halving(search, ordered(search, 4, tmp_path / "elsewhere"), MEANS, tell=told.append) == first
    assert [message.kind for message in told] == ["trained", "rung", "rung", "rung"]
    assert told[0].before
    assert states(search) == before
    # Fewer members, other verdicts: the one that goes to the end goes on from where it was left, under its old -o.
    out = {one.search_trial: one for one in open_trained(search).dropped()}
    two = [order for order in todo if order.candidate.number in out][:2]
    moved = [dataclasses.replace(order, folder=tmp_path / "elsewhere" / order.folder.name) for order in two]
    told.clear()
    (kept,) = train_by_halving(search, moved, MEANS, tell=told.append)
    ran = sum(epochs(told).values())
    assert ran == (4 - out[kept.search_trial].epochs) + sum(
        2 - one.epochs
        for number, one in out.items()
        if number in {o.candidate.number for o in two} - {kept.search_trial}
    )
    assert not (tmp_path / "elsewhere").exists()
    assert states(search)["complete"] == 2


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.slow
@pytest.mark.process
def test_seeds_are_judged_by_their_mean_and_workers_share_the_members(search, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    todo = ordered(search, 2, tmp_path / "out", seeds=2, recipe=recipe)
    told = []
    found = train_by_halving(search, todo, dataclasses.replace(MEANS, workers=2), tell=told.append)
    assert [one.seed for one in found] == [0, 1]
    assert sum(epochs(told).values()) == 4 + 2
    assert states(search) == {"complete": 2, "pruned": 2}
    assert told[-1].text.startswith("6 of 8 epochs: 25% saved; 1 of 2 members remain")
    means = Counter()
    for key, course in open_trained(search).accuracies().items():
        means[key.architecture] += course[0]
    energies = {order.candidate.architecture.key: order.candidate.energy_mj for order in todo}
    best = max(means, key=lambda name: (means[name], -energies[name]))
    assert found[0].architecture.key == found[1].architecture.key == best


@pytest.mark.slow
def test_a_member_that_fails_drops_out(search, tmp_path):
    good, *others = ordered(search, 3, tmp_path / "out")
    wild = dataclasses.replace(RECIPE, lr=1e9, min_lr=1e9, batch_size=10)
    others = [dataclasses.replace(order, recipe=wild) for order in others]
    told = []
    (found,) = train_by_halving(search, [good, *others], MEANS, tell=told.append)
    assert found.search_trial == good.candidate.number
    assert states(search) == {"complete": 1, "failed": 2}
    assert Counter(message.kind for message in told)["failed"] == 2
    with pytest.raises(RuntimeError, match="of all 2 members failed"):
        train_by_halving(search, others, MEANS)


@pytest.mark.slow
def test_a_halving_that_was_stopped_goes_on(search, alone, tmp_path):
    todo = ordered(search, 4, tmp_path / "out")
    told = []

    def third():
        return sum(epochs(told).values()) >= 5  # in the second rung

    with pytest.raises(Stopped):
        train_by_halving(search, todo, MEANS, tell=told.append, stopped=third)
    assert states(search) == {"pruned": 2, "failed": 2}
    assert len(list((tmp_path / "out").glob(f"*/{RESUME}"))) == 4
    (found,) = train_by_halving(search, todo, MEANS, tell=told.append)
    assert sum(epochs(told).values()) == 8
    assert states(search) == {"complete": 1, "pruned": 3, "failed": 2}
    assert found.search_trial == list(verdicts(alone, todo))[-1][0]
    assert all(tensor.equal(alone[found.search_trial][0][name]) for name, tensor in weights(Path(found.path)).items())


@pytest.mark.slow
@pytest.mark.process
def test_a_halving_that_was_killed_goes_on(search, alone, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.to_toml())
    given = ["--front", "4", "--halving", "--recipe", str(recipe), "--accelerator", "cpu", "-o", str(tmp_path / "out")]
    command = ["-m", "autost_optuna", "train", "demo", "--storage", search.storage, *given]
    process = Popen(command, stderr=PIPE, stdout=DEVNULL, text=True)
    for line in process.stderr:
        if line.startswith("after 1 of 4 epochs"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    told = []
    (found,) = train_by_halving(search, ordered(search, 4, tmp_path / "out"), MEANS, tell=told.append)
    assert sum(epochs(told).values()) in (3, 4)  # an epoch of the second rung may have been kept
    assert not [t for t in open_trained(search).study.get_trials() if not t.state.is_finished()]
    assert states(search)["complete"] == 1
    assert len(open_trained(search).dropped()) == 3
    assert found.search_trial == list(verdicts(alone, ordered(search, 4, tmp_path)))[-1][0]


def test_a_member_in_other_hands_is_waited_for(search, tmp_path):
    todo = ordered(search, 2, tmp_path / "out")
    dataset, trainings = load("digits", TASK), open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        held = claim(trainings, todo[1], dataset, presence)
        with pytest.raises(RuntimeError, match=f"is training trial {todo[1].candidate.number}; wait for it"):
            train_by_halving(search, todo, MEANS)
        held.fail("enough")
    assert states(search) == {"failed": 2}  # what was held here, and what the halving had begun to hold


@pytest.mark.slow
def test_a_network_whose_course_is_not_in_the_study_is_known_from_its_folder(search, tmp_path):
    todo = ordered(search, 2, tmp_path / "out")
    order = todo[0]
    (ended,) = train_members(search, [order], MEANS)
    optuna.delete_study(study_name="demo.trained", storage=search.study._storage)  # and stored as before it was kept
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        claim(trainings, order, load("digits", TASK), presence).complete(ended)
    told = []
    train_by_halving(search, todo, MEANS, tell=told.append)
    assert epochs(told)[0] == 0
    (order.folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=f"trial {order.candidate.number} was trained before, and its learning curve"):
        train_by_halving(search, todo, MEANS)


@pytest.mark.slow
def test_the_command_says_who_dropped_out_and_refuses_what_cannot_be_halved(cli, search, tmp_path, monkeypatch):
    recipe, patient = tmp_path / "tiny.toml", tmp_path / "patient.toml"
    recipe.write_text(dataclasses.replace(RECIPE, epochs=2).to_toml())
    patient.write_text(dataclasses.replace(RECIPE, patience=3).to_toml())
    base = ("train", "demo", "--storage", search.storage, "--halving", "-o", tmp_path / "out")
    for given, said in (
        (("--knee",), "leaves nothing to halve; give --front K"),
        (("--front", 3, "--recipe", patient), "patience 3 ends trainings at epochs of their own"),
        (("--front", 3, "--epochs", 1), "epochs 1 leave no rung beyond the warm-up"),
    ):
        result = cli(*base, *given)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        assert "halving does not go with torchrun" in cli(*base, "--front", 3).stderr
    assert not (tmp_path / "out").exists()
    done = cli(*base, "--front", 3, "--recipe", recipe)
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 2
    assert "4 of 6 epochs: 33% saved; 1 of 3 members remain: trial" in done.stderr
    line = f"2 after 1 of 2 epochs, recipe tiny#{Recipe.load(str(recipe)).hash} on digits"
    at = ("--storage", search.storage)
    assert f"dropped out  {line}" in cli("study", "show", "demo", *at).stdout
    assert f"dropped out of halving: {line}" in cli("study", "front", "demo", "--trained", *at).stderr
    shown = json.loads(cli("study", "show", "demo", "-f", "json", *at).stdout)
    assert [(one["epochs"], one["all_epochs"]) for one in shown["dropped_out"]] == [(1, 2)] * 2
    assert shown["trained"]["networks"] == 1
