import pickle

import numpy as np
import pytest
import torch

from autost_optuna import Task, data
from autost_optuna.data import fit, load, rate_images
from autost_optuna.data.cifar10 import FOLDER

NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def write_cifar10(root, count=6):
    """CIFAR-10's layout with `count` random images a batch; returns pixels and labels of all training batches."""
    generator = np.random.default_rng(0)
    folder = root / FOLDER
    folder.mkdir(parents=True)
    pixels, labels = [], []
    for name in NAMES:
        images = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        classes = [int(c) for c in generator.integers(0, 10, count)]
        content = {"batch_label": name, "data": images, "labels": classes, "filenames": ["x.png"] * count}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        pixels.append(images)
        labels.extend(classes)
    return np.concatenate(pixels[:5]), np.array(labels[: 5 * count])


def test_cifar10_as_its_layout_has_it(tmp_path):
    pixels, labels = write_cifar10(tmp_path)
    for root in (tmp_path, tmp_path / FOLDER):
        found = load("cifar10", root)
        assert found.train.images.shape == (30, 3, 32, 32)
        assert found.test.images.shape == (6, 3, 32, 32)
        assert np.array_equal(found.train.images.reshape(30, -1), pixels)
        assert np.array_equal(found.train.labels, labels)


def test_a_batch_of_python_2_is_read_too(tmp_path):
    # The original files: byte strings as str, an array rebuilt by numpy.core.multiarray._reconstruct.
    write_cifar10(tmp_path, count=1)
    array = np.arange(3072, dtype=np.uint8).reshape(1, 3072)
    content = pickle.dumps({"data": array, "labels": [7]}, protocol=2)
    content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / FOLDER / "test_batch").write_bytes(content)
    found = load("cifar10", tmp_path)
    assert found.test.labels.tolist() == [7]
    assert np.array_equal(found.test.images.reshape(1, -1), array)


class Evil:
    def __reduce__(self):
        return (open, ("stolen", "w"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "no CIFAR-10 batch at .*test_batch; download"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "truncated"),
        (lambda path: path.write_bytes(b""), "truncated"),
        (lambda path: path.write_bytes(pickle.dumps([1, 2])), "truncated or not a CIFAR-10 batch"),
        (lambda path: path.write_bytes(pickle.dumps({"data": 1, "labels": [1]})), "another form"),
        (
            lambda path: path.write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [11]})),
            "labels",
        ),
        (lambda path: path.write_bytes(pickle.dumps({"data": Evil(), "labels": [1]})), "asks for .*open"),
    ],
)
def test_missing_damaged_and_malicious_files_are_refused(tmp_path, monkeypatch, spoil, said):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path)
    spoil(tmp_path / FOLDER / "test_batch")
    with pytest.raises(ValueError, match=said) as caught:
        load("cifar10", tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "stolen").exists()


def test_unknown_data_and_missing_root():
    with pytest.raises(ValueError, match="choose one of digits, cifar10"):
        load("mnist")
    with pytest.raises(ValueError, match="needs --data-root"):
        load("cifar10")


def test_digits_are_the_1797_of_scikit_learn():
    digits = load("digits")
    assert (len(digits.train.labels), len(digits.test.labels)) == (1438, 359)
    assert digits.train.images.max() == 16
    together = np.concatenate([digits.train.images, digits.test.images])
    x = (together / 16 - digits.normalisation.mean[0]) / digits.normalisation.std[0]
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01


def test_images_become_what_the_task_reads():
    digits = load("digits")
    pixels = digits.train.images[:3]
    own = fit(pixels, digits.normalisation, Task.preset("digits"))
    assert torch.equal(own[:, 0], (torch.from_numpy(pixels[:, 0]).float() / 16 - 0.305) / 0.376)
    large = fit(pixels, digits.normalisation, Task.preset("cifar10"))
    assert large.shape == (3, 3, 32, 32)
    assert torch.equal(large[:, 0], large[:, 2])
    assert large.mean() == pytest.approx(own.mean().item(), abs=0.02)
    colours = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    grey = fit(colours, data.NORMALISATIONS["cifar10"], Task.preset("digits"))
    assert grey.shape == (2, 1, 8, 8)


def test_rate_images_are_drawn_by_the_seed_and_told_apart_by_fingerprint():
    task = Task.preset("digits")
    one, again, other = (rate_images(task, count=4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.images, again.images)
    assert one.fingerprint == again.fingerprint != other.fingerprint
    more = rate_images(task, count=6, seed=0)
    assert torch.equal(more.images[:4], one.images)
    assert more.fingerprint != one.fingerprint
    for count in (0, -1, 1439):
        with pytest.raises(ValueError, match=f"images {count} is out of range"):
            rate_images(task, count=count)
