import gc
import os
import signal

from autost_optuna.search.settings import Plan

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
import warm
from makers import POSTGRES, TOY_FILE, TRIALS, command_line, new_database
from warm import Server

from autost_optuna import Space, Task
from autost_optuna.search import study as studies

optuna.logging.set_verbosity(optuna.logging.WARNING)

gc.freeze()  # half a million objects of what is imported, which the collector would walk again and again
gc.set_threshold(200_000, 20, 20)


def pytest_collection_modifyitems(items):
    """What needs a server, an export or a training says so by its fixture, or by a parameter."""
    for item in items:
        if {"untrained", "told", "trained_once"} & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
        if "database" in item.fixturenames or "postgresql" in item.name:
            item.add_marker(pytest.mark.postgres)
        elif "server" in item.fixturenames or "grpc" in item.name:
            item.add_marker(pytest.mark.process)


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
    return command_line


@pytest.fixture
def warm_workers():
    """Workers of this process are forked from the server of the tests, which has imported more than the package's own."""
    warm.start(int).join()  # waits until the server has imported all


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with a finished study "demo", to be copied and not changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "toy.toml").write_text(TOY_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        created = command_line("study", "create", "demo", "--space", "toy.toml", "--task", "digits")
        assert created.exit_code == 0, created.output
        result = command_line("study", "run", "demo", "--trials", TRIALS)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{TRIALS} trials in ")
    return folder


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("grpc")
    running = Server(tmp_path / "served.journal")
    yield running
    running.kill()


@pytest.fixture
def database():
    """The URL of an empty PostgreSQL database, removed afterwards."""
    if POSTGRES is None:
        pytest.skip("AUTOST_TEST_POSTGRES is not set; .ci/run starts a PostgreSQL and sets it")
    with new_database() as url:
        yield url


@pytest.fixture
def create(toy_space, toy_task):
    def make(name, storage, **planned):
        return studies.create(name, storage, Plan(toy_space, toy_task, **planned))

    return make
