import dataclasses

import pytest
import torch

from autost_optuna import Architecture, Task, checkpoint
from autost_optuna.data import load
from autost_optuna.data.dataset import Split
from autost_optuna.trainer import RESUME, WEIGHTS, Recipe, evaluate, train

ARCHITECTURE = Architecture.uniform(embed_dim=16, depth=1, num_heads=2, mlp_ratio=1)
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=2, pooling="0001")
RECIPE = Recipe(epochs=3, batch_size=32)


@pytest.fixture(scope="module")
def few():
    """The first 200 training digits and 50 of the test set."""
    digits = load("digits", TASK)
    part = lambda split, n: Split(images=split.images[:n], labels=split.labels[:n])  # noqa: E731
    return dataclasses.replace(digits, train=part(digits.train, 200), test=part(digits.test, 50))


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    return train(ARCHITECTURE, TASK, few, RECIPE, tmp_path_factory.mktemp("whole"), accelerator="cpu")


def test_training_learns_and_keeps_what_it_learned(few, tmp_path):
    result = train(ARCHITECTURE, TASK, few, Recipe(epochs=12, batch_size=16, lr=5e-3), tmp_path)
    assert result.log[-1].loss < result.log[0].loss - 0.3
    assert result.validation_accuracy > 0.3
    network, info = checkpoint.load_network(result.path)
    assert network.architecture == ARCHITECTURE
    assert info["recipe"]["epochs"] == 12
    from autost_optuna.data import fit

    images = fit(few.test.images, few.normalisation, TASK)
    assert evaluate(network, images, torch.from_numpy(few.test.labels)) == pytest.approx(result.test_accuracy)


class Stop(Exception):  # noqa: N818
    pass


def test_an_interrupted_training_resumes_to_the_same_end(few, whole, tmp_path):
    def stop(line):
        raise Stop

    with pytest.raises(Stop):  # in the second epoch, after the first was kept
        train(
            ARCHITECTURE,
            TASK,
            few,
            RECIPE,
            tmp_path,
            accelerator="cpu",
            on_batch=lambda epoch, batch, batches: stop(None) if (epoch, batch) == (1, 2) else None,
        )
    assert (tmp_path / RESUME).exists()
    assert not (tmp_path / WEIGHTS).exists()
    resumed = train(ARCHITECTURE, TASK, few, RECIPE, tmp_path, accelerator="cpu")
    assert not (tmp_path / RESUME).exists()
    assert [line.loss for line in resumed.log] == pytest.approx([line.loss for line in whole.log], rel=1e-5)
    one, _ = checkpoint.load(resumed.path)
    other, _ = checkpoint.load(whole.path)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_recordings_are_trained_on(tmp_path):
    task = dataclasses.replace(Task.preset("nmnist"), time_steps=2)
    moved = load("digits-saccades", task)
    part = lambda split, n: Split(images=split.images[:n], labels=split.labels[:n])  # noqa: E731
    few = dataclasses.replace(moved, train=part(moved.train, 80), test=part(moved.test, 20))
    result = train(ARCHITECTURE, task, few, Recipe(epochs=2, batch_size=16), tmp_path)
    assert result.log[-1].loss < result.log[0].loss
    network, _ = checkpoint.load_network(result.path)
    assert network.task == task


def test_a_finished_training_is_not_repeated(few, whole):
    before = whole.path.read_bytes()
    assert train(ARCHITECTURE, TASK, few, RECIPE, whole.path.parent) == whole
    assert whole.path.read_bytes() == before


def test_a_folder_of_another_training_is_refused(few, whole):
    folder = whole.path.parent
    with pytest.raises(ValueError, match="trained with epochs 3, not 4"):
        train(ARCHITECTURE, TASK, few, dataclasses.replace(RECIPE, epochs=4), folder)
    other = Architecture.uniform(embed_dim=32, depth=1, num_heads=2, mlp_ratio=1)
    with pytest.raises(ValueError, match="another architecture"):
        train(other, TASK, few, RECIPE, folder)


def test_training_on_data_of_another_task_is_refused(few, tmp_path):
    with pytest.raises(ValueError, match="data digits has 10 classes, task digits 7"):
        train(ARCHITECTURE, dataclasses.replace(TASK, num_classes=7), few, RECIPE, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_loss_that_is_no_number_ends_the_training(few, tmp_path):
    with pytest.raises(RuntimeError, match=r"the loss is (nan|inf) at epoch"):
        train(ARCHITECTURE, TASK, few, Recipe(epochs=1, lr=1e30), tmp_path)
    assert not (tmp_path / WEIGHTS).exists()


def test_learning_rate_by_hand():
    recipe = Recipe(lr=1.0, min_lr=0.0, warmup_share=0.1)
    rates = [recipe.lr_at(step, 100) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001


@pytest.mark.parametrize(
    "fields", [{"epochs": 0}, {"batch_size": -1}, {"validation_share": 1.0}, {"lr": float("nan")}, {"lr": 0.0}]
)
def test_impossible_recipes_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Recipe(**fields)


def test_damaged_and_foreign_checkpoints_are_refused(whole, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        checkpoint.load_network(cut)
    with pytest.raises(ValueError, match="no checkpoint at"):
        checkpoint.load_network(tmp_path / "none.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="not their architecture"):
        checkpoint.load_network(tmp_path / "bare.safetensors")
