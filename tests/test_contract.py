"""Optuna's own contract suite for storages, which it ships for third parties, over each storage that we open."""

import copy
import os
import pickle
import tempfile
from pathlib import Path

import optuna
import pytest
from makers import POSTGRES, free_port, new_database
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy import text

from autost_optuna.storage import patience
from autost_optuna.storage.storage import open_storage, relational

# Where AUTOST_TEST_POSTGRES is not set, the tests of test_storages say so.
KINDS = ["journal", "sqlite", "grpc", *(["postgresql"] if POSTGRES else [])]


@pytest.fixture(scope="module")
def database():
    """The URL of one PostgreSQL database for all cases, removed afterwards: making one takes longer than a case."""
    with new_database() as url:
        yield url


@pytest.fixture
def folder():
    """An empty folder, in memory where there is one: the cases write thousands of times, and test no disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield path


@pytest.fixture(scope="module")
def tables():
    """An SQLite file with Optuna's tables, as bytes: making them takes longer than a case."""
    with tempfile.TemporaryDirectory() as path:
        relational(open_storage(f"sqlite:///{path}/s.db", create=True)).engine.dispose()
        return Path(path, "s.db").read_bytes()


@pytest.fixture
def served(folder):
    """The URL of Optuna's gRPC server over a journal, in a thread: starting a process takes longer than a case."""
    pytest.importorskip("grpc")
    from optuna.storages._grpc.server import make_server

    port = free_port()
    server = make_server(JournalStorage(JournalFileBackend(f"{folder}/served.journal")), "127.0.0.1", port)
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(params=KINDS)
def storage(request, folder):
    if request.param == "grpc":
        if request.node.originalname == "test_get_all_trials_params_order":
            pytest.skip("parameters have no order in gRPC: Optuna sends them as a map")
        opened = open_storage(request.getfixturevalue("served"))
    elif request.param == "postgresql":
        opened = open_storage(request.getfixturevalue("database"), write=True)
        with relational(opened).engine.begin() as connection:
            connection.execute(text("TRUNCATE studies RESTART IDENTITY CASCADE"))
    elif request.param == "sqlite":
        Path(folder, "s.db").write_bytes(request.getfixturevalue("tables"))
        opened = open_storage(f"sqlite:///{folder}/s.db", write=True)
    else:
        opened = open_storage(f"{folder}/s.journal", create=True, write=True)
    yield opened
    opened.remove_session()
    if (database := relational(opened)) is not None:
        database.engine.dispose()


class TestContract(StorageTestCase):
    """All of Optuna's cases, each on every storage."""


@pytest.mark.parametrize("again", [lambda study: pickle.loads(pickle.dumps(study)), copy.deepcopy])
def test_a_study_is_copied_with_its_storage_and_its_patience(storage, again, monkeypatch):
    study = optuna.create_study(storage=storage, study_name="s")
    found = again(study)
    found.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert found._storage is not storage
    assert study.trials == found.trials
    assert len(study.trials) == 2
    if not isinstance(storage, JournalStorage):  # a file does not go away
        assert found._storage.get_trial.__code__ in patience.Patience.patient.__code__.co_consts
    if (database := relational(found._storage)) is not None:
        database.engine.dispose()
