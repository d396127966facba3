"""One contract over all storages, and what happens where one goes away, fills up, breaks off, or has a wrong URL."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import optuna
import pytest
import warm
from makers import claim_of, one_error, training
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from warm import PIPE, Popen, program

from autost_optuna.search import study as studies
from autost_optuna.search.catalogue import delete, list_searches
from autost_optuna.search.presence import Presence
from autost_optuna.search.runner import RunCallbacks, run
from autost_optuna.search.summary import summarise
from autost_optuna.storage import patience
from autost_optuna.storage.journal import JournalFile, JournalFileSymlinkLock, JournalOperation
from autost_optuna.storage.location import shown
from autost_optuna.storage.storage import open_storage
from autost_optuna.training.record import Taken, write_curve
from autost_optuna.training.records import open_trained


@pytest.fixture(params=["journal", "sqlite", "grpc", "postgresql"])
def storage(request, tmp_path):
    if request.param == "grpc":
        return request.getfixturevalue("server").url
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return str(tmp_path / "s.journal") if request.param == "journal" else f"sqlite:///{tmp_path}/s.db"


def results(search):
    return [(t.number, t.state, t.values, t.params, t.user_attrs) for t in search.study.get_trials(deepcopy=False)]


@pytest.mark.slow
def test_a_network_is_trained_once_on_every_storage(storage, create, tmp_path):
    search = create("s", storage)
    run(search, trials=1)
    member, given = search.candidates()[0], training(search.candidates()[0].architecture)
    write_curve(tmp_path / "curve.csv", [])
    trainings = open_trained(search, create=True, artifacts=tmp_path / "curves")
    elsewhere = open_trained(studies.open_search("s", storage, write=True), create=True)
    with (
        Presence(trainings.study, retires=False) as presence,
        Presence(elsewhere.study, retires=False) as other,
    ):
        claim = claim_of(trainings, member, presence)
        assert claim_of(elsewhere, member, other) == Taken(number=0, host=socket.gethostname(), process=os.getpid())
        claim.fail("interrupted")
        claim = claim_of(elsewhere, member, other)
        assert claim.number == 1
        trainings.give_up(claim.trial, "silent")
        with pytest.raises(RuntimeError, match="taken for abandoned"):
            claim.complete(given)
        claim_of(trainings, member, presence).complete(given, [tmp_path / "curve.csv"])
    made = claim_of(elsewhere, member, other)
    assert made == open_trained(studies.open_search("s", storage)).find(given.key)
    assert (made.number, made.rates) == (2, given.rates)
    assert [row.name for row in list_searches(storage)] == ["s", "s.trained"]


@pytest.mark.slow
def test_a_study_lives_on_every_storage(storage, create):
    name = "Spiking 変換器 – Größe µ 🧠"
    whole = create("whole", storage, population=6)
    run(whole, trials=14)
    create(name, storage, population=6)
    for trials in (6, 3, 5):
        run(studies.open_search(name, storage, write=True), trials=trials)
    search = studies.open_search(name, storage)
    assert results(search) == results(studies.open_search("whole", storage))
    assert search.settings == whole.settings
    assert search.study.metric_names == ["FLOPs", "energy (mJ)"]
    assert [(row.name, row.trials) for row in list_searches(storage)] == [(name, 14), ("whole", 14)]
    assert search.front() == studies.open_search("whole", storage).front()
    assert summarise(search).health.trials == 14
    search.study.set_user_attr("note", {"a": [1, None, "ü"]})
    assert studies.open_search(name, storage).study.user_attrs["note"] == {"a": [1, None, "ü"]}
    with pytest.raises(ValueError, match=r"exists in .*; choose another name"):
        create(name, storage)
    assert delete(name, storage) == 14
    assert studies.existing_names(storage) == ["whole"]


@pytest.mark.slow
def test_two_openers_share_a_study(storage, create):
    create("s", storage, population=6)
    searches = [studies.open_search("s", storage, write=True) for _ in range(2)]
    threads = [threading.Thread(target=run, args=(search,), kwargs={"trials": 8}) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = studies.open_search("s", storage).study.trials
    assert [trial.number for trial in trials] == list(range(16))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


@pytest.mark.slow
@pytest.mark.process
def test_of_two_that_create_a_study_at_once_one_is_told(storage, tmp_path):
    (tmp_path / "toy.toml").write_text("embed_dim = [16, 32]\ndepth = [1]\nnum_heads = [2, 4]\nmlp_ratio = [1, 2]\n")
    command = ["study", "create", "raced", "--space", "toy.toml", "--task", "digits", "--storage", storage]
    racers = [Popen(["-m", "autost_optuna", *command], cwd=tmp_path, stderr=PIPE, text=True) for _ in range(2)]
    errors = [racer.communicate(timeout=120)[1] for racer in racers]
    codes = [racer.returncode for racer in racers]
    assert sorted(codes) == [0, 2], errors
    lost = errors[codes.index(2)]
    assert lost.startswith("error: study 'raced' exists")
    assert lost.count("\n") == 1
    assert studies.existing_names(storage) == ["raced"]
    assert run(studies.open_search("raced", storage, write=True), trials=2).done == 2


def run_while(search, harm, trials=40):
    """Run `trials` trials while `harm` is done after some of them; the trials afterwards."""
    run(search, trials=trials, callbacks=RunCallbacks(on_trial=lambda progress: harm(progress.done)))
    return search.study.get_trials()


@pytest.mark.slow
@pytest.mark.process
def test_a_run_survives_a_grpc_server_that_is_killed_and_started_again(server, create):
    create("whole", server.url, population=6)
    run(studies.open_search("whole", server.url), trials=40)
    create("s", server.url, population=6)

    def restart():
        for _ in range(3):
            time.sleep(0.3)
            server.kill()
            time.sleep(0.7)
            server.start()

    restarter = threading.Thread(target=restart)
    search = studies.open_search("s", server.url)
    restarter.start()
    while restarter.is_alive():
        run(search, trials=5)
    restarter.join()
    trials = studies.open_search("s", server.url).study.trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    whole = studies.open_search("whole", server.url).study.trials
    assert [trial.values for trial in trials[:40]] == [trial.values for trial in whole[: len(trials)]]


@pytest.mark.slow
def test_a_run_survives_postgresql_ending_its_connections(database, create):
    search = create("s", database, population=6)
    admin = create_engine(database)

    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    stop = threading.Event()
    ended = []

    def end_often():
        while not stop.wait(0.5):
            with admin.connect() as connection:
                found = connection.execute(text(f"{ending} AND datname = current_database()"))
                ended.extend(found.scalars())

    often = threading.Thread(target=end_often)
    often.start()
    try:
        while len(ended) < 6:
            run(search, trials=5)
    finally:
        stop.set()
        often.join()
        admin.dispose()
    trials = studies.open_search("s", database).study.trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


@pytest.mark.process
def test_a_storage_that_stays_away_is_one_error_after_a_bounded_wait(server, create, cli, monkeypatch):
    monkeypatch.setattr(patience, "WAIT_S", 1.0)
    search = create("s", server.url)
    run(search, trials=2)
    begun = time.monotonic()
    with pytest.raises(
        RuntimeError, match=r"the storage grpc://127.0.0.1:\d+ does not answer .*; finished trials are safe"
    ):
        run_while(search, lambda done: server.kill())
    assert time.monotonic() - begun < 30  # it waits once, and not again for each call of the clean-up
    wait, waited = optuna.storages.GrpcStorageProxy.wait_server_ready, []

    def shortly(proxy, timeout):
        waited.append(timeout)
        wait(proxy, timeout=1.0)

    monkeypatch.setattr(optuna.storages.GrpcStorageProxy, "wait_server_ready", shortly)
    result = cli("study", "list", "--storage", server.url)
    assert (result.exit_code, result.stderr.count("\n"), waited) == (2, 1, [10])
    assert result.stderr.startswith("error: no gRPC storage answers")


class Unanswered:
    """A storage's method that is carried out, but whose answer is lost the first time."""

    def __init__(self, call):
        self.call, self.calls = call, 0

    def __call__(self, *arguments, **named):
        self.calls += 1
        result = self.call(*arguments, **named)
        if self.calls == 1:
            raise ConnectionError("answer lost")
        return result


def test_a_call_whose_answer_is_lost_doubles_nothing(tmp_path):
    def failure(error):
        return patience.Failure(reason=str(error), passing=True) if isinstance(error, ConnectionError) else None

    inner = open_storage(str(tmp_path / "a.journal"), create=True)
    study_id = inner.create_new_study([optuna.study.StudyDirection.MINIMIZE] * 2, "s")
    lost = {name: Unanswered(getattr(inner, name)) for name in ("create_new_trial", "set_trial_state_values")}
    for name, call in lost.items():
        setattr(inner, name, call)
    kept = patience.make_patient(inner, patience.Patience("there", failure))
    trial = kept.create_new_trial(study_id)
    assert kept.set_trial_state_values(trial, TrialState.COMPLETE, [1.0, 2.0])
    assert lost["set_trial_state_values"].calls == 2
    (found,) = kept.get_all_trials(study_id)
    assert (found.state, found.values) == (TrialState.COMPLETE, [1.0, 2.0])
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        kept.set_trial_state_values(trial, TrialState.COMPLETE, [1.0, 2.0])
    lost["create_new_trial"].calls = 0
    with pytest.raises(RuntimeError, match="the storage there does not answer"):
        kept.create_new_trial(study_id, found)  # a finished one is not written again


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 512 KiB where this may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system can be mounted here; a full disk is tested where one can")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
@pytest.mark.slow
@pytest.mark.process
def test_a_full_disk_ends_a_run_and_costs_no_finished_trial(small_disk, create, kind):
    storage = str(small_disk / "s.journal") if kind == "journal" else f"sqlite:///{small_disk}/s.db"
    create("s", storage)
    assert run(studies.open_search("s", storage, write=True), trials=5).done == 5
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"x" * (free - 24_000))
    result = program("study", "run", "s", "--trials", 200, "--storage", storage)
    said = one_error(result, 1)
    assert "No space left" in said or "disk is full" in said
    before = [t for t in studies.open_search("s", storage).study.trials if t.state == TrialState.COMPLETE]
    assert len(before) >= 5
    ballast.unlink()
    assert program("study", "run", "s", "--trials", 4, "--storage", storage).returncode == 0
    after = [t for t in studies.open_search("s", storage).study.trials if t.state == TrialState.COMPLETE]
    assert after[: len(before)] == before
    assert len(after) == len(before) + 4


@pytest.mark.process
def test_a_write_that_fails_half_way_leaves_whole_lines(tmp_path, create):
    """A limit on the size of files, where no disk can be filled."""
    storage = str(tmp_path / "s.journal")
    create("s", storage)
    run(studies.open_search("s", storage, write=True), trials=3)
    size = (tmp_path / "s.journal").stat().st_size
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 5000}, -1)); "
    code = limit + "from autost_optuna.cli import main; main()"
    command = ["-c", code, "study", "run", "s", "--trials", "100", "--storage", storage]
    result = warm.run(command, capture_output=True, text=True)
    assert f"{storage}: File too large" in one_error(result, 1)
    lines = (tmp_path / "s.journal").read_bytes().splitlines(keepends=True)
    assert lines[-1].endswith(b"\n")
    assert all(json.loads(line) for line in lines)
    assert run(studies.open_search("s", storage, write=True), trials=3).done == 3


@pytest.mark.slow
def test_a_journal_cut_at_any_byte_or_ending_in_zeros_loses_what_is_cut_and_goes_on(tmp_path, create):
    storage = tmp_path / "s.journal"
    create("s", str(storage))
    run(studies.open_search("s", str(storage), write=True), trials=2)
    whole = storage.read_bytes()
    lines = whole.splitlines(keepends=True)
    last_two = len(lines[-1]) + len(lines[-2])
    endings = [whole[: len(whole) - cut] for cut in range(last_two + 1)]
    zeros = [part + b"\0" * many for part in (whole, whole[:-100]) for many in (1, 4096, 300_000)]
    zeros += [whole[: -len(lines[-1])] + b"\0" * 100 + lines[-1][100:], whole + b"\0" * 50 + b"\n"]
    for ending in endings + zeros:
        storage.write_bytes(ending)
        backend = open_storage(str(storage), write=ending.endswith(b"\n"))
        study_id = backend.get_study_id_from_name("s")
        states = [trial.state for trial in backend.get_all_trials(study_id)]
        trial = backend.create_new_trial(study_id)
        backend.set_trial_state_values(trial, TrialState.FAIL)
        again = [trial.state for trial in open_storage(str(storage)).get_all_trials(study_id)]
        assert again == [*states, TrialState.FAIL]
        assert states[0] == TrialState.COMPLETE
        assert all(json.loads(line) for line in storage.read_bytes().splitlines())
    storage.write_bytes(lines[0][:10])  # cut in its first line
    assert optuna.get_all_study_names(open_storage(str(storage), write=True)) == []


def test_two_that_hold_the_lock_write_one_after_the_other(tmp_path, monkeypatch):
    path = tmp_path / "a.journal"
    path.touch()
    monkeypatch.setattr(JournalFileSymlinkLock, "acquire", lambda lock: True)  # as a lock that was taken over wrongly
    monkeypatch.setattr(JournalFileSymlinkLock, "release", lambda lock: None)

    def write(name):
        journal = JournalFile(path)
        for turn in range(300):
            journal.append_logs([{"op_code": JournalOperation.SET_TRIAL_PARAM, "name": name, "turn": turn}] * 20)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = Counter((log["name"], log["turn"]) for log in map(json.loads, path.read_text().splitlines()))
    assert lines == {(name, turn): 20 for name in "abcd" for turn in range(300)}


def test_another_processs_torn_line_is_cut_before_the_next_write(tmp_path, create, caplog):
    storage = tmp_path / "s.journal"
    search = create("s", str(storage))
    with storage.open("ab") as file:
        file.write(b'{"op_code":5,"wor')
    with caplog.at_level(logging.WARNING, "autost_optuna"):
        run(search, trials=2)
    assert "cut off 17 bytes of a torn last line" in caplog.text
    assert len(studies.open_search("s", str(storage)).candidates()) == 2


def test_a_journal_write_is_on_the_disk_whole_or_not_at_all(tmp_path, monkeypatch):
    journal = JournalFile(tmp_path / "a.journal")
    journal.append_logs([{"op_code": 0}])

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"a\.journal"):
        journal.append_logs([{"op_code": 1}, {"op_code": 2}])
    assert (tmp_path / "a.journal").read_bytes() == b'{"op_code":0}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.journal"]


def test_a_trial_waits_for_the_disk_once(tmp_path, create, monkeypatch):
    search = create("s", str(tmp_path / "a.journal"), population=100)
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(1), sync(descriptor)))
    run(search, trials=5)
    assert len(synced) == 5 + 2  # and once where the run says that it begins, and that it has ended


SECRET = "gehe1m/w@rd:{x}%"
ENCODED = "gehe1m%2Fw%40rd%3A%7Bx%7D%25"
WRONG = {
    "host": f"postgresql+psycopg://me:{ENCODED}@no-such-host.invalid/db",
    "port": f"postgresql+psycopg://me:{ENCODED}@127.0.0.1:1/db",
    "no port": f"postgresql+psycopg://me:{ENCODED}@127.0.0.1:port/db",
    "driver": f"postgresql+nodriver://me:{ENCODED}@127.0.0.1/db",
    "missing driver": f"mysql+mariadbconnector://me:{ENCODED}@127.0.0.1/db",
    "no dialect": f"nothing://me:{ENCODED}@127.0.0.1/db",
    "not encoded": f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/db",
    "as parameter": f"postgresql+psycopg://127.0.0.1:1/db?user=me&password={ENCODED}",
    "as parameter, not encoded": f"postgresql+psycopg://127.0.0.1:1/db?password={SECRET}",
    "no host": f"postgresql+psycopg://me:{SECRET}",
    "grpc": f"grpc://me:{ENCODED}@127.0.0.1:1",
}
COMMANDS = [
    ["study", "create", "s", "--task", "digits"],
    ["study", "run", "s", "--trials", "1"],
    ["study", "list"],
    *(["study", name, "s"] for name in ("show", "exact", "front")),
    ["study", "plot", "s", "-o", "x.html"],
    ["study", "fork", "s", "t"],
    ["study", "copy", "s", "--to", "x.journal"],
    ["study", "delete", "s", "--yes"],
    ["describe", "s:0"],
    ["train", "s", "--knee"],
    ["export", "s", "--knee", "-o", "x"],
    ["dashboard"],
]


def without_secret(result, caplog=None):
    for printed in (result.stdout, result.stderr, caplog.text if caplog else ""):
        for part in ("gehe1m", "w@rd", "w%40rd", "rd:{x}"):
            assert part not in printed
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert "unexpected" not in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
def test_no_password_is_printed_whatever_is_wrong(command, cli, caplog):
    pytest.importorskip(
        "psycopg", reason="the driver psycopg is not installed; pip install 'autost-optuna[postgresql]'"
    )
    caplog.set_level(logging.DEBUG)
    optuna.logging.enable_propagation()
    try:
        for url in WRONG.values():
            without_secret(cli(*command, "--storage", url), caplog)
    finally:
        optuna.logging.disable_propagation()


def test_the_storage_to_copy_to_keeps_its_password_too(cli, tmp_path, create):
    pytest.importorskip(
        "psycopg", reason="the driver psycopg is not installed; pip install 'autost-optuna[postgresql]'"
    )
    create("s", str(tmp_path / "autost.journal"))
    for url in WRONG.values():
        without_secret(cli("study", "copy", "s", "--to", url))


def test_a_wrong_password_on_a_real_server_is_not_printed(database, cli):
    url = make_url(database)
    for wrong in (
        url.set(password=SECRET),
        url.set(username="nobody", password=SECRET),
        url.set(password=None).update_query_dict({"password": SECRET}),
    ):
        result = cli("study", "list", "--storage", wrong.render_as_string(hide_password=False))
        without_secret(result)
    right = cli("study", "list", "--storage", url.set(database="no_such_one").render_as_string(hide_password=False))
    assert right.exit_code == 2
    assert url.password not in right.stderr


def test_a_missing_driver_is_named_with_its_installation(cli, monkeypatch):
    for module, url, said in (
        ("psycopg", "postgresql+psycopg://me:x1y2@127.0.0.1/db", "pip install 'psycopg[binary]'"),
        ("psycopg2", "postgresql+psycopg2://me:x1y2@127.0.0.1/db", "pip install 'psycopg2-binary'"),
        ("pymysql", "mysql+pymysql://me:x1y2@127.0.0.1/db", "pip install 'PyMySQL'"),
        ("grpc", "grpc://127.0.0.1:1", "pip install 'autost-optuna[grpc]'"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        result = cli("study", "list", "--storage", url)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "x1y2" not in result.stderr
        assert result.stderr.count("\n") == 1


def test_what_is_shown_of_a_url():
    for url, said in {
        "a.journal": "a.journal",
        "sqlite:///a@b.db": "sqlite:///a@b.db",
        "grpc://127.0.0.1:13000": "grpc://127.0.0.1:13000",
        "mysql+pymysql://me@host:3306/db?charset=utf8": "mysql+pymysql://me@host:3306/db?charset=utf8",
        "postgresql://me:pw@[::1]:5/db?sslpassword=a&x=1": "postgresql://me:***@[::1]:5/db?sslpassword=***&x=1",
        "postgresql://me:p@w@host/db": "postgresql://...",
        "postgresql://me:pw": "postgresql://...",
    }.items():
        assert shown(url) == said
