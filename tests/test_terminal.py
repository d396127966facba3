"""The command line as a person at a terminal meets it: examples of the help, --quiet, completion, colours, hints."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext

import click
import optuna
import pytest
import warm
from click.shell_completion import ShellComplete
from makers import ROOT, TOY_FILE, event, examples, free_port, tour, write_nmnist

from autost_optuna.cli import main
from autost_optuna.data import Sample
from autost_optuna.search.describe import describe
from autost_optuna.storage.journal import study_names
from autost_optuna.storage.storage import open_storage
from autost_optuna.training.checkpoint import load_network
from autost_optuna.units import command


def walk(group, *words):
    """(words, command) for every command of the program."""
    yield words, group
    for name, member in getattr(group, "commands", {}).items():
        yield from walk(member, *words, name)


COMMANDS = dict(walk(main))
# These make what the others read, in this order; whatever is not named stands between them.
FIRST, LAST = [("study", "create"), ("study", "run"), ("train",)], [("study", "delete")]
# An example is for a person with time; here its options are followed by smaller ones, and the last of two counts.
SMALL = {
    ("study", "create"): "--space toy.toml",
    ("study", "adopt"): "--space toy.toml",
    ("study", "run"): "--trials 12",
    ("train",): "--epochs 2 --images 100 --seeds 1 --eval-images 50 --test-images 50",
}
NOT_RUN = {"torchrun": "several processes by torch.distributed, in mixed precision, for 300 epochs"}
ELSEWHERE = [("quickstart",)]  # run by its test in test_cli


def small(line):
    """The words of an example, with smaller numbers."""
    words = shlex.split(line)[1:]
    name = next(
        key for key in COMMANDS if key and tuple(words[: len(key)]) == key and not hasattr(COMMANDS[key], "commands")
    )
    smaller = words + ["--front", "3"] * ("--front" in words and name == ("train",)) + shlex.split(SMALL.get(name, ""))
    return smaller + shlex.split("--epochs 1 --images 20 --eval-images 10 --test-images 10") * (
        "--network" in words
    )  # which is wide


def serves(words, folder):
    """Whether a command that serves until it is interrupted does so, on a free port."""
    port = free_port()
    with warm.Popen(["-m", "autost_optuna", *words, "--port", port], cwd=folder) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        return True
                time.sleep(0.1)
            return False
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.slow
@pytest.mark.process
def test_every_command_has_an_example_and_they_run(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    rows = [f"a{i},0.{i},{i},{8 - i % 3}" for i in range(1, 8)]
    (tmp_path / "runs.csv").write_text("\n".join(["architecture,accuracy,flops,naswot", *rows, "a1,0.2,1,7"]))
    single = {words: member for words, member in COMMANDS.items() if not hasattr(member, "commands")}
    toured = tour()  # which its own test runs
    order = [*FIRST, *(words for words in single if words not in FIRST + LAST), *LAST]
    for words in order:
        found = examples(single[words])
        assert found, words
        for line in found:
            if line.split(" ")[0] in NOT_RUN or words in ELSEWHERE or shlex.split(line) in toured:
                continue
            assert tuple(shlex.split(line)[1 : 1 + len(words)]) == words, line
            if words == ("dashboard",):
                assert serves(small(line), tmp_path), line
                continue
            with damaged(tmp_path / "autost.journal") if words == ("study", "rescue") else nullcontext():
                result = cli(*small(line))
            assert result.exit_code == 0, (line, result.output)
            assert result.stdout, line
            assert words != ("export",) or "untrained weights (at initialisation)" in result.stdout


@contextmanager
def damaged(journal):
    """A line in the middle of a journal is no JSON within the context."""
    whole = journal.read_bytes()
    lines = whole.split(b"\n")
    lines[len(lines) // 2] = b"{"
    journal.write_bytes(b"\n".join(lines))
    yield
    journal.write_bytes(whole)


def test_the_steps_of_the_first_help_run(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    found = examples(main)
    assert len(found) == 5
    for line in found[1:]:  # quickstart is an example of its own help too
        result = cli(*small(line))
        assert result.exit_code == 0, (line, result.output)


def test_only_what_cannot_run_here_is_left_out():
    lines = [line for member in COMMANDS.values() for line in examples(member)]
    assert {line.split(" ")[0] for line in lines} == {"autost-optuna", *NOT_RUN}


def test_lists_of_commands_are_not_cut_short():
    for words, member in COMMANDS.items():
        if hasattr(member, "commands"):
            context = click.Context(member, info_name=" ".join(["autost-optuna", *words]), terminal_width=80)
            assert "..." not in member.get_help(context).partition("Commands:")[2], words


@pytest.mark.slow
def test_trained_weights_are_audited_on_frames_as_they_were_trained_on(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    write_nmnist(tmp_path / "data" / "nmnist" / "extract")
    for path in (tmp_path / "data").rglob("*.bin"):  # ever slower, so that equal counts are not equal times
        path.write_bytes(b"".join(event(step % 34, step // 2, step % 2, 50 * step**2) for step in range(40)))
    made = cli("study", "create", "ev", "--space", "toy.toml", "--task", "nmnist")
    assert made.exit_code == 0, made.output
    assert cli("study", "run", "ev", "--trials", "1").exit_code == 0
    given = ["--data", "nmnist", "--data-root", "data"]
    trained = cli("train", "ev", "--trial", "0", *given, "--frames", "time", "--epochs", "1")
    assert trained.exit_code == 0, trained.output
    audit = ["describe", "ev:0", "--checkpoint", "trained/ev-0", "--data-root", "data", "--images", "20", "-f", "json"]
    energies = {}
    network, _ = load_network(tmp_path / "trained" / "ev-0" / "model.safetensors")
    for cut in ("count", "time"):
        sample = Sample(data="nmnist", data_root=tmp_path / "data", images=20, frames=cut)
        found = describe(network.architecture, network.task, sample, trained=network)
        energies[cut] = found.candidate.energy_mj
    assert json.loads(cli(*audit).stdout)["energy_mj"] == energies["time"] != energies["count"]


@pytest.fixture
def demo(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "demo", "--space", "toy.toml", "--task", "digits", "-q").stderr == ""
    return cli


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.slow
def test_quiet_leaves_results_and_errors(demo, place):
    def run(*words):
        return demo("--quiet", *words) if place == "before" else demo(*words, "-q")

    assert demo("study", "run", "demo", "--trials", "8").exit_code == 0
    loud, quiet = demo("study", "front", "demo"), run("study", "front", "demo")
    assert loud.stderr.startswith("* knee.")
    assert (quiet.stdout, quiet.stderr) == (loud.stdout, "")
    trained = run("train", "demo", "--knee", "--epochs", "1", "--images", "100")
    assert trained.stderr == ""
    assert trained.stdout.splitlines()[0].startswith("trial  seed")
    audit = run("describe", "C=32,depth=1,heads=2,ratio=1", "--task", "digits")
    assert (audit.exit_code, audit.stderr) == (0, "")
    wrong = run("study", "front", "nobody")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: no study 'nobody'")
    exact = run("study", "exact", "demo", "-f", "json")
    assert (exact.stdout[0], exact.stderr) == ("{", "")


@pytest.mark.slow
def test_quiet_leaves_warnings_and_ends_with_its_command(demo, tmp_path):
    # Networks that differ in width alone: each costs more than a narrower one and has more FLOPs.
    (tmp_path / "one.toml").write_text(
        f"embed_dim = {list(range(16, 496, 8))}\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1]\n"
    )
    assert demo("study", "create", "one", "--space", "one.toml", "--task", "digits").exit_code == 0
    assert demo("study", "run", "one", "--trials", "60", "-q").stderr.startswith("warning: degenerate objectives")
    # The same of so few that all are tried.
    (tmp_path / "few.toml").write_text("embed_dim = [16, 24, 32]\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1, 2]\n")
    assert demo("study", "create", "few", "--space", "few.toml", "--task", "digits").exit_code == 0
    said = (
        "warning: degenerate objectives: all 6 of the space's architectures are non-dominated, so the front says little"
    )
    assert said in demo("study", "run", "few", "--trials", "9").stderr
    assert said in demo("study", "show", "few").stderr
    assert json.loads(demo("study", "show", "few", "-f", "json").stdout)["possible"] == 6
    assert "next: autost-optuna study run demo2" in demo("study", "create", "demo2", "--space", "toy.toml").stderr


def test_every_command_takes_quiet_and_every_option_says_what_it_does():
    for words, member in COMMANDS.items():
        assert all(option.help for option in member.params if isinstance(option, click.Option)), words
        assert "-q, --quiet" in member.get_help(click.Context(member)), words


@pytest.mark.slow
def test_a_hint_can_be_typed_whatever_the_name_holds(demo, monkeypatch):
    assert command("study", "show", "a b") == "autost-optuna study show 'a b'"
    assert command("study", "show", "demo") == "autost-optuna study show demo"
    for name in ("my study", "it's; rm -rf *"):
        hint = demo("study", "create", name, "--space", "toy.toml", "--task", "digits").stderr
        words = shlex.split(hint.removeprefix("next: "))
        assert words == ["autost-optuna", "study", "run", name, "--trials", "200"]
        without = demo("study", "front", name).stderr
        assert shlex.quote(name) in without
        assert demo(*words[1:-1], "4").exit_code == 0
        assert shlex.quote(name) in demo("study", "show", name).stdout
    elsewhere = ["study", "create", "new", "--space", "toy.toml", "--task", "digits", "--storage"]
    assert demo(*elsewhere, "its own.journal").stderr.endswith("--trials 200 --storage 'its own.journal'\n")
    monkeypatch.setenv("OPTUNA_STORAGE", "third.journal")
    assert demo(*elsewhere[:-1]).stderr.endswith("--trials 200\n")


def complete(line):
    """What a shell offers after a line."""
    *words, last = line.split(" ")
    return [item.value for item in ShellComplete(main, {}, "autost-optuna", "_X").get_completions(words[1:], last)]


def test_studies_are_completed_from_the_journal(demo, tmp_path, monkeypatch, capfd):
    for name in ("other", "my study", "gone"):
        demo("study", "create", name, "--space", "toy.toml", "--task", "digits")
    demo("study", "delete", "gone")
    demo("study", "create", "late", "--space", "toy.toml", "--task", "digits", "--storage", "elsewhere.journal")
    # As Optuna's own replay of the journal has it.
    names = optuna.get_all_study_names(open_storage("autost.journal"))
    assert study_names(tmp_path / "autost.journal") == sorted(names) == ["demo", "my study", "other"]
    assert complete("autost-optuna study run ") == ["demo", "other"]  # bash's script takes a name with a space apart
    assert complete("autost-optuna study front d") == ["demo"]
    assert complete("autost-optuna train d") == ["demo"]
    assert complete("autost-optuna study show --storage elsewhere.journal ") == ["late"]
    monkeypatch.setenv("OPTUNA_STORAGE", "elsewhere.journal")
    assert complete("autost-optuna export ") == ["late"]
    assert complete("autost-optuna study create ") == []
    assert "--quiet" in complete("autost-optuna study run demo --")
    assert {"run", "front"} <= set(complete("autost-optuna study "))
    for storage in ("nowhere.journal", "sqlite:///x.db", "postgresql+psycopg://a:b@c/d", str(tmp_path), "toy.toml"):
        monkeypatch.setenv("OPTUNA_STORAGE", storage)
        assert complete("autost-optuna study run ") == []
    (tmp_path / "torn.journal").write_bytes(b'{"op_code":0,"study_name":\n\xff\x00')
    monkeypatch.setenv("OPTUNA_STORAGE", "torn.journal")
    assert complete("autost-optuna study run ") == []
    assert capfd.readouterr() == ("", "")


def test_every_command_that_takes_a_study_completes_its_name(demo):
    takes = {words for words, member in COMMANDS.items() if any(isinstance(p, click.Argument) for p in member.params)}
    completed = {words for words in takes if complete(f"autost-optuna {' '.join(words)} d") == ["demo"]}
    # A new study's name, an architecture, of which a study and trial is one form, and code.
    assert takes - completed == {("study", "create"), ("study", "rescue"), ("describe",), ("audit",)}
    assert len(completed) >= 12


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.process
def test_the_lines_of_the_help_set_completion_up(shell):
    assert f"_AUTOST_OPTUNA_COMPLETE={shell}_source autost-optuna" in main.epilog
    environment = {**os.environ, "_AUTOST_OPTUNA_COMPLETE": f"{shell}_source"}
    program = "import sys; sys.argv[0] = 'autost-optuna'; from autost_optuna.cli import main; main()"
    result = warm.run(["-c", program], capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"_AUTOST_OPTUNA_COMPLETE={shell}_complete" in result.stdout


def cold(words, **options):
    return subprocess.Popen([sys.executable, *words], **options)


def on_terminal(words, folder, start=warm.Popen, **environment):
    """What a command writes to a terminal of 60 columns."""
    main_end, other_end = pty.openpty()
    words = ["-m", "autost_optuna", *words]
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60", **environment}
    with start(words, cwd=folder, env=variables, stdout=other_end, stderr=other_end) as process:
        os.close(other_end)
        written = b""
        while select.select([main_end], [], [], 120)[0]:
            try:
                read = os.read(main_end, 1 << 16)
            except OSError:  # Linux's way of saying that the other end is closed
                break
            if not read:
                break
            written += read
    os.close(main_end)
    assert process.returncode == 0, written
    return written.decode()


COLOUR = re.compile(r"\x1b\[[\d;]*\b(3[0-8]|9[0-7])[\d;]*m")


@pytest.mark.slow
@pytest.mark.process
def test_a_terminal_sees_progress_with_the_time_left(demo, tmp_path):
    run = ["study", "run", "demo", "--trials", "12"]
    assert demo(*run).exit_code == 0
    train = ["train", "demo", "--front", "1", "--epochs", "2", "--images", "200"]
    plain = on_terminal(train, tmp_path, cold, NO_COLOR="1")
    assert re.search(r" \d+/\d+ +0:00:\d\d +\d+ images/s +epoch 2/2", plain)
    assert re.search(r"validation +0/144 ", plain)  # whole, although two bars share 60 columns
    assert COLOUR.search("\x1b[38;5;197m")  # as the bar has it otherwise
    assert not COLOUR.search(plain)
    silent = on_terminal([*run, "-q"], tmp_path)
    assert "\x1b" not in silent
    assert "searching" not in silent
    assert "\nknee: " in silent


@pytest.mark.slow
@pytest.mark.process
def test_a_pipe_gets_neither_codes_nor_bars(demo, tmp_path):
    variables = {**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    for words in (["study", "run", "demo", "--trials", "12"], ["study", "front", "demo"]):
        command = [sys.executable, "-m", "autost_optuna", *words]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=variables)
        assert result.returncode == 0, result.stderr
        assert "\x1b" not in result.stdout + result.stderr
        assert not [line for line in result.stdout.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.slow
@pytest.mark.process
def test_a_reader_that_goes_early_is_no_failure(demo, tmp_path, buffered):
    variables = {**os.environ, **({} if buffered else {"PYTHONUNBUFFERED": "1"})}
    assert demo("study", "run", "demo", "--trials", "12").exit_code == 0
    front = [sys.executable, "-m", "autost_optuna", "study", "front", "demo"]
    for words in (front, [*front, "-f", "json"]):
        with subprocess.Popen(
            words, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdout.close()  # before a line is read
            assert (process.stderr.read(), process.wait()) == (b"", 0)
    line = f"set -o pipefail; {shlex.join(front)} | head -1"
    result = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[:2] == ["trial", "C"]
    assert result.stderr.startswith("* knee.")


def test_another_broken_pipe_is_a_failure(cli, monkeypatch):
    def lost(storage):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("autost_optuna.search.catalogue.list_searches", lost)
    result = cli("study", "list")
    assert (result.exit_code, result.stderr) == (
        1, "error: a process that this one was connected to has ended; repeat the command\n"
    )  # fmt: skip


@pytest.mark.process
def test_a_table_wider_than_the_terminal_is_whole(demo, tmp_path):
    table = on_terminal(["describe", "C=32,depth=1,heads=2,ratio=1", "--task", "digits"], tmp_path)
    rows = [line for line in table.splitlines() if line.startswith(("stem", "block", "head"))]
    assert len(rows) == 14
    assert all(re.search(r"[\d,]+ +\d+\.\d%$", row) for row in rows)  # its pJ and share, which stand last
    assert len({row.index("%") for row in rows}) == 1


def test_an_error_that_follows_an_interrupt_is_an_interrupt(cli, monkeypatch):
    def release(*given, **named):
        try:
            raise KeyboardInterrupt
        finally:
            os.unlink("lock.rename")

    monkeypatch.setattr("autost_optuna.search.study.open_search", release)
    result = cli("study", "run", "s", "--trials", "3")
    assert (result.exit_code, result.stderr) == (130, "\nerror: interrupted\n")
