import dataclasses
import pickle

import numpy as np
import pytest
import torch

from autost_optuna import Task, data
from autost_optuna.data import fit, load, nmnist, rate_images, saccades

FOLDER = "cifar-10-batches-py"
NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
CIFAR10, DIGITS, NMNIST = (Task.preset(name) for name in ("cifar10", "digits", "nmnist"))


def event(x, y, polarity, time=0):
    """The five bytes of an event."""
    return bytes([x, y]) + (polarity << 23 | time).to_bytes(3, "big")


def write_nmnist(folder, each=2):
    """N-MNIST's layout with `each` recordings of 40 random events a class, for training and for test."""
    generator = np.random.default_rng(0)
    for split in ("Train", "Test"):
        for label in range(10):
            place = folder / split / str(label)
            place.mkdir(parents=True)
            for number in range(each):
                x, y, polarity = (generator.integers(0, bound, 40).tolist() for bound in (34, 34, 2))
                events = [event(*values, 1000 * step) for step, values in enumerate(zip(x, y, polarity, strict=True))]
                (place / f"{number:05}.bin").write_bytes(b"".join(events))


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


def test_a_recording_worked_by_hand(tmp_path):
    # Five events in two frames: 5 // 2 in the first, the rest in the second. The clock runs over after the third.
    path = tmp_path / "a.bin"
    path.write_bytes(
        event(3, 1, 1, 100)
        + event(3, 1, 1, 200)
        + event(3, 1, 0, 8_388_607)
        + event(0, 240, 0, 0)  # no event: the clock ran over
        + event(33, 0, 1, 5)
        + event(0, 33, 0, 6)
    )
    assert path.read_bytes()[:5] == bytes([3, 1, 0b1000_0000, 0, 100])
    frames = nmnist.read(path, 2)
    assert (frames.dtype, frames.shape) == (np.uint8, (2, 2, 34, 34))
    expected = np.zeros((2, 2, 34, 34), int)
    expected[0, 1, 1, 3] = 2  # frame, polarity, y, x
    expected[1, 0, 1, 3] = expected[1, 1, 0, 33] = expected[1, 0, 33, 0] = 1
    assert np.array_equal(frames, expected)
    assert nmnist.read(path, 1).sum() == nmnist.read(path, 5).sum() == 5
    assert (nmnist.read(path, 5).sum((1, 2, 3)) == 1).all()


def test_frames_hold_equal_counts_and_every_event(tmp_path):
    write_nmnist(tmp_path)
    for steps in (1, 3, 7, 10, 40):
        frames = nmnist.read(tmp_path / "Train" / "3" / "00000.bin", steps)
        assert frames.sum((1, 2, 3)).tolist() == [40 // steps] * (steps - 1) + [40 // steps + 40 % steps]


def test_nmnist_as_its_layout_has_it(tmp_path):
    write_nmnist(tmp_path / "nmnist" / "extract")
    for root in (tmp_path, tmp_path / "nmnist", tmp_path / "nmnist" / "extract"):
        found = load("nmnist", NMNIST, root)
        assert found.train.labels.tolist() == sorted(list(range(10)) * 2)
        assert found.train.images[:].shape == (20, 10, 2, 34, 34)
        third = nmnist.read(tmp_path / "nmnist" / "extract" / "Test" / "1" / "00000.bin", 10)
        assert np.array_equal(found.test.images[np.array([5, 2])][1], third)


def test_only_the_recordings_that_are_drawn_are_read(tmp_path, monkeypatch):
    write_nmnist(tmp_path, each=5)
    read, seen = nmnist.read, []
    monkeypatch.setattr(nmnist, "read", lambda path, *how: (seen.append(path), read(path, *how))[1])
    drawn = rate_images(NMNIST, data="nmnist", root=tmp_path, count=3)
    assert len(set(seen)) == 3
    assert {path.parent.parent.name for path in seen} == {"Train"}
    assert drawn.images.shape == (3, 10, 2, 34, 34)
    assert torch.equal(drawn.images, torch.stack([torch.from_numpy(read(path, 10)).float() for path in seen]))
    assert rate_images(NMNIST, data="nmnist", root=tmp_path, count=3).fingerprint == drawn.fingerprint


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "0 events do not fill 10 frames"),
        (lambda path: path.write_bytes(event(1, 1, 1) * 9), "9 events do not fill 10 frames"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), "198 bytes are not events of 5"),
        (lambda path: path.write_bytes(path.read_bytes()[1:-4]), "is outside 34x34 pixels"),
        (lambda path: path.write_bytes(event(1, 1, 1) * 20 + event(34, 2, 0)), "an event at x 34, y 2 is outside"),
        (lambda path: path.write_bytes(event(1, 1, 1) * 2560), "a pixel has 256 events in one frame"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot read .*00000.bin"),
    ],
)
def test_damaged_recordings_are_refused(tmp_path, spoil, said):
    write_nmnist(tmp_path)
    path = tmp_path / "Train" / "0" / "00000.bin"
    spoil(path)
    with pytest.raises(ValueError, match=said) as caught:
        load("nmnist", NMNIST, tmp_path).train.images[:1]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_recordings_are_said_with_where_they_come_from(tmp_path):
    with pytest.raises(
        ValueError, match=r"no N-MNIST recordings .* https://www.garrickorchard.com/.* DIR/nmnist/extract"
    ):
        load("nmnist", NMNIST, tmp_path / "nowhere")
    write_nmnist(tmp_path, each=0)
    with pytest.raises(ValueError, match=r"no recordings such as 0/00002.bin in .*Train"):
        load("nmnist", NMNIST, tmp_path)


def test_simulated_events_are_whole_counts_that_move_with_the_digit():
    still = load("digits", DIGITS)
    moved = load("digits-saccades", NMNIST)
    assert np.array_equal(moved.train.labels, still.train.labels)
    frames = moved.train.images[:50]
    assert (frames.dtype, frames.shape) == (np.uint8, (50, 10, 2, 34, 34))
    assert 2500 < frames.sum((1, 2, 3, 4)).mean() < 5000  # N-MNIST has about 4,150
    assert (frames.sum((2, 3, 4)) > 0).all()
    assert np.array_equal(frames[[7, 3]], moved.train.images[np.array([7, 3])])
    blank = saccades.record(4, np.zeros((1, 1, 8, 8), np.uint8))
    assert blank.sum() == 0
    rises_and_falls = frames.astype(int).sum(1)  # the camera ends where it began
    assert np.array_equal(rises_and_falls[:, 1], rises_and_falls[:, 0])


def test_a_digit_before_the_camera_by_hand():
    # One bright pixel, the fourth of its row and column: its centre lies 1.5 pixels left of and above the camera's, where
    # the camera's sixteenth pixel has its own.
    digit = np.zeros((1, 1, 8, 8), np.uint8)
    digit[0, 0, 3, 3] = 16
    seen = saccades.view(digit, 0, 0)[0]
    assert np.argwhere(seen == 16 * 36).tolist() == [[15, 15]]
    assert seen[15, 12:19].tolist() == [16 * 6 * weight for weight in (0, 2, 4, 6, 4, 2, 0)]
    assert np.array_equal(saccades.view(digit, 4, -2)[0][14:20, 14:20], seen[15:21, 12:18])


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        (
            "cifar10",
            "nmnist",
            "task nmnist reads recordings, data cifar10 holds images; choose digits-saccades or nmnist",
        ),
        ("digits", "nmnist", "task nmnist reads recordings"),
        ("nmnist", "cifar10", "task cifar10 reads images, data nmnist holds recordings; choose digits or cifar10"),
        ("digits-saccades", "digits", "task digits reads images"),
    ],
)
def test_images_and_recordings_are_not_confused(tmp_path, name, task, said):
    with pytest.raises(ValueError, match=said):
        load(name, Task.preset(task), tmp_path)


def test_counts_are_read_as_they_are_and_never_resized():
    simulated = load("digits-saccades", NMNIST)
    frames = simulated.train.images[:2]
    assert torch.equal(fit(frames, simulated.normalisation, NMNIST), torch.from_numpy(frames).float())
    for task in (dataclasses.replace(NMNIST, image_size=32), dataclasses.replace(NMNIST, channels=1), DIGITS):
        with pytest.raises(ValueError, match="do not fit task"):
            fit(frames, simulated.normalisation, task)


def test_cifar10_as_its_layout_has_it(tmp_path):
    pixels, labels = write_cifar10(tmp_path)
    for root in (tmp_path, tmp_path / FOLDER):
        found = load("cifar10", CIFAR10, root)
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
    found = load("cifar10", CIFAR10, tmp_path)
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
        (lambda path: path.write_bytes(pickle.dumps([1, 2])), "truncated or no CIFAR-10 batch"),
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
        load("cifar10", CIFAR10, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "stolen").exists()


def test_unknown_data_and_missing_root():
    with pytest.raises(ValueError, match="choose one of digits, cifar10"):
        load("mnist", CIFAR10)
    with pytest.raises(ValueError, match="needs --data-root"):
        load("cifar10", CIFAR10)
    with pytest.raises(ValueError, match="needs --data-root, the folder that holds nmnist"):
        load("nmnist", NMNIST)


def test_digits_are_the_1797_of_scikit_learn():
    digits = load("digits", DIGITS)
    assert (len(digits.train.labels), len(digits.test.labels)) == (1438, 359)
    assert digits.train.images.max() == 16
    together = np.concatenate([digits.train.images, digits.test.images])
    x = (together / 16 - digits.normalisation.mean[0]) / digits.normalisation.std[0]
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01


def test_images_become_what_the_task_reads():
    digits = load("digits", DIGITS)
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
