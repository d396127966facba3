"""A storage that can only be read: what only reads works as on any other, and what writes says so before it computes."""

import contextlib
import gzip
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.storage.location import readable_url

GOLDEN = Path(__file__).parent / "golden" / "0.1.0"


def fill(folder):
    """The golden studies in `folder`, as journal, as SQLite file, and as one with a write-ahead log."""
    folder.mkdir()
    shutil.copy(GOLDEN / "studies.journal", folder)
    for name in ("studies.db", "ahead.db"):
        (folder / name).write_bytes(gzip.decompress((GOLDEN / "studies.db.gz").read_bytes()))
    ahead = sqlite3.connect(folder / "ahead.db")
    assert ahead.execute("PRAGMA journal_mode = wal").fetchone() == ("wal",)
    ahead.close()
    return folder


@contextlib.contextmanager
def mounted(folder):
    """`folder` as a mount that can only be read, or, for other users than root, without permission to write."""
    if os.geteuid():
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            yield folder
        finally:
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
        return
    bind, remount = ["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder]
    if not shutil.which("mount") or any(subprocess.run(c, capture_output=True).returncode for c in (bind, remount)):
        pytest.skip("no file system can be mounted here, and permissions do not bind root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    with mounted(fill(tmp_path_factory.mktemp("read-only") / "locked")) as folder:
        yield folder


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("free") / "free")


@pytest.fixture(params=["studies.journal", "sqlite:///{}/studies.db", "sqlite:///{}/ahead.db"])
def both(request, locked, free):
    """The same storage twice, one of which can only be read."""
    return [
        request.param.format(folder) if "{}" in request.param else str(folder / request.param)
        for folder in (locked, free)
    ]


READING = {
    "list": ["study", "list", "-f", "json"],
    "show": ["study", "show", "golden", "-f", "json"],
    "front": ["study", "front", "golden", "-f", "json"],
    "spread": ["study", "front", "golden", "--spread"],
    "baseline": ["study", "baseline", "golden", "-f", "json"],
    "plot": ["study", "plot", "golden", "-o", "front.json"],
    "report": ["study", "report", "golden", "-o", "report.html"],
    "describe": ["describe", "golden:3"],
}
TRAINED = {
    "trained": ["study", "front", "golden", "--trained"],
    "trained plot": ["study", "plot", "golden", "--trained", "-o", "trained.json"],
    "validate": ["validate", "golden"],
}


WRITING = {
    "create": ["study", "create", "new", "--space", "tiny", "--task", "digits"],
    "run": ["study", "run", "golden", "--trials", "1"],
    "exact": ["study", "exact", "golden"],
    "a baseline": ["study", "baseline", "golden", "C=16,depth=1,heads=2,ratio=1"],
    "fork": ["study", "fork", "golden", "new"],
    "delete": ["study", "delete", "golden", "--yes"],
    "train": ["train", "golden", "--knee", "--epochs", "1"],
}


def said(result, storage):
    """All that a person is told, without the storage's name."""
    return [text.replace(storage, "STORAGE") for text in (result.stdout, result.stderr)], result.exit_code


@pytest.mark.parametrize("name", READING)
@pytest.mark.slow
def test_what_reads_says_the_same(cli, both, name):
    found = []
    for storage in both:
        found.append(said(cli(*READING[name], "--storage", storage), storage))
    assert found[0] == found[1]
    assert found[0][1] == 0, found[0]


@pytest.mark.parametrize("name", TRAINED)
def test_what_reads_trained_networks_says_the_same(cli, locked, free, name):
    found = [said(cli(*TRAINED[name], "--storage", f / "studies.journal"), str(f)) for f in (locked, free)]
    assert found[0] == found[1]
    assert found[0][1] == (2 if name == "validate" else 0), found[0]  # two networks are too few


@pytest.mark.parametrize("name", WRITING)
def test_what_writes_says_so_before_it_computes(cli, both, name, monkeypatch):
    monkeypatch.setattr(InitialRates, "measure", None)  # or it would raise another error
    before = Path(both[0].removeprefix("sqlite:///")).read_bytes()
    (out, error), code = said(cli(*WRITING[name], "--storage", both[0]), both[0])
    assert (out, code) == ("", 2), error
    assert error.startswith("error: cannot write the storage")
    assert error.endswith("; give another with --storage\n")
    assert Path(both[0].removeprefix("sqlite:///")).read_bytes() == before


@pytest.mark.parametrize("name", ["studies.db", "ahead.db"])
def test_a_url_that_says_read_only_is_one(cli, free, name):
    url = f"sqlite:///file:{free / name}?mode=ro&uri=true"
    assert cli("study", "show", "golden", "--storage", url).exit_code == 0
    refused = cli("study", "run", "golden", "--trials", "1", "--storage", url)
    assert refused.stderr == (
        f"error: cannot write the storage {free / name} (its URL says mode=ro); give another with --storage\n"
    )
    assert refused.exit_code == 2


def test_what_a_database_holds_in_its_log_alone_is_not_left_out(tmp_path, cli):
    """Read as it is, without its log, it would miss the last trials: so it is not read where the log cannot be."""
    storage = f"sqlite:///{fill(tmp_path / 'there')}/ahead.db"
    held = sqlite3.connect(tmp_path / "there" / "ahead.db")  # open, it keeps the log from being merged into the file
    held.execute("UPDATE studies SET study_name = 'renamed' WHERE study_name = 'golden'")
    held.commit()
    for ending in ("", "-wal"):
        shutil.copy(tmp_path / "there" / f"ahead.db{ending}", tmp_path / f"torn.db{ending}")
    held.close()
    assert readable_url(storage) == storage
    with mounted(tmp_path) as folder:
        refused = cli("study", "list", "--storage", f"sqlite:///{folder}/torn.db")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: cannot read the storage")
    assert refused.stderr.endswith("copy it, with the files of its name and -wal or -journal, to another folder\n")
    assert "renamed" in cli("study", "list", "--storage", f"sqlite:///{tmp_path}/torn.db").stdout


@pytest.mark.parametrize(
    "storage",
    [
        ":memory:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+pysqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:?uri=true",
        "sqlite:///file:x?cache=shared&mode=memory&uri=true",
        "sqlite:///file:/x?uri=true&vfs=memdb",
    ],
)
def test_a_study_in_memory_is_refused(cli, storage):
    """It would be gone with the command that made it."""
    for command in (["study", "create", "new", "--space", "tiny", "--task", "digits"], ["study", "list"]):
        refused = cli(*command, "--storage", storage)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr == (
            f"error: the storage {storage} is in memory, and gone when the command ends; give a file, such as "
            "sqlite:///autost.db\n"
        )
    assert os.listdir() == []


@pytest.mark.parametrize("storage", ["", "  "])
def test_an_empty_storage_is_refused(cli, storage):
    refused = cli("study", "create", "new", "--storage", storage)
    assert refused.exit_code == 2
    assert refused.stderr == "error: the storage is empty; give a file such as autost.journal, or a URL\n"
