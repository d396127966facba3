import codecs
import dataclasses
import hashlib
import pickle
import shutil
import sys
import types
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import FOLDER, event, write_cifar10, write_images, write_nmnist
from PIL import Image

from autost_optuna import Task, data
from autost_optuna.data import (
    COUNTS,
    Preparation,
    Sample,
    fit,
    imagefolder,
    load,
    nmnist,
    own_data,
    rate_images,
    saccades,
    stand_in_warning,
)

ON_DEMAND, DOWNLOAD = Preparation(cache=False), Preparation(download=True)
CIFAR10, CIFAR100, DIGITS, IMAGENET, NMNIST = (
    Task.preset(name) for name in ("cifar10", "cifar100", "digits", "imagenet", "nmnist")
)


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
    drawn = rate_images(NMNIST, Sample(data="nmnist", data_root=tmp_path, images=3))
    assert len(set(seen)) == 3
    assert {path.parent.parent.name for path in seen} == {"Train"}
    assert drawn.images.shape == (3, 10, 2, 34, 34)
    assert torch.equal(drawn.images, torch.stack([torch.from_numpy(read(path, 10)).float() for path in seen]))
    assert rate_images(NMNIST, Sample(data="nmnist", data_root=tmp_path, images=3)).fingerprint == drawn.fingerprint


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
    with pytest.raises(
        ValueError, match=r"class 0 has no recordings such as 00002.bin in .*Train/0; download Train.zip"
    ):
        load("nmnist", NMNIST, tmp_path)


@pytest.mark.parametrize("split", ["Train", "Test"])
def test_a_digit_without_recordings_is_refused_by_its_name(tmp_path, split):
    write_nmnist(tmp_path)
    for path in (tmp_path / split / "7").iterdir():
        path.rename(path.with_name(f"._{path.name}"))  # as macOS leaves them, which are no recordings
    with pytest.raises(ValueError, match=rf"class 7 has no recordings such as 00002.bin in .*{split}/7; download"):
        load("nmnist", NMNIST, tmp_path)
    shutil.rmtree(tmp_path / split / "7")
    with pytest.raises(ValueError, match=rf"class 7 has no recordings such as 00002.bin in .*{split}/7; download"):
        load("nmnist", NMNIST, tmp_path)


def test_hidden_files_are_no_digits_and_capitals_are_no_matter(tmp_path):
    write_nmnist(tmp_path)
    expected = load("nmnist", NMNIST, tmp_path, preparation=ON_DEMAND).train.images[:]
    place = tmp_path / "Train" / "3"
    for name in ("._00000.bin", ".DS_Store", "Thumbs.db", ".00001.bin"):
        (place / name).write_bytes(b"no recording")
    (place / "00001.bin").rename(place / "00001.BIN")
    found = load("nmnist", NMNIST, tmp_path, preparation=ON_DEMAND)
    assert np.array_equal(found.train.images[:], expected)


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


def test_simulated_events_are_the_same_on_every_machine():
    found = hashlib.sha256(saccades.record(4, load("digits", DIGITS).test.images).tobytes()).hexdigest()
    assert found == "5f9e407c6081fd3b41abb1ef026604a71e2dd4f32b7e8650739da073379126cd"


@pytest.mark.parametrize("name", ["cifar10dvs", "dvs128gesture"])
def test_simulated_events_before_a_larger_camera(name):
    task = Task.preset(name)
    frames = load("digits-saccades", task).train.images[:8]
    assert frames.shape == (8, *task.input_shape)
    assert (frames.sum((2, 3, 4)) > 0).all()
    rises_and_falls = frames.astype(int).sum(1)
    assert np.array_equal(rises_and_falls[:, 1], rises_and_falls[:, 0])
    small = load("digits-saccades", dataclasses.replace(NMNIST, time_steps=task.time_steps)).train.images[:8]
    ratio = frames.sum((1, 2, 3, 4)) / small.sum((1, 2, 3, 4))
    assert (
        (ratio > 0.7 * (11 / 3) ** 2) & (ratio < 1.4 * (11 / 3) ** 2)
    ).all()  # a pixel's events stay, its area grows
    digit = np.zeros((1, 1, 8, 8), np.uint8)
    digit[0, 0, 3, 3] = 16
    seen = saccades.view(digit, 0, 0, 128)[0]  # 11 pixels wide: its centre 5.5 pixels left of and above the camera's
    assert np.argwhere(seen == 16 * 22**2).tolist() == [[58, 58]]
    assert seen[58, 46:50].tolist() == [0, 0, 16 * 22 * 2, 16 * 22 * 4]


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


def test_counts_are_read_as_they_are():
    simulated = load("digits-saccades", NMNIST)
    frames = simulated.train.images[:2]
    assert torch.equal(fit(frames, simulated.normalisation, NMNIST), torch.from_numpy(frames).float())
    for task in (dataclasses.replace(NMNIST, image_size=32), dataclasses.replace(NMNIST, channels=1), DIGITS):
        with pytest.raises(ValueError, match="do not fit task"):
            fit(frames, simulated.normalisation, task)


def test_counts_are_added_up_for_smaller_tasks_and_a_third_channel():
    recordings = load("digits-saccades", NMNIST).train.images[:2]
    smaller = dataclasses.replace(NMNIST, image_size=17, channels=3)
    found = fit(recordings, COUNTS, smaller)
    cells = np.asarray(recordings, np.float32).reshape(2, 10, 2, 17, 2, 17, 2).sum((4, 6))
    assert np.array_equal(found[:, :, :2], cells)
    assert np.array_equal(found[:, :, 2], cells.sum(2))


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


def saved_again(content, way):
    """Bytes of a batch as other programs write it again."""
    array = content["data"]
    if way == "keys of bytes":
        return pickle.dumps({key.encode(): value for key, value in content.items()}, protocol=4)
    if way == "numpy 1, protocol 5":  # which has its functions under another name, a byte shorter, in a frame of bytes
        written = pickle.dumps(content, protocol=5).replace(b"\x13numpy._core.numeric", b"\x12numpy.core.numeric")
        return written[:3] + (len(written) - 11).to_bytes(8, "little") + written[11:]
    if way == "labels as an array":
        return pickle.dumps({**content, "labels": np.array(content["labels"])}, protocol=5)
    if way == "labels of numpy":
        return pickle.dumps({**content, "labels": list(np.array(content["labels"]))}, protocol=4)
    if way == "columns first":
        return pickle.dumps({**content, "data": np.asfortranarray(array)}, protocol=5)
    if way == "a slice":
        return pickle.dumps({**content, "data": np.concatenate([array, array], 1)[:, :3072]}, protocol=5)
    return pickle.dumps(content, protocol=int(way))


WAYS = ["keys of bytes", "numpy 1, protocol 5", "labels as an array", "labels of numpy", "columns first", "a slice"]


@pytest.mark.parametrize("way", [*WAYS, *"012345"])
def test_a_batch_that_was_saved_again_is_read_too(tmp_path, way):
    write_cifar10(tmp_path, count=1)
    array = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    content = saved_again({"data": array, "labels": [7, 0, 9]}, way)
    (tmp_path / FOLDER / "test_batch").write_bytes(content)
    found = load("cifar10", CIFAR10, tmp_path)
    assert found.test.labels.tolist() == [7, 0, 9]
    assert np.array_equal(found.test.images.reshape(3, -1), array)


class Evil:
    """Calls a function when it is unpickled."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


ONE = {"data": np.zeros((1, 3072), np.uint8), "labels": [1]}
STEAL = Evil(open, "stolen", "w")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: whole[:500], "cannot be read: pickle data was truncated"),
        (lambda whole: b"", "cannot be read: it is empty"),
        (lambda whole: b"<html>", "cannot be read: invalid load key, '<'"),
        (lambda whole: pickle.dumps([1, 2]), "it holds a list, not the arrays of a batch"),
        (lambda whole: pickle.dumps({"labels": [1]}), "it has no data, but labels;"),
        (lambda whole: pickle.dumps({}), "it has no data, but nothing;"),
        (lambda whole: pickle.dumps({**ONE, "data": 1}), "another form"),
        (lambda whole: pickle.dumps({**ONE, "labels": 1}), "another form"),
        (lambda whole: pickle.dumps({**ONE, "labels": ["cat"]}), "its labels are not whole numbers"),
        (lambda whole: pickle.dumps({**ONE, "labels": [11]}), "its labels are not classes 0 to 9"),
        (
            lambda whole: pickle.dumps({**ONE, "data": np.zeros((1, 32, 32, 3))}),
            r"its data are float64 of shape \(1, 32, 32, 3\), not uint8 of \(1, 3072\)",
        ),
        (lambda whole: pickle.dumps({**ONE, "data": STEAL}), "it asks for .*open, which no batch of images needs"),
        (lambda whole: pickle.dumps({**ONE, "data": Evil(codecs.encode, "abc", "rot13")}), "the encoding 'rot13'"),
        (lambda whole: pickle.dumps({**ONE, "data": Evil(np.load, "x")}), "it asks for numpy.load"),
    ],
)
def test_damaged_and_malicious_files_are_refused(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path)
    path = tmp_path / FOLDER / "test_batch"
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(ValueError, match=said) as caught:
        load("cifar10", CIFAR10, tmp_path)
    assert str(caught.value).startswith(f"CIFAR-10 batch {path} cannot be read: ")
    assert str(caught.value).endswith("cifar.html again")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "stolen").exists()


def test_missing_batches_say_where_they_come_from(tmp_path):
    write_cifar10(tmp_path)
    path = tmp_path / FOLDER / "test_batch"
    path.unlink()
    with pytest.raises(ValueError, match=r"no CIFAR-10 batch at .*test_batch; download"):
        load("cifar10", CIFAR10, tmp_path)
    path.mkdir()
    with pytest.raises(ValueError, match=r"cannot read .*test_batch \(Is a directory\)"):
        load("cifar10", CIFAR10, tmp_path)


def write_cifar100(root, count=6):
    """CIFAR-100's layout with `count` random images a split, and twenty times as many of its own fields as are read."""
    generator = np.random.default_rng(1)
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        images = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        fine = [int(c) for c in generator.integers(0, 100, count - 1)] + [99]
        content = {
            "data": images,
            "fine_labels": fine,
            "coarse_labels": [c // 5 for c in fine],
            "filenames": ["x"] * count,
        }
        (folder / name).write_bytes(pickle.dumps({**content, "batch_label": name}, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple"]}, protocol=2))
    return images, fine


def test_cifar100_as_its_layout_has_it(tmp_path):
    pixels, labels = write_cifar100(tmp_path)
    for root in (tmp_path, tmp_path / "cifar-100-python"):
        found = load("cifar100", CIFAR100, root)
        assert (found.name, found.num_classes) == ("cifar100", 100)
        assert found.train.images.shape == found.test.images.shape == (6, 3, 32, 32)
        assert np.array_equal(found.test.images.reshape(6, -1), pixels)
        assert found.test.labels.tolist() == labels
    seen = fit(found.test.images[:1], found.normalisation, CIFAR100)
    assert seen[0, 2, 0, 0].item() == pytest.approx((pixels[0, 2048] / 255 - 0.4409) / 0.2762, rel=1e-5)
    path = tmp_path / "cifar-100-python" / "test"
    for content, said in (
        ({"data": np.zeros((1, 3072), np.uint8), "fine_labels": [100]}, "its labels are not classes 0 to 99"),
        (
            {"data": np.zeros((1, 3072), np.uint8), "labels": [1]},
            "CIFAR-100 batch .* has no fine_labels, but data, labels;",
        ),
        ({"data": STEAL, "fine_labels": [1]}, "asks for .*open"),
    ):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=said):
            load("cifar100", CIFAR100, tmp_path)
    path.unlink()
    with pytest.raises(
        ValueError, match=r"no CIFAR-100 batch at .*test; download cifar-100-python.tar.gz from https://www.cs"
    ):
        load("cifar100", CIFAR100, tmp_path)


# Downloads.


def stand_in(monkeypatch, download):
    """torchvision without its network: `download(folder)` is what its CIFAR10 does."""
    datasets = types.ModuleType("torchvision.datasets")
    datasets.CIFAR10 = lambda root, download: (print("Files already downloaded"), fetch(root))
    package = types.ModuleType("torchvision")
    package.datasets = datasets
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    fetch = download


def test_a_download_is_there_whole_and_once(tmp_path, monkeypatch, capsys):
    asked = []

    def download(root):
        asked.append(root)
        write_cifar10(Path(root))
        (Path(root) / "cifar-10-python.tar.gz").write_bytes(b"the archive")

    stand_in(monkeypatch, download)
    root = tmp_path / "new" / "data"
    for _ in range(2):
        assert load("cifar10", CIFAR10, root, preparation=DOWNLOAD).train.images.shape == (30, 3, 32, 32)
    assert load("cifar10", CIFAR10, root / FOLDER, preparation=DOWNLOAD).train.images.shape == (30, 3, 32, 32)
    assert len(asked) == 1
    assert [path.name for path in root.iterdir()] == [FOLDER]
    printed = capsys.readouterr()
    assert printed.out == ""  # which is for results
    assert "already downloaded" in printed.err


def interrupted(root):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (urllib.error.URLError("no route\nto host"), "the download of CIFAR-10 failed .*no route to host"),
        (RuntimeError("File not found or corrupted."), "failed .File not found or corrupted"),
        (OSError(28, "No space left on device"), "failed .*No space left on device"),
    ],
)
def test_a_failed_download_leaves_nothing(tmp_path, monkeypatch, error, said):
    def download(root):
        (Path(root) / FOLDER).mkdir()
        (Path(root) / FOLDER / "data_batch_1").write_bytes(b"half")
        raise error

    stand_in(monkeypatch, download)
    with pytest.raises(RuntimeError, match=said) as caught:
        load("cifar10", CIFAR10, tmp_path, preparation=DOWNLOAD)
    assert "by hand" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    stand_in(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("cifar10", CIFAR10, tmp_path, preparation=DOWNLOAD)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a file").touch()
    with pytest.raises(ValueError, match=r"cannot write to .*a file/data"):
        load("cifar10", CIFAR10, tmp_path / "a file" / "data", preparation=DOWNLOAD)


def test_where_torchvision_cannot_be_imported_the_steps_are_said(tmp_path):
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        pass
    else:
        pytest.skip("torchvision can be imported here")
    for name, task, archive in (("cifar10", CIFAR10, "cifar-10"), ("cifar100", CIFAR100, "cifar-100")):
        with pytest.raises(
            ValueError, match=f"torchvision cannot be imported here .*download {archive}-python"
        ) as caught:
            load(name, task, tmp_path, preparation=DOWNLOAD)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_downloaded_says_where_it_lies(tmp_path):
    with pytest.raises(ValueError, match=r"download Train.zip and Test.zip from https://.* by hand"):
        load("nmnist", NMNIST, tmp_path, preparation=DOWNLOAD)
    with pytest.raises(ValueError, match="put your images into DIR/train"):
        load("imagefolder", IMAGENET, tmp_path, preparation=DOWNLOAD)


# Folders of images.


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_of_images(tmp_path, test):
    write_images(tmp_path, names=("dog", "cat", "ant"), test=test)
    for task in (CIFAR10, IMAGENET, dataclasses.replace(CIFAR10, name="own", image_size=8)):
        found = load("imagefolder", task, tmp_path)
        assert found.num_classes == 3
        assert found.train.labels.tolist() == found.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
        size = task.image_size
        assert found.train.images[:].shape == (6, 3, size, size)
        chosen = found.test.images[np.array([4, 2])]
        assert (chosen.dtype, chosen.shape) == (np.uint8, (2, 3, size, size))
        assert {tuple(pixel) for pixel in chosen[0].reshape(3, -1).T.tolist()} == {(10, 20, 30)}  # dog, written first
        assert {tuple(pixel) for pixel in chosen[1].reshape(3, -1).T.tolist()} == {(11, 20, 30)}
        assert chosen.flags.writeable
    two = Sample(data="imagefolder", data_root=tmp_path, images=2)
    assert rate_images(IMAGENET, two).images.shape == (2, 3, 224, 224)
    grey = rate_images(DIGITS, two)
    assert grey.images.shape == (2, 1, 8, 8)
    assert (own_data(IMAGENET), own_data(CIFAR100), own_data(task)) == ("imagefolder", "cifar100", "imagefolder")


def test_an_image_is_scaled_and_cut_to_its_middle(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3)
    Image.fromarray(pixels).save(path)
    assert np.array_equal(imagefolder.read(path, 2), pixels[:, 2:4].transpose(2, 0, 1))  # wide: columns 2 and 3 of 6
    Image.fromarray(pixels.transpose(1, 0, 2).copy()).save(path)
    assert np.array_equal(imagefolder.read(path, 2), pixels[:, 2:4].transpose(2, 1, 0))  # high: rows 2 and 3
    Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8))).save(path)
    assert imagefolder.read(path, 1)[:, 0, 0] == pytest.approx(pixels[:, 2:4].mean((0, 1)), abs=1.5)
    assert imagefolder.read(path, 16).shape == (3, 16, 16)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_images_of_every_mode_become_three_channels(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (9, 9), (255, 255, 255)).convert(mode).save(path)
    assert imagefolder.read(path, 4).tolist() == np.full((3, 4, 4), 255).tolist()


def test_a_large_jpeg_is_read_at_the_size_that_is_needed(tmp_path):
    path = tmp_path / "a.jpg"
    waves = np.sin(np.linspace(0, 200, 900))[:, None] * np.cos(np.linspace(0, 200, 900)) * 100 + 128
    image = Image.fromarray(waves.astype(np.uint8)).convert("RGB")
    image.save(path, quality=95)
    exact = np.asarray(image.resize((200, 200), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert abs(imagefolder.read(path, 200).astype(int) - exact).max() <= 12


def test_folders_of_images_that_are_damaged(tmp_path):
    with pytest.raises(ValueError, match=r"no folder .*train; put your images into DIR/train/<class>"):
        load("imagefolder", IMAGENET, tmp_path)
    write_images(tmp_path)
    whole = (tmp_path / "train" / "dog" / "b.JPG").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"GIF89a", whole.replace(b"\xff\xda", b"\xff\xff")):
        path = tmp_path / "train" / "cat" / "b.JPG"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as an image") as caught:
            load("imagefolder", CIFAR10, tmp_path).train.images[np.array([0, 1])]
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "test" / "cow").mkdir()
    with pytest.raises(ValueError, match=r"class cow is in only one of .*train and .*test"):
        load("imagefolder", CIFAR10, tmp_path)


@pytest.mark.slow
def test_a_search_on_imagenet_takes_the_folder_that_is_given(cli, tmp_path):
    write_images(tmp_path / "images", names=[f"{number:03}" for number in range(1000)], size=(16, 16))
    (tmp_path / "toy.toml").write_text("embed_dim = [16]\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1, 2]\n")
    create = ["study", "create", "own", "--space", "toy.toml", "--task", "imagenet", "--data-root", "images"]
    assert "rates on 4 images of imagefolder" in cli(*create).stdout


# Data that is built in.


def test_unknown_data_and_missing_root():
    with pytest.raises(ValueError, match="choose one of digits, cifar10"):
        load("mnist", CIFAR10)
    with pytest.raises(ValueError, match="needs --data-root"):
        load("cifar10", CIFAR10)
    with pytest.raises(ValueError, match="needs --data-root, the folder that holds nmnist"):
        load("nmnist", NMNIST)
    with pytest.raises(ValueError, match="data imagefolder needs --data-root, the folder that holds train and test"):
        load("imagefolder", IMAGENET)
    with pytest.raises(ValueError, match="data cifar100 needs --data-root, the folder that holds cifar-100-python"):
        load("cifar100", CIFAR100)


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
    one, again, other = (rate_images(task, Sample(images=4, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one.images, again.images)
    assert one.fingerprint == again.fingerprint != other.fingerprint
    more = rate_images(task, Sample(images=6, seed=0))
    assert torch.equal(more.images[:4], one.images)
    assert more.fingerprint != one.fingerprint
    for count in (0, -1, 1439):
        with pytest.raises(ValueError, match=f"images {count} is out of range"):
            rate_images(task, Sample(images=count))


@pytest.mark.parametrize(
    ("data", "task", "said"),
    [
        (
            "digits",
            "cifar10",
            "rates for cifar10 are measured on digits, scaled up; give --data cifar10 --data-root DIR",
        ),
        ("digits", "imagenet", "measured on digits, scaled up; give --data imagefolder --data-root DIR for its own im"),
        ("cifar100", "cifar10", "rates for cifar10 are measured on cifar100; give --data cifar10 --data-root DIR"),
        ("cifar10", "digits", "rates for digits are measured on cifar10, scaled down; give --data digits --data-root"),
        ("digits-saccades", "nmnist", "digits-saccades, simulated; give --data nmnist --data-root DIR for its own rec"),
        ("digits", "digits", None),
        ("cifar10", "cifar10", None),
        ("imagefolder", "cifar10", None),
        ("nmnist", "nmnist", None),
        (
            "digits",
            Task(name="mine", image_size=28, channels=1, num_classes=10),
            "digits, scaled up; give --data imagef",
        ),
        ("digits", Task(name="mine", image_size=8, channels=1, num_classes=10), None),
        ("cifar10", Task(name="mine", image_size=48, channels=3, num_classes=10), None),
        ("cifar10", Task(name="mine", image_size=32, channels=3, num_classes=3), "mine are measured on cifar10; give"),
        (
            "digits-saccades",
            Task(name="mine", image_size=34, channels=2, num_classes=10, events=True),
            "measured on digits-saccades, simulated; give --data NAME --data-root DIR for its own recordings",
        ),
    ],
)
def test_images_of_another_task_are_named_with_the_option_that_gives_its_own(data, task, said):
    found = stand_in_warning(data, Task.preset(task) if isinstance(task, str) else task)
    assert (found is None) if said is None else (said in found)
