"""What tests of several files make: data sets, candidates, trained networks, pages that are read back."""

import base64
import gzip
import json
import os
import pickle
import re
import shlex
import socket
import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from torch.nn.modules.batchnorm import _BatchNorm

from autost_optuna import Architecture, Candidate, Space, Task
from autost_optuna.cli import main
from autost_optuna.front.front import Box
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.rows import Operation
from autost_optuna.search.presence import Presence
from autost_optuna.search.settings import installed_versions
from autost_optuna.training.record import Record
from autost_optuna.training.records import open_trained

TOY_FILE = "embed_dim = [16, 32]\ndepth = [1, 2]\nnum_heads = [2, 4]\nmlp_ratio = [1, 2]\n"
TRIALS = 12  # of the finished study
FOLDER = "cifar-10-batches-py"


ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)  # of a page


NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


@contextmanager
def new_database():
    """The URL of an empty PostgreSQL database, removed afterwards."""
    name = f"autost_{uuid.uuid4().hex}"
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def command_line(*words, **options):
    """The command line in this process, as click's runner gives it: exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="autost-optuna", **options)


def examples(member):
    """The command lines in the help text of a command."""
    lines = (line.strip() for line in (member.help or "").splitlines())
    return [line for line in lines if line.split(" ")[0] in ("autost-optuna", "torchrun")]


def fences(page, opening):
    return [text.strip() for found, text in FENCE.findall(page.read_text()) if found == opening]


def fence(page, opening):
    (found,) = fences(page, opening)
    return found


def commands(text):
    """The words of every line that calls the program, without comments and what stands in front of the call."""
    for line in text.replace("-m autost_optuna", "\0autost-optuna").splitlines():
        words = shlex.split(line.rpartition("\0")[2].removeprefix("srun "), comments=True)
        if words[:1] == ["autost-optuna"]:
            yield words


def tour():
    """The words of the commands of the tour in docs/cli.md, one after another."""
    return list(commands(fence(ROOT / "docs" / "cli.md", "sh tour")))


@contextmanager
def products_only():
    """Neurons and normalisations hold no product that torch counts, and take most of the time of counting: pass them by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NeuronModule, "multi_step_forward", lambda self, x: x)
        patch.setattr(_BatchNorm, "forward", lambda self, x: x)
        yield


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


def write_images(root, names=("cat", "dog"), size=(12, 8), test="test"):
    """Two images a class and split: one in the class's own grey, one random."""
    generator = np.random.default_rng(0)
    for split in ("train", test):
        for number, name in enumerate(names):
            folder = root / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", size, (10 + number, 20, 30)).save(folder / "a.png")
            pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "b.JPG", quality=95)
            (folder / "notes.txt").write_text("no image")
            (folder / "._a.png").write_bytes(b"of another system")


def candidate(flops, energy_mj, index=0, silent=False, energies=None):
    """A candidate with an architecture of its own for every index."""
    return Candidate(
        architecture=Architecture.uniform(embed_dim=8 * (index + 1), depth=1, num_heads=1, mlp_ratio=1),
        params=1,
        macs=flops // 2,
        flops=flops,
        energy_mj=energy_mj,
        energies_mj=energies or ((energy_mj,),),
        mean_rate=0.1,
        silent=silent,
        quantised_mj=energy_mj / 2,
        break_even_rate=None,
        convention="c",
        data="d",
        images=len(energies[0]) if energies else 1,
        seed=0,
        seeds=len(energies) if energies else 1,
        number=index,
    )


def listed(points):
    return [candidate(flops, energy, index) for index, (flops, energy) in enumerate(points)]


BOX = Box(worst_flops=1, worst_energy_mj=100, best_flops=100, best_energy_mj=1)


def uniform(embed_dim, depth, mlp_ratio, num_heads=8):
    return Architecture.uniform(embed_dim=embed_dim, depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio)


def training(architecture, **changes):
    """A trained network with figures made up by hand."""
    values = {
        "number": 0,
        "search_trial": 0,
        "architecture": architecture,
        "seed": 0,
        "recipe": {"name": "short", "epochs": 3},
        "recipe_hash": "0123456789ab",
        "recipe_name": "short",
        "data": "digits",
        "data_fingerprint": "ab",
        "validation_accuracy": 0.75,
        "test_accuracy": 0.5,
        "energy_mj": 0.25,
        "energy_std_mj": 0.01,
        "images": 144,
        "convention": "horowitz-45nm-fp32",
        "mean_rate": 0.2,
        "rates": {"stem.conv2": 0.2},
        "initial_rates": {"stem.conv2": 0.1},
        "predicted_mj": 0.125,
        "params": 1000,
        "flops": 2000,
        "epochs": 3,
        "images_per_s": 100.0,
        "duration_s": 60.0,
        "path": "trained/0",
        "machine": "CPU",
        "versions": installed_versions(),
    }
    return Record(**{**values, **changes})


def store(search, candidate, artifacts=(), **changes):
    """Put a network with figures made up by hand among the trained ones of a search."""
    made = training(
        candidate.architecture,
        **{
            "search_trial": candidate.number,
            "predicted_mj": candidate.energy_mj,
            "flops": candidate.flops,
            "params": candidate.params,
            **changes,
        },
    )
    trainings = open_trained(search, create=True)
    with Presence(trainings.study, retires=False) as presence:
        claim = claim_of(trainings, candidate, presence, made)
        claim.complete(made, artifacts)
    return replace(made, number=claim.number)


def claim_of(trainings, candidate, presence, like=None):
    made = like or training(candidate.architecture)
    return trainings.claim(candidate, made.key, recipe_name=made.recipe_name, presence=presence)


SPACE = Space(name="toy", embed_dim=(16, 32), depth=(1, 2), num_heads=(2, 4), mlp_ratio=(1, 2))


TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")


def packed_figures(page):
    """The figures in a page, by name."""
    packed = re.search(r'id="figures">([^<]*)</script>', page).group(1)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


EVIL = "<script>alert(1)</script> & \"'"


def read(thing):
    """Title, paragraphs and rows of a representation; any browser reads what an XML parser does."""
    html = thing if isinstance(thing, str) else thing._repr_html_()
    root = ElementTree.fromstring(f"<html>{html}</html>")
    assert {node.tag for node in root.iter()} <= {"html", "div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    return ["".join(node.itertext()) for node in root.iter("p")], rows


POSTGRES = os.environ.get("AUTOST_TEST_POSTGRES")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def one_error(result, code):
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("error: "), result.stderr
    assert "unexpected" not in result.stderr
    assert "Traceback" not in result.stderr
    return lines[-1]


def natural_noise(number):
    """Noise with what was measured on 2,000 CIFAR-10 images: amplitude ~ frequency^-1.65, channels correlated at 0.9."""
    import torch

    frequency = torch.fft.fftfreq(32)
    radius = torch.hypot(frequency[:, None], frequency)
    radius[0, 0] = torch.inf
    white = torch.randn(number, 1, 32, 32) + torch.randn(number, 3, 32, 32) / 3
    images = torch.fft.ifft2(torch.fft.fft2(white) * radius**-1.65).real
    return (images - images.mean()) / images.std()


def row(name, macs, driven_by, *, steps=4, **more):
    """A row of a ledger that stands in no network."""
    return Operation(name=name, stage="s", role=name, group="g", macs=macs, steps=steps, driven_by=driven_by, **more)
