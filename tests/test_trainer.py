import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
import torch
import warm

from autost_optuna import Architecture, Task
from autost_optuna.data import load
from autost_optuna.data.dataset import OnDemand, Split
from autost_optuna.delivery.export import load as load_bundle
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.training import checkpoint
from autost_optuna.training.batches import Batches, split_training
from autost_optuna.training.checkpoint import WEIGHTS
from autost_optuna.training.evaluation import accuracy_of, judge, measured_of
from autost_optuna.training.loss import loss_of
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import RESUME, Assignment, Stopped
from autost_optuna.training.trainer import TrainCallbacks, TrainOptions, train

ARCHITECTURE = Architecture.uniform(embed_dim=16, depth=1, num_heads=2, mlp_ratio=1)
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=2, pooling="0001")
# All that keeps a state or draws random numbers at once.
RECIPE = Recipe(
    epochs=3,
    batch_size=20,
    accumulate=2,
    clip_norm=1.0,
    loss="tet",
    randaugment=1,
    flip=True,
    erasing=0.25,
    mixup=0.5,
    ema_decay=0.9,
)
CPU = torch.device("cpu")


def part(split, n):
    return Split(images=split.images[:n], labels=split.labels[:n])


def first(dataset, training, test):
    return dataclasses.replace(dataset, train=part(dataset.train, training), test=part(dataset.test, test))


@pytest.fixture(scope="module")
def few():
    """The first 200 training digits and 50 of the test set."""
    return first(load("digits", TASK), 200, 50)


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    return train(
        Assignment(ARCHITECTURE, TASK, few, RECIPE),
        tmp_path_factory.mktemp("whole"),
        options=TrainOptions(accelerator="cpu"),
    )


def assert_equal_trainings(one, other):
    assert [line.loss for line in one.log] == pytest.approx([line.loss for line in other.log], rel=1e-5)
    assert one.validation_accuracy == other.validation_accuracy
    assert one.measured.rates == pytest.approx(other.measured.rates, rel=1e-5)
    weights, expected = (checkpoint.load(trained.path)[0] for trained in (one, other))
    assert weights.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_training_learns_and_keeps_what_it_learned(few, tmp_path):
    result = train(Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=20, batch_size=16, lr=5e-3)), tmp_path)
    assert result.log[-1].loss < result.log[0].loss - 0.3
    assert result.validation_accuracy > 0.3
    network, info = checkpoint.load_network(result.path)
    assert network.architecture == ARCHITECTURE
    assert info["recipe"]["epochs"] == 20
    images = Batches(few.test, torch.arange(50), few.normalisation, TASK, CPU)
    assert accuracy_of(network, images) == pytest.approx(result.test_accuracy)
    assert 0 < result.log[-1].mean_rate < 1


@pytest.mark.slow
def test_the_energy_is_of_the_trained_network_on_the_validation_split(few, whole):
    network, _ = checkpoint.load_network(whole.path)
    _, held_out = split_training(few, RECIPE.validation_share, 0)
    images = Batches(few.train, held_out, few.normalisation, TASK, CPU)
    rates = judge(network, images, rate_images=len(images)).rates
    found = measured_of(network, images, rates, CONVENTIONS["horowitz-45nm-fp32"], seed=0)
    assert found == whole.measured
    assert found.images == 20
    seen = []
    hook = network.blocks[0].mlp.fc1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].mean()))
    with torch.no_grad():
        network(next(images.in_order(20))[0])
    hook.remove()
    assert found.rates["blocks.0.mlp.fc1"] == pytest.approx(float(seen[0]), rel=1e-5)


def test_energies_under_other_prices_are_not_mixed(few, whole):
    with pytest.raises(ValueError, match="energy under horowitz-45nm-fp32, not horowitz-45nm-int8"):
        train(
            Assignment(ARCHITECTURE, TASK, few, RECIPE), whole.path.parent, convention=CONVENTIONS["horowitz-45nm-int8"]
        )


def test_a_folder_is_for_one_process_at_a_time(few, tmp_path):
    def again(line):
        train(Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=1)), tmp_path)

    with pytest.raises(ValueError, match="another process trains in"):
        train(Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=1)), tmp_path, callbacks=TrainCallbacks(on_epoch=again))
    train(Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=1)), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "recipe.toml"]
    assert Recipe.load(str(tmp_path / "recipe.toml")) == Recipe(epochs=1)


def test_every_network_and_seed_is_judged_on_the_same_images(few):
    trained_on, held_out = split_training(few, 0.1, 0)
    assert sorted([*trained_on.tolist(), *held_out.tolist()]) == list(range(200))
    fewer, same = split_training(few, 0.1, 50)
    assert torch.equal(same, held_out)
    assert fewer.tolist() == trained_on[:50].tolist()
    with pytest.raises(ValueError, match="images 500 is more than the 180 of digits"):
        split_training(few, 0.1, 500)


def test_images_on_demand_are_read_as_those_in_memory(few):
    demanded = Split(
        images=OnDemand(sources=np.arange(200), make=lambda at: few.train.images[at]), labels=few.train.labels
    )
    order = torch.randperm(200)
    one, other = (
        list(Batches(split, order, few.normalisation, TASK, CPU).in_order(30)) for split in (demanded, few.train)
    )
    assert len(one) == 7
    for (images, labels), (expected, own) in zip(one, other, strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, own)


@pytest.mark.parametrize("at", [(0, 2), (1, 9), (2, 8)])
@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_to_the_same_end(few, whole, tmp_path, at):
    progress = []

    def look(epoch, batch, batches):
        progress.append((epoch, batch))

    with pytest.raises(Stopped):
        train(
            Assignment(ARCHITECTURE, TASK, few, RECIPE),
            tmp_path,
            options=TrainOptions(accelerator="cpu"),
            callbacks=TrainCallbacks(on_batch=look, stopped=lambda: at in progress),
        )
    assert progress[-1] == at  # at the end of an epoch too
    assert (tmp_path / RESUME).exists()
    assert not (tmp_path / WEIGHTS).exists()
    resumed = train(
        Assignment(ARCHITECTURE, TASK, few, RECIPE),
        tmp_path,
        options=TrainOptions(accelerator="cpu"),
        callbacks=TrainCallbacks(on_batch=look),
    )
    assert progress == [(epoch, batch + 1) for epoch in range(3) for batch in range(9)]
    assert not (tmp_path / RESUME).exists()
    assert_equal_trainings(resumed, whole)


CHILD = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import test_trainer as here
    few = here.first(here.load("digits", here.TASK), 200, 50)
    from autost_optuna.training.trainer import Run
    judge = Run.judge_epoch
    def tell(run, epoch):
        print("weights", repr(float(sum(p.double().sum() for p in run.network.parameters()))), flush=True)
        return judge(run, epoch)
    Run.judge_epoch = tell
    {before}
    here.train(here.ARCHITECTURE, here.TASK, few, here.{recipe}, Path(sys.argv[1]), accelerator="cpu", checkpoint_s=0.0,
               on_batch=lambda *at: sys.stdout.write("%d %d %d\\n" % at) and sys.stdout.flush())
"""


def child(folder, before="", recipe="RECIPE"):
    code = textwrap.dedent(CHILD).format(tests=os.path.dirname(__file__), before=before, recipe=recipe)
    return warm.Popen(["-c", code, folder], stdout=warm.PIPE, stderr=warm.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.process
def test_a_training_that_was_killed_goes_on_to_the_same_end(few, whole, tmp_path):
    process = child(tmp_path)
    for line in process.stdout:
        if line.split()[:2] == ["1", "5"]:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    assert (tmp_path / RESUME).exists()
    assert_equal_trainings(
        train(Assignment(ARCHITECTURE, TASK, few, RECIPE), tmp_path, options=TrainOptions(accelerator="cpu")), whole
    )


@pytest.mark.slow
@pytest.mark.process
def test_a_full_disk_keeps_the_state_before_it(few, whole, tmp_path):
    with pytest.raises(Stopped):
        train(
            Assignment(ARCHITECTURE, TASK, few, RECIPE),
            tmp_path,
            options=TrainOptions(accelerator="cpu"),
            callbacks=TrainCallbacks(stopped=lambda: True),
        )
    before = (tmp_path / RESUME).read_bytes()
    limit = f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); \
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, -1))"
    _, err = child(tmp_path, before=limit).communicate()
    assert "OSError" in err.splitlines()[-1]
    assert (tmp_path / RESUME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [RESUME]
    assert_equal_trainings(
        train(Assignment(ARCHITECTURE, TASK, few, RECIPE), tmp_path, options=TrainOptions(accelerator="cpu")), whole
    )


@pytest.mark.process
def test_too_little_memory_names_the_batch_size_to_try(tmp_path):
    limit = "import resource; now = int(open('/proc/self/statm').read().split()[0]) * 4096; \
resource.setrlimit(resource.RLIMIT_AS, (now + (400 << 20), -1)); \
few = here.load('digits', here.TASK); here.ARCHITECTURE = here.Architecture.uniform(embed_dim=256, depth=8, num_heads=8, \
mlp_ratio=4)"
    _, err = child(tmp_path, before=limit, recipe="Recipe(batch_size=600)").communicate()
    assert err.splitlines()[-1] == (
        "RuntimeError: out of memory with 600 images per batch; try --batch-size 300 --accumulate 2"
    )


@pytest.mark.slow
def test_recordings_are_trained_on(tmp_path):
    task = dataclasses.replace(Task.preset("nmnist"), time_steps=2)
    few = first(load("digits-saccades", task), 80, 20)
    result = train(Assignment(ARCHITECTURE, task, few, Recipe(epochs=2, batch_size=16, erasing=0.25)), tmp_path)
    assert result.log[-1].loss < result.log[0].loss
    network, _ = checkpoint.load_network(result.path)
    assert network.task == task


def test_a_finished_training_is_not_repeated(few, whole):
    before = whole.path.read_bytes()
    assert train(Assignment(ARCHITECTURE, TASK, few, RECIPE), whole.path.parent) == whole
    assert whole.path.read_bytes() == before


def test_a_folder_of_another_training_is_refused(few, whole):
    folder = whole.path.parent
    with pytest.raises(ValueError, match="trained with epochs 3, not 4"):
        train(Assignment(ARCHITECTURE, TASK, few, dataclasses.replace(RECIPE, epochs=4)), folder)
    other = Architecture.uniform(embed_dim=32, depth=1, num_heads=2, mlp_ratio=1)
    with pytest.raises(ValueError, match="another architecture"):
        train(Assignment(other, TASK, few, RECIPE), folder)


def test_files_that_are_no_training_of_ours_are_told(few, whole, tmp_path):
    network, _ = checkpoint.load_network(whole.path)
    for name in (WEIGHTS, RESUME):
        folder = tmp_path / name
        folder.mkdir()
        checkpoint.save(folder / name, network.state_dict(), checkpoint.describe_network(network))
        with pytest.raises(ValueError, match=r"does not hold a training; choose another folder with -o"):
            train(Assignment(ARCHITECTURE, TASK, few, RECIPE), folder)
        (folder / name).write_bytes(b"cut")
        with pytest.raises(ValueError, match=r"truncated .*; delete it to train from the start, or choose another"):
            train(Assignment(ARCHITECTURE, TASK, few, RECIPE), folder)


def test_other_images_of_the_same_name_are_another_training(few, whole):
    images = few.train.images.copy()
    images[0] = 0
    other = dataclasses.replace(few, train=dataclasses.replace(few.train, images=images))
    with pytest.raises(ValueError, match="holds a training of other images of digits"):
        train(Assignment(ARCHITECTURE, TASK, other, RECIPE), whole.path.parent)


def test_training_on_data_of_another_task_is_refused(few, tmp_path):
    with pytest.raises(ValueError, match="data digits has 10 classes, task digits 7"):
        train(Assignment(ARCHITECTURE, dataclasses.replace(TASK, num_classes=7), few, RECIPE), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_good_weights(few, tmp_path):
    good = Recipe(epochs=2, batch_size=60)
    with pytest.raises(RuntimeError, match=r"the (loss is (nan|inf) at epoch 1, step 2|weights are NaN or infinite)"):
        train(Assignment(ARCHITECTURE, TASK, few, dataclasses.replace(good, lr=1e9, min_lr=1e9)), tmp_path / "first")
    assert not (tmp_path / "first" / WEIGHTS).exists()
    with pytest.raises(Stopped):
        train(Assignment(ARCHITECTURE, TASK, few, good), tmp_path, callbacks=TrainCallbacks(stopped=lambda: True))
    kept = (tmp_path / RESUME).read_bytes()
    poisoned = dataclasses.replace(few, normalisation=dataclasses.replace(few.normalisation, mean=(float("nan"),)))
    # Neurons hide it from the loss: what is no number does not fire.
    with pytest.raises(
        RuntimeError, match=r"weights are NaN or infinite after 3 steps; the last good weights are in .*"
    ):
        train(Assignment(ARCHITECTURE, TASK, poisoned, good), tmp_path)
    assert (tmp_path / RESUME).read_bytes() == kept


def test_patience_ends_a_training_that_gets_no_better(few, tmp_path):
    result = train(Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=9, lr=1e-8, min_lr=1e-8, patience=2)), tmp_path)
    accuracies = [line.validation_accuracy for line in result.log]
    best = accuracies.index(max(accuracies))
    assert len(accuracies) == best + 3 < 9


def test_two_batches_a_step_are_half_the_steps(few, tmp_path):
    lines = [
        train(
            Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=1, lr=1e-9, min_lr=0.0, **size)), tmp_path / str(index)
        ).log[0]
        for index, size in enumerate(({"batch_size": 90}, {"batch_size": 45, "accumulate": 2}))
    ]
    assert lines[0].lr == lines[1].lr
    assert lines[0].loss == pytest.approx(lines[1].loss, rel=0.02)


def test_half_precision_needs_a_gpu(few, tmp_path):
    with pytest.raises(ValueError, match="precision 16-mixed needs a GPU; use bf16-mixed or 32-true"):
        train(
            Assignment(ARCHITECTURE, TASK, few, Recipe(precision="16-mixed")),
            tmp_path,
            options=TrainOptions(accelerator="cpu"),
        )
    result = train(
        Assignment(ARCHITECTURE, TASK, few, Recipe(precision="bf16-mixed", epochs=2)),
        tmp_path,
        options=TrainOptions(accelerator="cpu"),
    )
    assert result.log[1].loss < result.log[0].loss


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("default")  # torch hides warnings of its own, which pytest brings out as errors
@pytest.mark.slow
def test_fused_training_is_the_same_training(few, tmp_path):
    recipe = Recipe(epochs=1, batch_size=60)
    plain, fused = (
        train(
            Assignment(ARCHITECTURE, TASK, few, recipe),
            tmp_path / str(fuse),
            options=TrainOptions(accelerator="cpu", fuse=fuse),
        )
        for fuse in (False, True)
    )
    assert fused.log[0].loss == pytest.approx(plain.log[0].loss, rel=1e-3)
    assert fused.measured.rates == pytest.approx(plain.measured.rates, rel=0.05, abs=1e-3)
    weights, expected = (checkpoint.load(trained.path)[0] for trained in (fused, plain))
    assert weights.keys() == expected.keys()


def test_fusing_needs_a_compiler(few, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="--compile needs the C\\+\\+ compiler no-such-compiler; install it, or leave"):
        train(
            Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=1)),
            tmp_path,
            options=TrainOptions(accelerator="cpu", fuse=True),
        )


def test_losses_by_hand():
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]])  # two steps, one image, two classes
    labels = torch.tensor([0])
    plain = Recipe(label_smoothing=0.0)
    assert float(loss_of(logits.mean(0), labels, plain)) == pytest.approx(np.log(1 + np.exp(-1)))
    tet = dataclasses.replace(plain, loss="tet", tet_lambda=0.25)
    entropy = (np.log(1 + np.exp(-2)) + np.log(2)) / 2
    assert float(loss_of(logits, labels, tet)) == pytest.approx(0.75 * entropy + 0.25 * 1.0)
    shares = torch.tensor([[0.5, 0.5]])
    assert float(loss_of(logits[1], shares, plain)) == pytest.approx(np.log(2))


def test_scalars_for_tensorboard(few, tmp_path):
    train(Assignment(ARCHITECTURE, TASK, few, Recipe(epochs=2)), tmp_path, options=TrainOptions(tensorboard=True))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "validation_accuracy", "mean_rate", "lr", "images_per_s"}
    assert [event.step for event in events.Scalars("loss")] == [1, 2]


@pytest.mark.slow
@pytest.mark.process
def test_processes_under_torchrun_train_one_network(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(CHILD).format(
            tests=os.path.dirname(__file__),
            before="",
            recipe="Recipe(epochs=2, batch_size=40, accumulate=3, clip_norm=1.0)",
        )
        + "\nimport torch.distributed\ntorch.distributed.destroy_process_group()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # Lines of two processes in one pipe run together.
    command += ["--log-dir", str(tmp_path / "logs"), "--redirects", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "out")], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "strides" not in done.stderr  # of gradients, which DDP lays out as the weights were when it began
    _, info = checkpoint.load(tmp_path / "out" / WEIGHTS)
    assert info["training"]["machine"].startswith("2 x CPU")
    log = info["training"]["log"]
    assert log[1]["loss"] < log[0]["loss"]
    printed = [path.read_text() for path in (tmp_path / "logs").rglob("stdout.log")]
    assert [text.count("0 5 5") for text in printed] == [1, 1]  # 180 images, 40 a batch, over both processes
    # Both have the same weights, though the last step of an epoch has fewer batches than the others.
    weights, others = (re.findall(r"weights (\S+)", text) for text in printed)
    assert len(weights) == 2
    assert weights == others


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


def foreign(folder):
    """Files that people take for a checkpoint, and what they are."""
    torch.save({"a": torch.zeros(2)}, folder / "new.pth")
    torch.save({"a": torch.zeros(2)}, folder / "old.pth", _use_new_zipfile_serialization=False)
    (folder / "empty.safetensors").touch()
    (folder / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")
    return {
        "new.pth": "a pickle that torch.save wrote (pickles can run programs, so none is read)",
        "old.pth": "a pickle that torch.save wrote (pickles can run programs, so none is read)",
        "empty.safetensors": "empty",
        "pointer.safetensors": "a pointer of Git LFS (git lfs pull fetches the file)",
        "bundle.zip": "an exported bundle",
    }


def test_files_that_are_taken_for_a_checkpoint_or_a_bundle_are_called_what_they_are(whole, tmp_path):
    for name, what in foreign(tmp_path).items():
        path = tmp_path / name
        told = f"{path} is {what}, not a checkpoint; give the model.safetensors that train wrote"
        for read in (
            checkpoint.load,
            checkpoint.load_network,
            lambda path: checkpoint.load_trained(path, ARCHITECTURE),
        ):
            with pytest.raises(ValueError, match="not a checkpoint") as caught:
                read(path)
            assert str(caught.value) == told
        if name != "bundle.zip":
            with pytest.raises(
                ValueError, match=r"not an exported bundle; give the DIR or .zip of an export"
            ) as caught:
                load_bundle(path)
            assert str(caught.value).startswith(f"{path} is {what}, not an exported")
    with pytest.raises(ValueError, match="safetensors is a safetensors file, not an exported bundle; give the DIR"):
        load_bundle(whole.path)


def test_a_pickle_as_a_checkpoint_ends_the_command_line_in_one_line(cli, tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "net.pth")
    ended = cli("describe", "C=16,depth=1,heads=2,ratio=2", "--checkpoint", "net.pth")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == (
        "error: net.pth is a pickle that torch.save wrote (pickles can run programs, so none is read), "
        "not a checkpoint; give the model.safetensors that train wrote\n"
    )
