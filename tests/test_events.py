"""Event files written byte by byte from the published formats, damaged ones, and the frames that are kept of them."""

import __future__

import ast
import dataclasses
import importlib.util
import os
import resource
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from makers import event, write_nmnist
from warm import PIPE, Popen

from autost_optuna import Task
from autost_optuna.data import Preparation, Sample, aedat, cifar10dvs, dvs128gesture, load, nmnist, rate_images
from autost_optuna.data.events import Events, by_count, by_time, gather, saturated

NMNIST, CIFAR10DVS, GESTURE = (Task.preset(name) for name in ("nmnist", "cifar10dvs", "dvs128gesture"))
ON_DEMAND, DOWNLOAD = Preparation(cache=False), Preparation(download=True)
HEADER_2 = (
    b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Data format is int32 address, int32 timestamp\r\n"
)
HEADER_3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-10-12 15:22:35\r\n#!END-HEADER\r\n"


def address(x, y, bit):
    """The four bytes of a DVS128's address."""
    return struct.pack(">I", y << 8 | x << 1 | bit)


def aedat_2(events):
    """An AEDAT 2.0 file of (x, y, bit, time)."""
    return HEADER_2 + b"".join(address(x, y, bit) + struct.pack(">I", time) for x, y, bit, time in events)


def packet(events, kind=1, overflow=0, number=None, size=8, body=None):
    """An AEDAT 3.1 packet of (x, y, polarity, time, valid)."""
    if body is None:
        body = b"".join(struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t) for x, y, p, t, valid in events)
    capacity = len(body) // size
    number = capacity if number is None else number
    return struct.pack("<hhiiiiii", kind, 1, size, 4, overflow, capacity, number, number) + body


def stream(seed, count, side=128, start=1000, step=50):
    """(x, y, bit, time) of random events in order."""
    generator = np.random.default_rng(seed)
    x, y, bit = (generator.integers(0, bound, count).tolist() for bound in (side, side, 2))
    times = (start + np.cumsum(generator.integers(0, step, count))).tolist()
    return list(zip(x, y, bit, times, strict=True))


def write_cifar10dvs(folder, each=10, count=60):
    for label, name in enumerate(cifar10dvs.CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            path = folder / name / f"cifar10_{name}_{number}.aedat"
            path.write_bytes(aedat_2(stream(100 * label + number, count)))


def write_gestures(folder, count=600):
    """Two recordings for training, one for test, with three labelled gestures each; events before, between and after them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("user01_lab", "user02_led", "user24_lab")):
        events = [(*values, 1) for values in stream(number, count, step=20)]
        first, second = packet(events[: count // 2]), packet(events[count // 2 :])
        (folder / f"{name}.aedat").write_bytes(HEADER_3 + first + second)
        rows = "".join(f"{gesture},{start},{end}\n" for gesture, start, end in ROWS)
        (folder / f"{name}_labels.csv").write_text(f"{dvs128gesture.LABELS_HEADER}\n{rows}")
    (folder / "trials_to_train.txt").write_text("user01_lab.aedat\nuser02_led.aedat\n\n")
    (folder / "trials_to_test.txt").write_text("user24_lab.aedat\n")


ROWS = ((1, 1500, 3000), (11, 3000, 4500), (4, 4700, 6000))
WRITERS = {
    "nmnist": (NMNIST, lambda root: write_nmnist(root / "nmnist" / "extract")),
    "cifar10dvs": (CIFAR10DVS, lambda root: write_cifar10dvs(root / "cifar10dvs")),
    "dvs128gesture": (GESTURE, lambda root: write_gestures(root / "DvsGesture")),
}


def spikingjelly(module, *names):
    """Functions of spikingjelly.datasets, as installed, without what that package imports: torchvision and torchaudio."""
    folder = Path(importlib.util.find_spec("spikingjelly").origin).parent / "datasets"
    tree = ast.parse((folder / f"{module}.py").read_text())
    constants = [n for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant)]
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
    assert len(functions) == len(names)
    space = {"np": np, "struct": struct}
    code = ast.Module(body=[*constants, *functions], type_ignores=[])
    exec(compile(code, module, "exec", flags=__future__.annotations.compiler_flag), space)
    return [space[name] for name in names]


def test_the_tasks_of_a_dvs128():
    assert (CIFAR10DVS.input_shape, CIFAR10DVS.num_classes) == ((10, 2, 128, 128), 10)
    assert (GESTURE.input_shape, GESTURE.num_classes) == ((16, 2, 128, 128), 11)
    assert CIFAR10DVS.sizes == GESTURE.sizes == (128, 64, 32, 16, 8)


# Frames.


def as_events(rows):
    x, y, polarity, time = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return Events(x=x, y=y, polarity=polarity, time=time)


def test_frames_by_count_and_by_time_by_hand():
    times = np.array([100, 101, 102, 103, 109, 110, 111])
    assert by_count(7, 3).tolist() == [0, 0, 1, 1, 2, 2, 2]  # 7 // 3 a frame, the remainder in the last
    assert by_time(times, 3).tolist() == [0, 0, 0, 1, 2, 2, 2]  # 11 us // 3 a frame
    assert by_time(times, 2).tolist() == [0, 0, 0, 0, 1, 1, 1]  # 5 us a frame: 100 to 104, then the rest
    assert by_time(np.array([5, 90, 95]), 3).tolist() == [0, 2, 2]  # a frame may be empty
    assert by_time(np.array([7, 7, 7]), 2).tolist() == [0, 0, 0]
    assert by_time(np.array([0, 1, 2]), 10).tolist() == [0, 1, 2]  # no frame is shorter than a microsecond
    events = as_events([(0, 1, 1, 0), (0, 1, 1, 1), (2, 0, 0, 99)])
    for cut, first in (("count", 1), ("time", 2)):
        counts = gather(events, 2, cut, 3)
        assert counts.shape == (2, 2, 3, 3)
        assert counts[0, 1, 1, 0] == first  # frame, polarity, y, x
        assert counts[1, 0, 0, 2] == 1
        assert counts.sum() == 3


def test_a_clock_that_goes_back():
    late = np.array([0, 10, 8, 20, 30, 25, 40])
    assert by_time(late, 4).tolist() == [0, 1, 0, 2, 3, 2, 3]  # by less than a frame: each is put where it belongs
    with pytest.raises(ValueError, match="goes back by 30 us, more than a frame of 10 us; cut by count"):
        by_time(np.array([0, 10, 30, 0, 40]), 4)
    assert by_count(5, 2).tolist() == [0, 0, 1, 1, 1]  # which reads no times


def test_what_cannot_be_gathered():
    events = as_events([(1, 1, 0, 5), (3, 2, 1, 6)])
    with pytest.raises(ValueError, match=r"^2 events do not fill 3 frames$"):
        gather(events, 3, "count", 4)
    assert gather(events, 3, "time", 4).sum() == 2
    with pytest.raises(ValueError, match=r"^an event at x 3, y 2 is outside 3x3 pixels$"):
        gather(events, 1, "count", 3)
    with pytest.raises(ValueError, match=r"^0 events do not fill 3 frames$"):
        gather(events.between(7, 9), 3, "time", 4)


def test_counts_over_a_byte_are_kept_as_its_most():
    assert saturated(np.array([0, 254, 255, 256, 70_000])).tolist() == [0, 254, 255, 255, 255]


@pytest.mark.parametrize("steps", [1, 4, 10, 16])
def test_frames_are_those_of_spikingjelly(steps):
    names = (
        "integrate_events_by_fixed_frames_number",
        "cal_fixed_frames_number_segment_index",
        "integrate_events_segment_to_frame",
    )
    integrate, segment_index, to_frame = spikingjelly("utils", *names)
    integrate.__globals__.update({names[1]: segment_index, names[2]: to_frame})
    for seed in range(3):
        events = as_events(stream(seed, 1003, side=20))
        theirs = {"x": events.x, "y": events.y, "p": events.polarity, "t": events.time}
        for cut, split_by in (("count", "number"), ("time", "time")):
            assert np.array_equal(gather(events, steps, cut, 20), integrate(theirs, split_by, steps, 20, 20))


# Files.


def test_an_aedat_2_recording_by_hand(tmp_path):
    path = tmp_path / "a.aedat"
    content = aedat_2([(3, 5, 0, 10), (127, 0, 1, 2**31 + 7), (0, 127, 1, 2**31 + 9)])
    assert content[len(HEADER_2) :][:8] == bytes([0, 0, 5, 3 << 1, 0, 0, 0, 10])
    path.write_bytes(content + struct.pack(">II", 1 << 15 | 3, 2**31 + 10))  # a signal on a pin
    events = cifar10dvs.read(path)
    assert events.x.tolist() == [127 - 5, 127, 0]
    assert events.y.tolist() == [127 - 3, 0, 127]
    assert events.polarity.tolist() == [1, 0, 0]
    assert events.time.tolist() == [10, 2**31 + 7, 2**31 + 9]  # unsigned: 35 minutes are no step back


def test_an_aedat_3_recording_by_hand(tmp_path):
    path = tmp_path / "a.aedat"
    first = packet([(3, 5, 1, 10, 1), (4, 6, 0, 11, 0), (127, 0, 0, 12, 1)])
    assert first[28:36] == bytes([0b0001_0111, 0, 6, 0, 10, 0, 0, 0])
    path.write_bytes(
        HEADER_3
        + packet([], kind=0, size=8, body=bytes(16))  # special events
        + first
        + packet([], kind=2, size=36, body=bytes(36))  # a frame
        + packet([])
        + packet([(0, 127, 1, 1, 1), (9, 9, 1, 2, 1)], overflow=1, number=1)  # room for two, one there
    )
    events = dvs128gesture.read(path)
    assert events.x.tolist() == [3, 127, 0]
    assert events.y.tolist() == [5, 0, 127]
    assert events.polarity.tolist() == [1, 0, 1]
    assert events.time.tolist() == [10, 12, 2**31 + 1]
    assert events.invalid == 1
    some = events.between(12, 2**31 + 1)
    assert (some.x.tolist(), some.time.tolist()) == ([127], [12])  # from the first to before the second


def test_events_are_those_of_spikingjelly(tmp_path):
    names = (
        "_load_origin_data",
        "_load_events",
        "_load_raw_events",
        "_skip_header",
        "_parse_raw_address",
        "_read_bits",
    )
    (load_2, *_), (load_3, load_bin) = (
        spikingjelly("cifar10_dvs", *names),
        spikingjelly("utils", "load_aedat_v3", "load_ATIS_bin"),
    )
    rows = stream(0, 500)
    (tmp_path / "2.aedat").write_bytes(aedat_2(rows))
    events = [(*row, 1) for row in rows]
    parts = (packet(events[:200]), packet([], kind=0, body=bytes(24)), packet(events[200:], overflow=2))
    (tmp_path / "3.aedat").write_bytes(HEADER_3 + b"".join(parts))
    for ours, theirs in (
        (cifar10dvs.read(tmp_path / "2.aedat"), load_2(tmp_path / "2.aedat")),
        (dvs128gesture.read(tmp_path / "3.aedat"), load_3(tmp_path / "3.aedat")),
    ):
        assert len(ours.x) == 500
        for mine, key in (("x", "x"), ("y", "y"), ("polarity", "p"), ("time", "t")):
            assert np.array_equal(getattr(ours, mine), theirs[key]), mine
    (tmp_path / "a.bin").write_bytes(b"".join(event(x % 34, y % 34, bit, time) for x, y, bit, time in rows))
    found = load_bin(tmp_path / "a.bin")
    theirs = as_events([tuple(int(found[key][i]) for key in "xypt") for i in range(500)])
    for cut in ("count", "time"):
        assert np.array_equal(nmnist.read(tmp_path / "a.bin", 10, cut), gather(theirs, 10, cut, 34))


def test_nmnist_by_time_adds_the_overruns_of_its_clock(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(event(1, 0, 1, 0) + event(2, 0, 1, 8000) + event(0, 240, 0, 0) + event(3, 0, 1, 100))
    frames = nmnist.read(path, 2, "time")  # 8192 + 100 us long: 0 to 4145, then the rest
    assert [frames[frame].sum() for frame in (0, 1)] == [1, 2]
    assert frames[1, 1, 0, 3] == 1


def test_cifar10dvs_as_its_layout_has_it(tmp_path):
    write_cifar10dvs(tmp_path / "cifar10dvs", each=11)
    for root in (tmp_path, tmp_path / "cifar10dvs"):
        found = load("cifar10dvs", CIFAR10DVS, root, preparation=ON_DEMAND)
        assert found.num_classes == 10
        assert found.train.labels.tolist() == sorted(list(range(10)) * 10)  # nine tenths, rounded up
        assert found.test.labels.tolist() == list(range(10))
        names = [path.name for path in found.train.images.sources[:10]]
        assert names == sorted(f"cifar10_airplane_{i}.aedat" for i in range(11))[:10]
        assert found.test.images.sources[0].name == "cifar10_airplane_9.aedat"
    frames = found.test.images[np.array([3, 0])]
    assert (frames.dtype, frames.shape) == (np.uint8, (2, 10, 2, 128, 128))
    assert frames[1].sum((1, 2, 3)).tolist() == [6] * 10
    assert np.array_equal(frames[1], gather(cifar10dvs.read(found.test.images.sources[0]), 10, "count", 128))
    flickering = found.test.images.sources[1]
    flickering.write_bytes(aedat_2([(3, 5, 0, time) for time in range(2569)]))
    assert found.test.images[1:2][0, :, 1, 124, 122].tolist() == [255] * 10  # 256 events in each frame, 265 in the last
    by_time_frames = load("cifar10dvs", CIFAR10DVS, root, frames="time", preparation=ON_DEMAND).test.images[:1][0]
    assert by_time_frames.sum() == 60
    assert not np.array_equal(by_time_frames, frames[1])


def test_gestures_as_their_layout_has_them(tmp_path):
    write_gestures(tmp_path / "DvsGesture")
    for root in (tmp_path, tmp_path / "DvsGesture"):
        found = load("dvs128gesture", GESTURE, root, preparation=ON_DEMAND)
        assert found.train.labels.tolist() == [0, 10, 3, 0, 10, 3]
        assert found.test.labels.tolist() == [0, 10, 3]
        assert found.num_classes == 11
    frames = found.train.images[np.array([4, 0, 3])]
    assert frames.shape == (3, 16, 2, 128, 128)
    times = np.array([time for *_, time in stream(1, 600, step=20)])
    assert frames[0].sum() == ((times >= 3000) & (times < 4500)).sum()
    assert frames[2].sum() == ((times >= 1500) & (times < 3000)).sum()
    assert np.array_equal(frames[0], found.train.images[4:5][0])


SPOILT_2 = {
    "empty": (b"", "it does not begin with #!AER-DAT2.0"),
    "no header": (aedat_2([(1, 1, 1, 1)])[len(HEADER_2) :], "it does not begin with #!AER-DAT2.0"),
    "another version": (
        aedat_2([(1, 1, 1, 1)]).replace(b"2.0", b"3.1", 1),
        "it is AEDAT 3.1, and only AEDAT 2.0 is read",
    ),
    "AEDAT 4": (b"#!AER-DAT4.0\r\n" + bytes(400), "it is AEDAT 4.0, and only AEDAT 2.0 is read here; download the ten"),
    "a header cut": (HEADER_2[:30], "its header is cut"),
    "no events": (HEADER_2, "0 events do not fill 10 frames"),
    "half an event": (aedat_2(stream(0, 20))[:-4], "156 bytes are not events of 8"),
    "few events": (aedat_2(stream(0, 9)), "9 events do not fill 10 frames"),
    "of another camera": (HEADER_2 + struct.pack(">II", 1 << 22, 5) * 20, "the address 0x400000 is outside 128x128"),
}


@pytest.mark.parametrize("name", SPOILT_2)
def test_damaged_aedat_2_recordings_are_refused(tmp_path, name):
    write_cifar10dvs(tmp_path, count=20)
    content, said = SPOILT_2[name]
    path = tmp_path / "bird" / "cifar10_bird_3.aedat"
    path.write_bytes(content)
    refused(said, path, lambda: load("cifar10dvs", CIFAR10DVS, tmp_path))
    assert not list((tmp_path / "frames").glob("*.npy"))
    assert not list((tmp_path / "frames").glob("*.part"))


def refused(said, path, call):
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


WHOLE = packet([(1, 1, 1, 2000 + t, 1) for t in range(40)])
SPOILT_3 = {
    "empty": (b"", "it does not begin with #!AER-DAT3.1"),
    "another version": (HEADER_2, "it is AEDAT 2.0, and only AEDAT 3.1 is read"),
    "AEDAT 4": (b"#!AER-DAT4.0\r\n" + bytes(400), "it is AEDAT 4.0, and only AEDAT 3.1 is read here; download Dvs"),
    "no end of header": (HEADER_3[:40] + b"\r\n" + WHOLE, "its header has no #!END-HEADER"),
    "a header cut": (HEADER_3[:-10], "its header is cut"),
    "no packets": (HEADER_3, "from 1500 to 3000 us: 0 events do not fill 16 frames"),
    "a packet's header cut": (HEADER_3 + WHOLE + WHOLE[:20], "a packet's header is cut"),
    "a packet cut in half": (HEADER_3 + WHOLE + WHOLE[:150], "a packet is cut at byte .*, 198 bytes early"),
    "sizes below zero": (HEADER_3 + struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, -5, -5, -5), "impossible sizes"),
    "more events than room": (HEADER_3 + packet([], number=3), "impossible sizes"),
    "events of no bytes": (HEADER_3 + struct.pack("<hhiiiiii", 1, 1, 0, 4, 0, 9, 9, 9), "impossible sizes"),
    "events of twelve bytes": (HEADER_3 + packet([], size=12, body=bytes(24)), "an event of 12 bytes"),
    "outside the sensor": (HEADER_3 + WHOLE + packet([(128, 5, 1, 2500, 1)]), "an event at x 128, y 5 is outside"),
}


@pytest.mark.parametrize("name", SPOILT_3)
def test_damaged_aedat_3_recordings_are_refused(tmp_path, name):
    write_gestures(tmp_path)
    content, said = SPOILT_3[name]
    path = tmp_path / "user02_led.aedat"
    path.write_bytes(content)
    refused(said, path, lambda: load("dvs128gesture", GESTURE, tmp_path, preparation=ON_DEMAND).train.images[3:4])


LABELS_SPOILT = {
    "empty": ("", "its first line is not class,startTime_usec"),
    "no header": ("1,2,3\n", "its first line is not class,startTime_usec"),
    "a word": ("1,1500,3000\n2,soon,4000\n", "line 3 is not three whole numbers"),
    "two numbers": ("1,1500\n", "line 2 is not three whole numbers"),
    "class 12": ("12,1500,3000\n", "line 2, 12,1500,3000, is not a gesture"),
    "class 0": ("0,1500,3000\n", "line 2, 0,1500,3000, is not a gesture"),
    "backwards": ("1,3000,1500\n", "line 2, 1,3000,1500, is not a gesture"),
}


@pytest.mark.parametrize("name", LABELS_SPOILT)
def test_damaged_labels_are_refused(tmp_path, name):
    write_gestures(tmp_path)
    rows, said = LABELS_SPOILT[name]
    path = tmp_path / "user01_lab_labels.csv"
    header = "" if name in ("empty", "no header") else dvs128gesture.LABELS_HEADER + "\n"
    path.write_text(header + rows)
    refused(said, path, lambda: load("dvs128gesture", GESTURE, tmp_path))


def test_a_label_without_events_and_files_that_are_missing(tmp_path):
    write_gestures(tmp_path)
    path = tmp_path / "user01_lab_labels.csv"
    path.write_text(f"{dvs128gesture.LABELS_HEADER}\n3,900000,900100\n")
    for frames in ("count", "time"):
        refused(
            "from 900000 to 900100 us: 0 events do not fill 16 frames",
            tmp_path / "user01_lab.aedat",
            lambda cut=frames: load("dvs128gesture", GESTURE, tmp_path, frames=cut),
        )
    path.unlink()
    refused("lists user01_lab.aedat, but there is no", path, lambda: load("dvs128gesture", GESTURE, tmp_path))
    (tmp_path / "trials_to_test.txt").write_text("")
    path.write_text(f"{dvs128gesture.LABELS_HEADER}\n3,1500,3000\n")
    refused("no gesture is in it", tmp_path / "trials_to_test.txt", lambda: load("dvs128gesture", GESTURE, tmp_path))


def test_missing_recordings_are_said_with_where_they_come_from(tmp_path):
    for name, task, said in (
        (
            "cifar10dvs",
            CIFAR10DVS,
            r"no CIFAR10-DVS recordings in .* https://figshare.com/.* by hand, .* DIR/cifar10dvs",
        ),
        (
            "dvs128gesture",
            GESTURE,
            r"no DVS128 Gesture recordings in .* https://research.ibm.com/.* by hand, .* into DIR",
        ),
    ):
        refused(said, tmp_path, lambda name=name, task=task: load(name, task, tmp_path, preparation=DOWNLOAD))
    write_cifar10dvs(tmp_path, each=1)
    refused(
        "class airplane in .* has 1 recording such as .*, too few to split; download",
        tmp_path,
        lambda: load("cifar10dvs", CIFAR10DVS, tmp_path),
    )


# Files as people have them.


def test_a_class_without_recordings_is_refused_by_its_name(tmp_path):
    write_cifar10dvs(tmp_path, each=10)
    place = tmp_path / "bird"
    for path in place.iterdir():
        path.rename(path.with_name(f"._{path.name}"))
    refused("class bird in .* has no recordings; download", tmp_path, lambda: load("cifar10dvs", CIFAR10DVS, tmp_path))
    (place / "cifar10_bird_0.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    refused(
        "class bird in .* has only AEDAT 4, which is not read; download .*, in AEDAT 2.0",
        tmp_path,
        lambda: load("cifar10dvs", CIFAR10DVS, tmp_path),
    )


def test_hidden_files_do_not_shift_the_split(tmp_path):
    write_cifar10dvs(tmp_path, each=10)
    before = load("cifar10dvs", CIFAR10DVS, tmp_path, preparation=ON_DEMAND)
    expected = before.train.images[:9], before.test.images[:]
    for name in cifar10dvs.CLASSES:
        for path in list((tmp_path / name).iterdir()):
            path.with_name(f"._{path.name}").write_bytes(b"of macOS")
        (tmp_path / name / ".DS_Store").write_bytes(b"of macOS")
    (tmp_path / "._airplane").write_bytes(b"of macOS")
    first = tmp_path / "airplane" / "cifar10_airplane_0.aedat"
    first.rename(first.with_suffix(".AEDAT"))
    found = load("cifar10dvs", CIFAR10DVS, tmp_path, preparation=ON_DEMAND)
    assert [len(found.train.labels), len(found.test.labels)] == [90, 10]
    assert np.array_equal(found.train.images[:9], expected[0])
    assert np.array_equal(found.test.images[:], expected[1])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_and_labels_as_other_programs_save_them(tmp_path, encoding):
    write_gestures(tmp_path)
    before = load("dvs128gesture", GESTURE, tmp_path, preparation=ON_DEMAND)
    expected = before.train.images[:], before.test.images[:]
    for path in (*tmp_path.glob("*.txt"), *tmp_path.glob("*.csv")):
        text = path.read_text().replace(",", ", ").replace("\n", " \n\n")
        if path.suffix == ".txt":
            text = "._user01_lab.aedat\n" + text.replace("_lab", " b\u00fcro").replace("_led", " led ")
        path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        path.with_name(f"._{path.name}").write_bytes(b"of macOS")
    for path in list(tmp_path.glob("user*")):
        path.rename(path.with_name(path.name.replace("_lab.", " b\u00fcro.").replace("_lab_", " b\u00fcro_")))
    for path in list(tmp_path.glob("user02*")):
        path.rename(path.with_name(path.name.replace("_led", " led ")))
    found = load("dvs128gesture", GESTURE, tmp_path, preparation=ON_DEMAND)
    assert np.array_equal(found.train.labels, before.train.labels)
    assert np.array_equal(found.train.images[:], expected[0])
    assert np.array_equal(found.test.images[:], expected[1])


def test_gestures_in_aedat_4_are_said_not_to_be_read(tmp_path):
    write_gestures(tmp_path)
    (tmp_path / "user02_led.aedat").rename(tmp_path / "user02_led.aedat4")
    refused(
        "is AEDAT 4, which is not read; download DvsGesture.tar.gz .*, in AEDAT 3.1",
        tmp_path / "user02_led.aedat4",
        lambda: load("dvs128gesture", GESTURE, tmp_path),
    )


def test_invalid_events_are_left_out_and_counted_once(tmp_path):
    write_gestures(tmp_path)
    for name, every in (("user01_lab", 3), ("user02_led", 5)):
        rows = [(*values, int(i % every > 0)) for i, values in enumerate(stream(0, 600, step=20))]
        (tmp_path / f"{name}.aedat").write_bytes(HEADER_3 + packet(rows))
    found = load("dvs128gesture", GESTURE, tmp_path, preparation=ON_DEMAND)
    said = r"^320 events that the recording marks as invalid are left out of .*user01_lab.aedat and 1 other$"
    with pytest.warns(UserWarning, match=said):
        frames = found.train.images[:]
    times = np.array([time for i, (*_, time) in enumerate(stream(0, 600, step=20)) if i % 3])
    assert frames[0].sum() == ((times >= 1500) & (times < 3000)).sum()
    assert np.array_equal(found.train.images[:], frames)  # and says nothing again
    with pytest.warns(UserWarning, match=said):  # where frames are kept, while they are written
        kept = load("dvs128gesture", GESTURE, tmp_path)
    assert np.array_equal(kept.train.images[:], frames)


@pytest.mark.parametrize("name", WRITERS)
def test_recordings_that_do_not_fit_the_task_are_refused_before_they_are_read(tmp_path, name):
    task, write = WRITERS[name]
    write(tmp_path)
    smaller = dataclasses.replace(task, image_size=15)
    with pytest.raises(ValueError, match="do not fit task"):
        load(name, smaller, tmp_path)
    assert not list(tmp_path.rglob("frames"))


def test_rates_are_measured_on_the_recordings_that_are_drawn_and_keep_nothing(tmp_path):
    write_gestures(tmp_path / "DvsGesture")
    drawn = rate_images(GESTURE, Sample(data="dvs128gesture", data_root=tmp_path, images=2))
    assert drawn.images.shape == (2, 16, 2, 128, 128)
    assert drawn.images.dtype == torch.float32
    by_time = rate_images(GESTURE, Sample(data="dvs128gesture", data_root=tmp_path, images=2, frames="time"))
    assert by_time.fingerprint != drawn.fingerprint
    assert by_time.images.sum() == drawn.images.sum()
    assert not list(tmp_path.rglob("frames"))
    with pytest.raises(ValueError, match="frames by 'size' are unknown; use count or time"):
        load("dvs128gesture", GESTURE, tmp_path, frames="size")
    with pytest.raises(ValueError, match="task digits reads images, and frames by time are of recordings"):
        load("digits", Task.preset("digits"), frames="time")


def test_a_search_on_an_events_task_needs_no_download_and_takes_what_is_there(cli, tmp_path):
    (tmp_path / "toy.toml").write_text("embed_dim = [16]\ndepth = [1, 2]\nnum_heads = [2]\nmlp_ratio = [1]\n")
    create = ["study", "create", "--space", "toy.toml", "--task", "cifar10dvs"]
    assert "rates on 4 images of digits-saccades" in cli(*create, "simulated").stdout
    write_cifar10dvs(tmp_path / "data" / "cifar10dvs", count=3000)
    assert "rates on 4 images of cifar10dvs" in cli(*create, "real", "--data-root", "data").stdout


# Frames that are kept.


@pytest.mark.parametrize("frames", ["count", "time"])
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_kept_is_what_is_read_and_is_read_once(tmp_path, monkeypatch, name, frames):
    task, write = WRITERS[name]
    write(tmp_path)
    heard = []
    kept = load(
        name, task, tmp_path, frames=frames, preparation=Preparation(on_frames=lambda *line: heard.append(line))
    )
    read = load(name, task, tmp_path, frames=frames, preparation=ON_DEMAND)
    assert heard[-1] == ("test", len(read.test.labels), len(read.test.labels))
    for ours, theirs in ((kept.train, read.train), (kept.test, read.test)):
        assert np.array_equal(ours.images[:], theirs.images[:])
        chosen = np.random.default_rng(0).permutation(len(ours.labels))[:3]
        assert np.array_equal(ours.images[chosen], theirs.images[chosen])
        assert ours.images[:2].flags.writeable
        assert ours.images[chosen].flags.writeable
        assert np.array_equal(ours.labels, theirs.labels)
    reader = {"nmnist": nmnist, "cifar10dvs": cifar10dvs, "dvs128gesture": dvs128gesture}[name]
    monkeypatch.setattr(reader, "read", lambda path, *_: pytest.fail(f"{path} was read again"))
    again = load(name, task, tmp_path, frames=frames)
    assert np.array_equal(again.test.images[:], kept.test.images[:])


def files(folder):
    return sorted(path.name for path in folder.glob("*.npy"))


def test_a_changed_recording_or_another_form_makes_other_frames(tmp_path):
    write_nmnist(tmp_path)
    frames, path = tmp_path / "frames", tmp_path / "Train" / "4" / "00001.bin"
    before = load("nmnist", NMNIST, tmp_path)
    first = files(frames)
    assert len(first) == 2
    path.write_bytes(event(7, 9, 1) * 40)
    after = load("nmnist", NMNIST, tmp_path)
    assert after.train.images[9:10].sum((1, 2))[0, 9, 7] == 40
    assert before.train.images[9:10].sum((1, 2))[0, 9, 7] < 40  # a process that had mapped it goes on with it
    second = files(frames)
    assert len(second) == 2
    assert len(set(first) & set(second)) == 1  # those for test
    stamp = path.stat().st_mtime_ns
    path.write_bytes(event(8, 9, 1) * 40)
    os.utime(path, ns=(stamp, stamp + 1))
    assert load("nmnist", NMNIST, tmp_path).train.images[9:10].sum((1, 2))[0, 9, 8] == 40
    stamp = path.stat().st_mtime_ns
    path.write_bytes(event(8, 9, 1) * 41)
    os.utime(path, ns=(stamp, stamp))
    assert load("nmnist", NMNIST, tmp_path).train.images[9:10].sum((1, 2))[0, 9, 8] == 41
    path.unlink()
    assert len(load("nmnist", NMNIST, tmp_path).train.labels) == 19
    load("nmnist", NMNIST, tmp_path, frames="time")
    load("nmnist", dataclasses.replace(NMNIST, time_steps=4), tmp_path)
    assert len(files(frames)) == 6


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b"x" * 500_000),
        lambda path: np.save(path, np.zeros((3, 2), np.uint8)),
        lambda path: (path.unlink(), path.symlink_to("nowhere")),
    ],
    ids=["empty", "cut", "noise", "another form", "a link to nowhere"],
)
def test_damaged_frames_are_made_again(tmp_path, spoil):
    write_nmnist(tmp_path)
    expected = load("nmnist", NMNIST, tmp_path).train.images[:]
    (kept,) = (tmp_path / "frames").glob("nmnist-train-*.npy")
    spoil(kept)
    assert np.array_equal(load("nmnist", NMNIST, tmp_path).train.images[:], expected)
    assert kept.stat().st_size > expected.nbytes
    assert not kept.is_symlink()


def test_the_parts_of_a_killed_process_are_cleared_away(tmp_path):
    write_nmnist(tmp_path)
    (tmp_path / "frames").mkdir()
    part = tmp_path / "frames" / "nmnist-train-10-by-count.123.part"
    part.write_bytes(b"x")
    load("nmnist", NMNIST, tmp_path)
    assert not part.exists()


def test_where_the_data_cannot_be_written_frames_lie_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    data = tmp_path / "data"
    write_nmnist(data)
    (data / "frames").write_text("no folder")  # as root, a test may write anywhere else
    first = load("nmnist", NMNIST, data)
    (place,) = (tmp_path / "user" / "autost-optuna").iterdir()
    assert len(files(place)) == 2
    monkeypatch.setattr(nmnist, "read", lambda *_: pytest.fail("read again"))
    assert np.array_equal(load("nmnist", NMNIST, data).test.images[:], first.test.images[:])
    (data / "frames").unlink()
    place.rename(data / "frames")  # beside data that somebody else prepared
    assert np.array_equal(load("nmnist", NMNIST, data).test.images[:], first.test.images[:])


def test_without_room_recordings_are_read_anew_and_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    write_nmnist(tmp_path / "data")
    expected = load("nmnist", NMNIST, tmp_path / "data", preparation=ON_DEMAND).train.images[:]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # bytes: a split takes 462,400
    try:
        with pytest.warns(
            UserWarning, match="frames cannot be kept .*File too large.*; recordings are read again each time"
        ) as said:
            found = load("nmnist", NMNIST, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {"\n" in str(line.message) for line in said} == {False}
    assert np.array_equal(found.train.images[:], expected)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".npy")]


class TestProcesses:
    SCRIPT: ClassVar = """
import sys, time
from pathlib import Path
from autost_optuna import Task
from autost_optuna.data import load, nmnist
read, count = nmnist.read, [0]
def slow(*how):
    count[0] += 1
    time.sleep(0.02)
    return read(*how)
nmnist.read = slow
found = load("nmnist", Task.preset("nmnist"), Path(sys.argv[1]))
print(count[0], int(found.train.images[:].sum()), int(found.test.images[:].sum()))
"""

    @pytest.mark.process
    def test_of_two_that_write_at_once_one_waits_and_reads(self, tmp_path):
        write_nmnist(tmp_path)
        command = ["-c", self.SCRIPT, tmp_path]
        both = [Popen(command, stdout=PIPE, text=True) for _ in range(2)]
        lines = [process.communicate(timeout=60)[0].split() for process in both]
        assert [process.returncode for process in both] == [0, 0]
        assert sum(int(line[0]) for line in lines) == 40  # each recording once
        assert [line[1:] for line in lines] == [["800", "800"]] * 2
        assert len(files(tmp_path / "frames")) == 2


def test_the_readers_take_bytes_alone():
    assert [values.tolist() for values in aedat.addresses(aedat_2([(1, 2, 1, 9)]))] == [[2 << 8 | 1 << 1 | 1], [9]]
