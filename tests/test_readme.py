"""README.md and docs/ are true: commands and code run as they stand, the tree lists what is there, links lead somewhere."""

import re
import shlex
import shutil

import pytest
import torch
import yaml
from makers import FENCE, ROOT, commands, fence, fences, tour

from autost_optuna.cli import main

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
FILES = [path for folder in ("autost_optuna", "studies", "examples", "tests") for path in (ROOT / folder).rglob("*.*")]
OTHERS = [path for folder in ("studies", "package", "examples") for path in sorted((ROOT / folder).rglob("*.md"))]


def name_of(path):
    return str(path.relative_to(ROOT))


def parsed(words):
    """The context of a command line, parsed by the program and not run."""
    command, words = main, list(words)
    assert words.pop(0) == "autost-optuna"
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command.make_context(command.name, words)


# --- the README ---


def test_the_readme_is_short():
    text = README.read_text()
    assert len(text.splitlines()) <= 200
    prose = FENCE.sub("", text)
    assert max(len(line) for line in prose.splitlines()) <= 128


def test_both_commands_are_one_line_with_an_environment_of_their_own():
    for name, ending in (
        ("main", "autost-optuna quickstart"),
        ("test", "pytest -n auto --maxprocesses 4 --dist worksteal"),
    ):
        command = fence(README, f"sh {name}")
        assert "\n" not in command
        assert "-m venv" in command
        assert "constraints.txt" in command
        assert command.endswith(ending)


def test_the_index_lists_every_page():
    linked = set(re.findall(r"\]\((docs/[^)]+)\)", README.read_text()))
    assert linked == {name_of(page) for page in PAGES} - {"README.md"}


# --- what pages show is run ---


def alike(printed, quoted):
    """Whether two lines have the same words, numbers up to 2 %: a rounding may move a spike on another processor."""
    ours, theirs = printed.split(), quoted.split()
    return len(ours) == len(theirs) and all(a == b or near(a, b) for a, b in zip(ours, theirs, strict=True))


def near(one, other):
    try:
        a, b = (float(text.replace(",", "").rstrip("%")) for text in (one, other))
    except ValueError:
        return False
    return abs(a - b) <= 0.02 * abs(b) + 1e-4


def test_the_audits_of_other_networks_run_as_they_stand(cli, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    lines = list(commands(fence(ROOT / "docs" / "energy.md", "sh audit")))
    assert len(lines) == 4
    for _, *words in lines:
        result = cli(*words)
        assert result.exit_code == 0, (words, result.output)
        assert "MACs" in result.stdout, words
    assert (tmp_path / "audit.html").exists()


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.slow
@pytest.mark.process
def test_the_tour_runs_as_it_stands(cli, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    lines = tour()
    five = list(commands(fence(README, "sh five")))
    assert len(five) == 5
    assert [words for words in lines if words in five] == five  # in the same order
    seen = set()
    for _, *words in lines:
        seen.add(" ".join(words[:2]) if words[0] == "study" else words[0])
        if words[0] == "dashboard":
            words.append("--help")  # it would serve until interrupted
        result = cli(*words)
        assert result.exit_code == 0, (words, result.output)
        assert result.stdout, words
        assert "degenerate" not in result.stderr, words  # a front of the tour's space says something
        if words[0] == "export":
            assert "untrained weights (at initialisation)" in result.stdout
        if words[-1] == "my-network":
            taken = {"images": torch.rand(2, 1, 8, 8)}
            exec(fence(ROOT / "docs" / "python.md", "python bundle"), taken)
            assert taken["logits"].shape == (2, 10)
        if words[:2] == ["describe", "demo:14"]:
            quoted = fence(README, "text describe").splitlines()
            assert len(quoted) == 6
            for line in quoted:
                assert any(alike(printed, line) for printed in result.stdout.splitlines()), line
    every = {f"study {name}" for name in main.commands["study"].commands} | set(main.commands) - {"study", "quickstart"}
    assert seen == every - {"study rescue"}  # which needs a damaged journal


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse_as_they_stand(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = "\n".join(text for opening, text in FENCE.findall(page.read_text()) if opening.split()[:1] == ["sh"])
    for words in commands(text):
        if words[1] != "quickstart":
            assert parsed(words).command, words


def test_every_option_is_on_some_page():
    text, waiting, missing = "".join(page.read_text() for page in PAGES), [main], []
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        options = [option for option in command.params if option.opts[0].startswith("-")]
        missing += [(command.name, o.opts) for o in options if not any(re.search(rf"{n}\b", text) for n in o.opts)]
    assert not missing


def test_the_code_of_the_page_on_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    blocks = fences(ROOT / "docs" / "python.md", "python")
    assert len(blocks) >= 3
    assert not [page for page in PAGES[1:] if fences(page, "python") and page.name != "python.md"]
    for block in blocks:
        exec(re.sub(r"n_trials=\d+", "n_trials=3", block), namespace)
    assert "horowitz-45nm-fp32" in capsys.readouterr().out
    assert len(namespace["mine"].trials[0].values) == 3


def test_the_commands_of_slurm_and_kubernetes_parse_and_hold_no_password(monkeypatch):
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql+psycopg://me:secret@host/db")
    script = fence(ROOT / "docs" / "storage.md", "sh slurm")
    (line,) = (line for line in script.splitlines() if line.startswith("srun "))
    job = fence(ROOT / "docs" / "storage.md", "yaml kubernetes")
    (container,) = yaml.safe_load(job)["spec"]["template"]["spec"]["containers"]
    for words in (shlex.split(line)[1:], container["command"]):
        assert not [word for word in words if "://" in word]
        options = parsed(words).params
        assert (options["until_converged"], options["trials"]) == (True, 2000)
        assert options["storage"] == "postgresql+psycopg://me:secret@host/db"
    assert parsed(shlex.split(line)[1:]).params["workers"] == int(re.search(r"cpus-per-task=(\d+)", script).group(1))
    assert container["env"][0]["name"] == "OPTUNA_STORAGE"
    assert "valueFrom" in container["env"][0]
    assert "OPTUNA_STORAGE" in script


# --- what pages point to is there ---


def test_the_tree_lists_every_file_of_the_package_and_nothing_else():
    listed = {}
    for line in fence(ROOT / "docs" / "design.md", "text tree").splitlines():
        if line and not line.startswith("#"):
            path, _, clause = line.partition("  ")
            assert clause.strip(), f"{path} has no clause"
            assert path not in listed, path
            listed[path] = clause
    missing = [path for path in listed if not (ROOT / path).exists()]
    assert not missing
    there = {path for path in (ROOT / "autost_optuna").rglob("*") if path.suffix in (".py", ".toml", ".in")}
    assert {name_of(path) for path in there if path.name != "__init__.py"} - set(listed) == set()


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", FENCE.sub("", page.read_text())):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_scripts_that_pages_name_are_there():
    written = {"model.py"}  # by the program, for its users
    for page in PAGES:
        text = page.read_text()
        for script in re.findall(r"\b((?:studies|examples|tests)/[\w/.-]+\.(?:py|toml|md|csv|json))", text):
            assert (ROOT / script).exists(), (name_of(page), script)
        for script in re.findall(r"`([a-z\d_/]+\.(?:py|toml))`", text):  # may leave out the folders above
            assert script in written or any(str(path).endswith(f"/{script}") for path in FILES), (name_of(page), script)


def test_pages_open_with_what_a_reader_can_do():
    for page in PAGES[1:]:
        title, _, rest = page.read_text().partition("\n\n")
        assert title.startswith("# "), page
        assert rest.startswith("After reading this page you "), page
        assert max(len(line) for line in FENCE.sub("", page.read_text()).splitlines()) <= 128, page


def test_the_citation_is_of_this_version_and_licence():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]
    assert citation["references"][0]["url"].endswith("2307.00293")
