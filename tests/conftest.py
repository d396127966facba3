import os
import signal

# A shell has its background jobs ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.pop("OPTUNA_STORAGE", None)  # no test may touch a developer's studies
os.environ.setdefault(
    "GOMP_SPINCOUNT", "10000"
)  # as the command line does: torch's threads wait without end for a busy core

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # tests side by side share the processors
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

import optuna
import pytest
import torch
from click.testing import CliRunner

from autost_optuna import Space, Task
from autost_optuna.cli import main

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def toy_task():
    """Small enough for milliseconds, with all that a task has: channels, two poolings, several steps."""
    return Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")


@pytest.fixture
def toy_space():
    return Space(name="toy", embed_dim=(16, 32), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 2))


@pytest.fixture
def noise():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run the command line in an empty folder: cli("study", "list") gives exit_code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, **options):
        return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="autost-optuna", **options)

    return run
