"""The report: what is said of a study, and that its page is complete, safe and draws itself."""

import html
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import optuna
import pytest
from makers import packed_figures, store, write_cifar10

from autost_optuna import Architecture, Space, Task
from autost_optuna.delivery.plots.points import finding
from autost_optuna.delivery.plots.study import study_figures
from autost_optuna.delivery.report import report_of, write_report
from autost_optuna.front.constraints import Constraints
from autost_optuna.front.picks import knee, pick, picks_of
from autost_optuna.network.chain import operations
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.energy import total_mj
from autost_optuna.search.baselines import baselines_of
from autost_optuna.search.bills import bills_of
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, find_exact, open_search
from autost_optuna.storage.storage import open_storage
from autost_optuna.training.records import trainings_of
from autost_optuna.training.worth import ELSEWHERE

NAME = "<script>alert(1)</script> & 'mine'"
SPACE = Space(name="<b>toy", embed_dim=(16, 32), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 2))


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A storage with a study of a name that is hard to bear, run to the end."""
    place = str(tmp_path_factory.mktemp("report") / "a.journal")
    create(
        NAME, place, Plan(space=SPACE, task=Task.preset("digits"), population=10, constraints=Constraints(max_depth=3))
    )
    run(open_search(NAME, place, write=True), trials=25)
    return place


@pytest.fixture
def search(storage):
    return open_search(NAME, storage)


@pytest.fixture
def own(storage, tmp_path_factory):
    """The same study in a storage of its own, to be written to."""
    return open_search(NAME, shutil.copy(storage, tmp_path_factory.mktemp("own")), write=True)


class Text(HTMLParser):
    """The tags of a page, and what a reader sees."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.within = [], [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.within.append(tag)

    def handle_endtag(self, tag):
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data):
        if not self.within:
            self.words.append(data)


@pytest.fixture
def page(search, tmp_path):
    write_report(search, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    return (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_the_page_needs_no_network_and_has_plotly_once(page):
    read = Text(page)
    assert [tag for tag, _ in read.tags].count("script") == 3
    assert not [tag for tag, found in read.tags if tag in ("link", "img", "iframe") or "src" in found]
    assert {found["href"][0] for tag, found in read.tags if tag == "a"} == {"#"}
    assert "url(" not in page
    assert page.count('id="plotly-js"') == 1
    assert len(page) < 3_000_000
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page


def test_all_that_was_written_by_people_stays_text(page, search):
    read = Text(page)
    assert NAME in read.text
    assert html.escape("<script>alert(1)</script>") in page
    assert "<script>alert" not in page
    assert "<b>toy" not in page
    assert "<b>toy" in read.text
    figures = packed_figures(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in json.dumps(figures["front"])
    for figure in figures.values():  # plotly reads tags in texts
        assert "<script>" not in json.dumps(figure)


def test_a_long_front_is_told_by_those_that_dominate_most_together(search, monkeypatch):
    monkeypatch.setattr("autost_optuna.delivery.words.ROWS", 2)
    members, report = search.front(), report_of(search)
    few = pick(members, search.settings.box, 2)
    assert len(members) > 2
    assert [row[0].removesuffix("*") for row in report.members] == [str(one.number) for one in few]
    assert report.members_said.startswith(f"The 2 of {len(members)} members that dominate most together")
    assert report.members_said.endswith(f"autost-optuna study front {shlex.quote(NAME)} lists all.")


def test_a_note_of_optuna_dashboard_is_shown_as_text(own, tmp_path):
    from optuna_dashboard import save_note

    save_note(own.study, "see <img src=x onerror=alert(1)>")
    write_report(own, tmp_path / "a.html")
    read = Text((tmp_path / "a.html").read_text())
    assert "see <img src=x onerror=alert(1)>" in read.text
    assert "img" not in [tag for tag, _ in read.tags]


def test_it_says_what_the_study_says(page, search):
    said, members = Text(page).text, search.front()
    report = report_of(search)
    assert f"Which spiking transformers of the space {SPACE.name} give the most capacity" in said
    assert report.finding == finding(members)
    assert f"T{report.finding[1:]}" in said  # the heading
    assert f"<title>{html.escape(NAME)}: {html.escape(report.finding)}</title>".replace("&#x27;", "&#39;") in page
    assert f"Study {NAME}" in said
    assert (
        f"Of {len({c.architecture.key for c in search.candidates()})} architectures tried, no other beats {len(members)}"
        in said
    )
    assert "depth at most 3" in said
    assert len(members) <= 20
    best = knee(members)
    assert [row[0] for row in report.members] == [
        f"{one.number}{'*' if one.number == best.number else ''}" for one in members
    ]
    assert [card.name for card in report.cards] == [pick.name for pick in picks_of(members)]
    assert "4.6 pJ for each multiply-accumulate of a real value (M. Horowitz" in said
    assert search.settings.fingerprint in said
    assert len(search.settings.versions) == 4
    assert all(f"{package} {version}" in said for package, version in search.settings.versions.items())
    assert "Not known. autost-optuna study exact" in said
    assert "None of these networks has been trained" in said
    assert f"{ELSEWHERE[1:]}." in said
    assert "Not converged: 25 trials, and the rule looks back over 200." in said


def test_the_bills_of_the_picks_are_those_of_the_search(search):
    bills = bills_of(search, picks_of(search.front()))
    for bill in bills:
        assert total_mj(bill.charges) == bill.pick.candidate.energy_mj
    for card, bill in zip(report_of(search).cards, bills, strict=True):
        dearest = max(bill.charges, key=lambda charge: charge.energy_pj)
        assert card.operations[0][0] == dearest.name
        charged = {charge.name: charge for charge in bill.charges}
        for name, reads, *_ in card.operations:
            rate = charged[name].rate
            assert reads == ("real" if rate is None else f"{rate:.3f}")
        assert any(row[1] == "real" for row in card.operations)
        assert len(card.operations) == 5
        shares = sum(float(row[-1].rstrip("%")) for row in card.operations) + float(card.rest.split()[-1].rstrip("%"))
        assert shares == pytest.approx(100, abs=0.4)


def test_the_figures_are_in_reading_order(search):
    bills = bills_of(search, picks_of(search.front()))
    assert list(study_figures(search, bills)) == ["front", "hypervolume", "genes", "stages"]
    assert list(study_figures(search, [])) == ["front", "hypervolume", "genes"]


@pytest.mark.slow
def test_its_commands_make_the_same_study(search, cli, tmp_path):
    report = report_of(search)
    assert [name for name, _ in report.files] == ["space.toml"]
    again = repeat(report, cli, tmp_path)
    assert again.settings == search.settings
    assert [c.to_dict() for c in again.candidates()] == [c.to_dict() for c in search.candidates()]


def repeat(report, cli, folder):
    """Do what a report says in a folder, and open the study that comes of it."""
    for name, text in report.files:
        (folder / name).write_text(text)
    for line in report.commands:
        words = shlex.split(line)
        assert words.pop(0) == "autost-optuna"
        result = cli(*words)
        assert result.exit_code == 0, (line, result.output)
    assert (folder / "report.html").exists()
    return open_search(report.name, str(folder / "autost.journal"))


@pytest.mark.slow
def test_its_commands_bring_back_baselines_trainings_and_prices_too(cli, tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(
        'name = "my chip"\nmac = { pj = 0.6, source = "a \\"sheet\\", §4" }\n'
        'accumulate = { pj = 1e-2, source = "C:\\\\chips\\u007f" }\nbit = { pj = 3, source = "guessed" }\nweight_bits = 8\n'
    )
    (tmp_path / "s.toml").write_text("embed_dim = [16, 32]\ndepth = [1, 2]\nnum_heads = [2, 4]\nmlp_ratio = [1, 2.5]\n")
    own = Architecture.from_text("C=16,depth=1,heads=2,ratio=4")
    (tmp_path / "own.json").write_text(json.dumps(own.to_dict()))
    for words in (
        "study create mine --space s.toml --task digits --energy mine.toml --population 5 --seed 3"
        " --objective energy_mj --objective flops --objective synflow",
        "study run mine --trials 6",
        "study baseline mine own.json spikformer-2-384",
        "train mine --knee --epochs 1 --images 100 --seeds 2",
    ):
        result = cli(*words.split())
        assert result.exit_code == 0, (words, result.output)
    first = open_search("mine", str(tmp_path / "autost.journal"))
    report = report_of(first)
    assert [name.partition("-")[0] for name, _ in report.files] == ["space.toml", "convention.toml", "recipe"]
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    again = repeat(report, cli, tmp_path / "again")
    assert again.settings == first.settings
    assert [c.to_dict() for c in again.candidates()] == [c.to_dict() for c in first.candidates()]
    (label, sizes, *_), (form, sizes_of, *_) = report.baselines
    assert (label, sizes) == ("own.json", "C 16, depth 1, heads 2, ratio 4")
    assert (form, sizes_of[:27]) == ("spikformer-2-384", "C 384, depth 2, heads 12, r")
    page = (tmp_path / "again" / "report.html").read_text()
    assert "The published network" not in Text(page).text  # it is that network
    assert not re.search(r"9[45]\.\d{2} %|5,768,122", Text(page).text)  # what was published of it
    assert [(b.architecture, b.energy_mj) for b in baselines_of(again)] == [
        (b.architecture, b.energy_mj) for b in baselines_of(first)
    ]
    found = [(one.key, one.search_trial, one.energy_mj, one.validation_accuracy) for one in trainings_of(first)]
    assert len(found) == 2
    assert found == [(one.key, one.search_trial, one.energy_mj, one.validation_accuracy) for one in trainings_of(again)]


@pytest.mark.slow
def test_what_was_trained_and_the_exact_front_are_told(own, tmp_path):
    members = own.front()
    exact = find_exact(own)
    for member in members[:3]:
        driven = [row.name for row in operations(member.architecture, own.settings.task) if row.driven_by != REAL]
        rates, more = dict.fromkeys(driven, 0.1), dict.fromkeys(driven, 0.1) | {"stem.conv2": 0.2}
        store(own, member, energy_mj=1.5 * member.energy_mj, initial_rates=rates, rates=more)
    report = report_of(own)
    assert list(report.figures) == ["front", "hypervolume", "genes", "stages", "trained"]
    assert len(report.trained) == 3
    assert report.trained[0][4] == "1.50"
    assert "measured energy is 1.50 times the predicted" in report.trust[-1]
    assert "Most moved the input rate of stem.conv2, from 0.100 to 0.200" in report.trust[-1]
    assert f"has {len(exact.members):,} members" in report.exact
    assert any(line.startswith("autost-optuna study exact") for line in report.commands)
    write_report(own, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "Predicted and measured" in Text(page).text
    assert "trained" in packed_figures(page)
    assert 'data-figure="trained"' in page


@pytest.mark.slow
def test_images_may_lie_elsewhere_and_no_place_of_the_machine_is_told(cli, tmp_path):
    write_cifar10(tmp_path / "data")
    (tmp_path / "s.toml").write_text("embed_dim = [16]\ndepth = [1, 2]\nnum_heads = [2, 4]\nmlp_ratio = [1, 2]\n")
    create = ["study", "create", "my c", "--space", "s.toml", "--data", "cifar10", "--data-root", tmp_path / "data"]
    assert cli(*create, "--images", 1).exit_code == 0
    assert cli("study", "run", "my c", "--trials", 3).exit_code == 0
    optuna.create_study(study_name="my c.trained", storage=open_storage("autost.journal", write=True))
    (tmp_path / "data").rename(tmp_path / "moved")

    def report(*options):
        result = cli("study", "report", "my c", "-o", "a.html", *options)
        return result, (tmp_path / "a.html").read_text() if result.exit_code == 0 else ""

    result, page = report()
    assert result.exit_code == 0, result.output
    assert "the study's images of cifar10 have moved" in Text(page).text
    assert "autost-optuna study plot 'my c' --figure stages -o stages.html says more" in Text(page).text
    assert "no trained networks of my c can be shown" in Text(page).text
    assert list(packed_figures(page)) == ["front", "hypervolume", "genes"]
    stages = ["study", "plot", "my c", "--figure", "stages", "-o", "stages.html"]
    assert str(tmp_path / "data") in cli(*stages).stderr
    found, whole = report("--data-root", tmp_path / "moved")
    assert found.exit_code == 0, found.output
    assert "stages" in packed_figures(whole)
    assert "not where they were" not in whole
    for one in (page, whole):
        assert str(tmp_path) not in html.unescape(one) + json.dumps(packed_figures(one))
    assert cli(*stages, "--data-root", tmp_path / "moved").stdout == "wrote stages.html\n"
    write_cifar10(tmp_path / "others", count=7)
    for folder, said in ((tmp_path, "cifar-10-batches-py"), (tmp_path / "others", "have fingerprint")):
        for wrong in (report("--data-root", folder)[0], cli(*stages, "--data-root", folder)):
            assert wrong.exit_code == 2
            assert said in wrong.stderr
    for other in ([], ["--figure", "genes"]):
        refused = cli("study", "plot", "my c", *other, "-o", "b.html", "--data-root", "moved")
        assert refused.stderr == (
            "error: --data-root is only for the figure stages; leave it out, or give --figure stages\n"
        )


def test_where_packages_are_others_energies_are_not_parted(search):
    settings = replace(search.settings, versions={**search.settings.versions, "torch": "1.0"})
    report = report_of(replace(search, settings=settings))
    assert report.unparted.startswith("Energies are not split by operation here: ")
    assert "stages" not in report.figures
    assert not report.cards[0].operations


def test_other_endings_and_studies_without_a_front_are_refused(storage, search, tmp_path):
    with pytest.raises(ValueError, match=r"a.pdf is not a page; name it .html"):
        write_report(search, tmp_path / "a.pdf")
    create("empty", storage, Plan(space=SPACE, task=Task.preset("digits")))
    with pytest.raises(ValueError, match="no complete trial yet"):
        write_report(open_search("empty", storage), tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not shutil.which("chromium"), reason="pages are drawn by Chromium, which is not installed")
@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.process
def test_all_figures_are_drawn_in_a_browser(page, tmp_path):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000", "--dump-dom"]
    drawn = subprocess.run([*command, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, timeout=60)
    assert 'data-drawn="yes"' in drawn.stdout
    places = re.findall(r'<div class="figure[^"]*" data-figure="(\w+)"', drawn.stdout)
    assert places == ["front", "stages", "genes", "hypervolume"]
    assert drawn.stdout.count('class="plot-container plotly"') == len(places)


@pytest.mark.slow
def test_each_figure_is_a_file_of_its_own(storage, cli, tmp_path):
    import plotly.io

    for what, kind in (("hypervolume", "scatter"), ("genes", "parcoords"), ("stages", "bar")):
        options = ["--figure", what, "--theme", "dark", "-o", f"{what}.json", "--storage", storage]
        assert cli("study", "plot", NAME, *options).stdout == f"wrote {what}.json\n"
        assert plotly.io.read_json(tmp_path / f"{what}.json").data[0].type == kind
    for options, said in (
        (["--figure", "genes", "--pick", "2"], "--pick is only for the front; leave it out, or --figure genes"),
        (["--figure", "genes", "--trained"], "--trained takes all trained networks; leave out --figure"),
    ):
        refused = cli("study", "plot", NAME, *options, "-o", "new.html", "--storage", storage)
        assert (refused.exit_code, refused.stderr) == (2, f"error: {said}\n")
    for output, said in (
        ("new.txt", "new.txt is not a page"),
        ("genes.json/new.html", "cannot write genes.json/new.html"),
    ):
        refused = cli("study", "report", NAME, "-o", output, "--storage", storage)
        assert refused.exit_code == 2
        assert said in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["genes.json", "hypervolume.json", "stages.json"]
