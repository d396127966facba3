"""What optuna-dashboard shows: the board that is kept with a study, and the real dashboard in a headless Chromium."""

import asyncio
import base64
import csv
import io
import json
import shutil
import time
import urllib.request
from pathlib import Path

import pytest
from makers import TOY_FILE, free_port
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna_dashboard import get_note, save_note
from warm import PIPE, STDOUT, Popen

from autost_optuna import Space, Task
from autost_optuna.delivery.board import ABOVE, BELOW, figures_of, quoted, write_board
from autost_optuna.front.picks import knee
from autost_optuna.search.baselines import add_baselines, find_networks
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, open_search
from autost_optuna.storage.artifacts import keep_artifact, store_of

NAME = "my <b>study</b> | *one*"


@pytest.fixture
def search(tmp_path, toy_space):
    found = create(NAME, str(tmp_path / "s.journal"), Plan(space=toy_space, task=Task.preset("digits")))
    run(found, trials=12)
    return open_search(NAME, found.storage, write=True)


def drawn(search):
    return {name: json.loads(text) for name, text in figures_of(search.study).items()}


def files_of(search):
    store = FileSystemArtifactStore(f"{search.storage}.artifacts")
    metas = get_all_artifact_meta(search.study)
    files = {}
    for meta in metas:
        with store.open_reader(meta.artifact_id) as file:
            files[meta.filename] = file.read()
    return files


def test_a_board_has_figures_note_and_files(search, tmp_path):
    write_board(search)
    figures = drawn(search)
    assert set(figures) == {"front", "hypervolume", "genes", "stages"}
    assert "my &lt;b&gt;study" in figures["front"]["layout"]["title"]["text"]
    assert not [
        name for name, figure in figures.items() if "height" in figure["layout"]
    ]  # a taller one would be cut off
    note = get_note(search.study)
    chosen = knee(search.front())
    assert note.startswith(f"{ABOVE}\n\n# {quoted(NAME)}\n")
    assert f"| {chosen.number} | {quoted(chosen.architecture.to_text())} |" in note
    assert f"autost-optuna export '{NAME}' --trial {chosen.number} -o trial-{chosen.number}" in note
    kept = files_of(search)
    assert json.loads(kept["knee.json"]) == chosen.architecture.to_dict()
    bill = list(csv.DictReader(io.StringIO(kept["knee-audit.csv"].decode())))
    assert sum(float(row["energy_pj"]) for row in bill) * 1e-9 == pytest.approx(chosen.energy_mj)


@pytest.mark.slow
def test_a_board_is_written_anew_and_a_persons_own_note_stays(search):
    save_note(search.study, "bought by Ann")  # before there was a board
    write_board(search)
    first = get_note(search.study)
    assert first.endswith(f"{BELOW}\n\nbought by Ann")
    save_note(search.study, f"Read this!\n\n{first}\nand Bob")
    run(search, trials=3)
    write_board(search)
    note = get_note(search.study)
    assert (note.count(ABOVE), note.count(BELOW), note.count(f"# {quoted(NAME)}")) == (1, 1, 1)
    assert note.startswith(f"Read this!\n\n{ABOVE}\n\n# ")
    assert note.endswith("bought by Ann\nand Bob")
    assert "15 trials" in note
    for gone in (BELOW, ABOVE):  # a person deleted a line of ours: nothing of theirs is lost
        save_note(search.study, note.replace(gone, ""))
        write_board(search)
        assert "bought by Ann\nand Bob" in get_note(search.study)
        assert (get_note(search.study).count(ABOVE), get_note(search.study).count(BELOW)) == (1, 1)
    assert get_note(search.study).startswith(f"{ABOVE}\n\n# ")
    assert len(drawn(search)["hypervolume"]["data"]) > 0
    assert set(files_of(search)) == {"knee.json", "knee-audit.csv"}


@pytest.mark.slow
def test_a_board_of_the_same_study_writes_nothing(search):
    journal = Path(search.storage)
    for own in ("", "mine"):
        save_note(search.study, own)
        write_board(search)
        before = journal.read_bytes()
        write_board(open_search(NAME, search.storage, write=True))
        assert journal.read_bytes() == before


@pytest.mark.slow
def test_what_no_longer_applies_gives_way(search, monkeypatch):
    write_board(search)
    kept = drawn(search)["front"]

    def elsewhere(search, picks, data_root):
        raise ValueError("no images in /somewhere")

    monkeypatch.setattr("autost_optuna.delivery.board.bills_of", elsewhere)
    write_board(search)
    figures = drawn(search)
    assert figures["front"] == kept
    assert (figures["stages"]["data"], "trained" in figures) == ([], False)
    assert "not available" in figures["stages"]["layout"]["title"]["text"]
    assert "/somewhere" not in json.dumps(figures)
    assert files_of(search)["knee-audit.csv"].startswith(b"not available after the last run: autost-optuna describe")
    monkeypatch.undo()
    write_board(search)
    assert drawn(search)["stages"]["data"]
    assert files_of(search)["knee-audit.csv"].startswith(b"name,macs,")


def test_a_front_that_says_little_is_called_so(tmp_path):
    space = Space(name="few", embed_dim=(16, 24, 32), depth=(1,), num_heads=(2,), mlp_ratio=(1,))
    found = create("few", str(tmp_path / "s.journal"), Plan(space=space, task=Task.preset("digits")))
    run(found, trials=3)
    write_board(found)
    assert "**Warning: degenerate objectives: all 3 of the space's architectures" in get_note(found.study)


@pytest.mark.slow
def test_baselines_are_named_for_what_they_are(search):
    add_baselines(
        search,
        find_networks(
            ["spikformer-2-384", "spikingformer-2-384", "C=48,depth=2,heads=4,ratio=2"], "unused", rebuilt=True
        ),
    )
    write_board(search)
    note = get_note(search.study)
    assert note.count("\n- AutoST form, 384 \u00d7 2: ") == 1  # one network, whatever it is called
    assert quoted("C=48,depth=2,heads=4,ratio=2") in note
    assert (
        "only the sizes of spikformer-2-384, spikingformer-2-384. The published networks are other ones and cost"
        in note
    )
    traces = drawn(search)["front"]["data"]
    (marks,) = (trace for trace in traces if str(trace["name"]).startswith("baselines"))
    assert "others, several times cheaper" in marks["name"]
    assert "<b>AutoST form, 384 \u00d7 2</b>" in "".join(marks["customdata"])


def test_two_processes_keep_one_file(search):
    folder = Path(f"{search.storage}.artifacts")
    other = open_search(NAME, search.storage, write=True)
    for study, text in ((search.study, "first"), (other.study, "second")):
        keep_artifact("a.txt", text, study, folder)
    assert files_of(search) == {"a.txt": b"second"}
    assert len(list(folder.iterdir())) == 1


@pytest.mark.slow
def test_a_copy_has_a_persons_files_and_its_own_board(search, cli, tmp_path):
    write_board(search)
    (tmp_path / "offer.txt").write_text("7 chips")
    store = FileSystemArtifactStore(f"{search.storage}.artifacts")
    upload_artifact(artifact_store=store, file_path=str(tmp_path / "offer.txt"), study_or_trial=search.study)
    for name in (NAME, "new"):
        to = tmp_path / f"{name[:3]}.journal"
        told = cli("study", "copy", NAME, "--to", to, "--as", name, "--storage", search.storage)
        assert told.exit_code == 0
        assert "not copied" not in told.stderr
        copied = open_search(name, str(to))
        assert files_of(copied) == {**files_of(search), "offer.txt": b"7 chips"}
        assert len(get_all_artifact_meta(copied.study)) == 3


@pytest.mark.slow
def test_what_was_trained_is_on_the_board_while_it_is_there(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    cli("study", "create", "demo", "--space", "toy.toml", "--task", "digits")
    cli("study", "run", "demo", "--trials", "2")
    assert cli("train", "demo", "--knee", "--epochs", "1", "--images", "64").exit_code == 0
    shown = drawn(open_search("demo", "autost.journal"))["trained"]
    assert [trace["yaxis"] for trace in shown["data"] if "yaxis" in trace] == []  # one panel, which fits the card
    assert any(trace["name"].startswith("measured: ") for trace in shown["data"])
    assert "height" not in shown["layout"]
    assert "demo\\.trained" in get_note(open_search("demo", "autost.journal").study)
    assert cli("study", "copy", "demo", "--to", "other.journal").exit_code == 0
    assert "trained" not in drawn(open_search("demo", "other.journal"))
    assert cli("study", "delete", "demo.trained", "--yes").exit_code == 0
    left = open_search("demo", "autost.journal")
    assert drawn(left)["trained"]["data"] == []
    assert "demo\\.trained" not in get_note(left.study)


def test_a_dashboard_whose_files_cannot_be_kept_is_a_dashboard(search):
    assert store_of(search.storage) is not None
    folder = Path(f"{search.storage}.artifacts")
    folder.rmdir()
    folder.write_text("in the way")
    assert store_of(search.storage) is None


def test_what_fails_on_the_board_is_a_warning(search, cli, monkeypatch):
    def broken(search, data_root):
        raise RuntimeError("the figure\nbroke")

    monkeypatch.setattr("autost_optuna.delivery.board.write_board", broken)
    told = cli("study", "run", NAME, "--trials", 1, "--storage", search.storage)
    assert told.exit_code == 0
    assert "hypervolume" in told.stdout
    assert told.stderr.endswith("is not up to date (the figure broke); the study itself is safe\n")


def test_without_a_candidate_there_is_no_board(tmp_path, toy_space):
    empty = create("empty", str(tmp_path / "s.journal"), Plan(space=toy_space, task=Task.preset("digits")))
    write_board(empty)
    assert (get_note(empty.study), drawn(empty)) == ("", {})


@pytest.mark.slow
def test_commands_keep_the_board(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    cli("study", "create", "demo", "--space", "toy.toml")
    assert cli("study", "run", "demo", "--trials", "3").exit_code == 0
    assert "3 trials" in get_note(open_search("demo", "autost.journal").study)
    assert cli("study", "copy", "demo", "--to", "other.journal").exit_code == 0
    copied = open_search("demo", "other.journal")
    assert set(drawn(copied)) == {"front", "hypervolume", "genes", "stages"}
    assert files_of(copied) == files_of(open_search("demo", "autost.journal"))


@pytest.fixture
def server(search):
    """The real dashboard on the study's storage: its address."""
    port = free_port()
    command = ["-m", "autost_optuna", "dashboard", "--port", port, "--storage", search.storage]
    process = Popen(command, stdout=PIPE, stderr=STDOUT)
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


# Of each card its name, the lines of its title and subtitle, and whether these stand clear of the plot and the box's ends.
CARDS = """JSON.stringify([...document.querySelectorAll('[id^="user-defined-plot:"]')].map(card => {
  const box = card.getBoundingClientRect();
  const edges = selector => [...card.querySelectorAll(selector)].map(part => part.getBoundingClientRect());
  const [title] = edges('.gtitle'), [subtitle] = edges('.gtitle-subtitle');
  const [plot] = edges('.nsewdrag, .parcoords-control-view');
  const svg = card.querySelector('.main-svg').getBoundingClientRect();
  return {name: card.id.split(':')[1], title: title.bottom <= subtitle.top + 4, subtitle: subtitle.bottom <= plot.top,
          inside: svg.bottom <= box.bottom + 1, wide: Math.max(title.right, subtitle.right) <= box.right,
          buttons: edges('.modebar-group').every(group => group.bottom <= title.top + 4)};
}))"""


async def visit(address, picture):
    """What a person reads who opens the dashboard, clicks the study, and then its note; a screenshot of the study's page.

    Between them, what CARDS says of the cards.
    """
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
        page = await until(
            "of the study",
            "Pareto Front",
            "energy (mJ)",
            "members of the front",
            "hypervolume 0.",
            "where the energy of the picks goes",
        )
        shot = await tab.send_command("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        picture.write_bytes(base64.b64decode(shot["result"]["data"]))
        cards = json.loads(await ask(CARDS))
        await ask("[...document.querySelectorAll('a')].find(a => a.href.endsWith('/note')).click()")
        return page, cards, await until("of the note", "least energy")


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="the dashboard is looked at with Chromium, which is not here"
)
@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.process
def test_the_dashboard_shows_the_board(search, server, tmp_path):
    pytest.importorskip("choreographer", reason="kaleido's driver of Chromium is not installed")
    write_board(search)
    picture = tmp_path / "dashboard.png"
    page, cards, note = asyncio.run(visit(server, picture))
    assert [card.pop("name") for card in cards] == ["front", "hypervolume", "genes", "stages"]
    assert all(all(card.values()) for card in cards), cards
    for text in ("FLOPs", "energy (mJ)", "where the energy of the picks goes", "knee.json"):
        assert text in page, text
    assert "most FLOPs" in note
    assert "What you write below this one stays." in note
    assert picture.stat().st_size > 50_000
