"""What optuna-dashboard shows: the board that is kept with a study, and the real dashboard in a headless Chromium."""

import asyncio
import base64
import csv
import io
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from autost_optuna import Task
from autost_optuna.board import BELOW, escape, write_board
from autost_optuna.front import knee
from autost_optuna.runner import run
from autost_optuna.study import create, open_search

NAME = "my <b>study</b> | *one*"


@pytest.fixture
def search(tmp_path, toy_space):
    found = create(NAME, str(tmp_path / "s.journal"), space=toy_space, task=Task.preset("digits"))
    run(found, trials=12)
    return open_search(NAME, found.storage, write=True)


def figures_of(search):
    stored = get_plotly_graph_objects(search.study._storage.get_study_system_attrs(search.study._study_id))
    return {name: json.loads(text) for name, text in stored.items()}


def files_of(search):
    store = FileSystemArtifactStore(f"{search.storage}.artifacts")
    metas = get_all_artifact_meta(search.study)
    return {meta.filename: store.open_reader(meta.artifact_id).read() for meta in metas}


def test_a_board_has_figures_note_and_files(search, tmp_path):
    write_board(search)
    figures = figures_of(search)
    assert set(figures) == {"front", "hypervolume", "genes", "stages"}
    assert "my &lt;b&gt;study" in figures["front"]["layout"]["title"]["text"]
    note = get_note(search.study)
    chosen = knee(search.front())
    assert note.startswith(f"# {escape(NAME)}\n")
    assert f"| {chosen.number} | {escape(chosen.architecture.to_text())} |" in note
    assert f"autost-optuna export '{NAME}' --trial {chosen.number} -o trial-{chosen.number}" in note
    kept = files_of(search)
    assert json.loads(kept["knee.json"]) == chosen.architecture.to_dict()
    bill = list(csv.DictReader(io.StringIO(kept["knee-audit.csv"].decode())))
    assert sum(float(row["energy_pj"]) for row in bill) * 1e-9 == pytest.approx(chosen.energy_mj)


def test_a_board_is_written_anew_and_a_persons_own_note_stays(search):
    save_note(search.study, "bought by Ann")  # before there was a board
    write_board(search)
    first = get_note(search.study)
    assert first.endswith(f"{BELOW}\nbought by Ann")
    save_note(search.study, f"{first}\nand Bob")
    run(search, trials=3)
    write_board(search)
    note = get_note(search.study)
    assert note.count(BELOW) == 1
    assert note.endswith("bought by Ann\nand Bob")
    assert "15 trials" in note
    assert len(figures_of(search)["hypervolume"]["data"]) > 0
    assert len(get_all_artifact_meta(search.study)) == 2


def test_without_a_candidate_there_is_no_board(tmp_path, toy_space):
    empty = create("empty", str(tmp_path / "s.journal"), space=toy_space, task=Task.preset("digits"))
    write_board(empty)
    assert (get_note(empty.study), figures_of(empty)) == ("", {})


def test_commands_keep_the_board(cli):
    cli("study", "create", "demo", "--space", "tiny", "--max-params", "2M")
    assert cli("study", "run", "demo", "--trials", "3").exit_code == 0
    assert "3 trials" in get_note(open_search("demo", "autost.journal").study)
    assert cli("study", "copy", "demo", "--to", "other.journal").exit_code == 0
    copied = open_search("demo", "other.journal")
    assert set(figures_of(copied)) == {"front", "hypervolume", "genes", "stages"}
    assert files_of(copied) == files_of(open_search("demo", "autost.journal"))


@pytest.fixture
def server(search):
    """The real dashboard on the study's storage: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "autost_optuna", "dashboard", "--port", str(port), "--storage", search.storage]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


async def visit(address, picture):
    """What a person reads who opens the dashboard, clicks the study, and then its note; a screenshot of the study's page."""
    import choreographer

    async def until(found, *words):
        for _ in range(150):
            text = await ask("document.body.innerText") or ""  # of a page that is on its way there is none
            if all(word in text for word in words):
                return text
            await asyncio.sleep(0.2)
        raise AssertionError(f"{words} not on the page {found}: {text}")

    async with choreographer.Browser(headless=True, enable_sandbox=False) as browser:
        tab = await browser.create_tab(f"{address}/dashboard")
        size = {"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        await tab.send_command("Emulation.setDeviceMetricsOverride", size)

        async def ask(script):
            answer = await tab.send_command("Runtime.evaluate", {"expression": script, "returnByValue": True})
            return answer["result"]["result"].get("value")

        await until("of all studies", NAME)
        await ask("[...document.querySelectorAll('a')].find(a => a.innerText.includes('my <b>study')).click()")
        page = await until("of the study", "Pareto Front", "energy (mJ)", "members of the front", "hypervolume 0.")
        shot = await tab.send_command("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        picture.write_bytes(base64.b64decode(shot["result"]["data"]))
        await ask("[...document.querySelectorAll('a')].find(a => a.href.endsWith('/note')).click()")
        return page, await until("of the note", "least energy")


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="the dashboard is looked at with Chromium, which is not here"
)
def test_the_dashboard_shows_the_board(search, server, tmp_path):
    pytest.importorskip("choreographer", reason="kaleido's driver of Chromium is not installed")
    write_board(search)
    picture = tmp_path / "dashboard.png"
    page, note = asyncio.run(visit(server, picture))
    for text in ("FLOPs", "energy (mJ)", "where the energy of the picks goes", "knee.json"):
        assert text in page, text
    assert "most FLOPs" in note
    assert "What you write below this line stays." in note
    assert picture.stat().st_size > 50_000
