"""A journal damaged in the middle: the line is named, and what is rescued is what was there, each line with its own trial."""

import json
import random
import shlex
import shutil
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from autost_optuna.search import study as studies
from autost_optuna.search.lost import find_lost
from autost_optuna.search.rescue import RESCUED, rescue
from autost_optuna.storage.journal import Damage, Line, first_damage, read_lines
from autost_optuna.storage.storage import open_storage
from autost_optuna.training.records import trainings_of

GOLDEN = Path(__file__).parent / "golden" / "0.1.0" / "studies.journal"
# What becomes of a line: zero bytes, another text, cut off, cut off with the next one behind it, no beginning, an empty one
HARMS = (
    lambda line: b"\0" * (len(line) - 1) + b"\n",
    lambda line: b"<<<<<<< HEAD\n",
    lambda line: line[: len(line) // 2] + b"\n",
    lambda line: line[: len(line) // 2],
    lambda line: b"#" * 20 + line[20:],
    lambda line: b"\n",
)


@pytest.fixture
def lines():
    return GOLDEN.read_bytes().splitlines(keepends=True)


def trials_of(path):
    """All trials by study and number."""
    storage = open_storage(str(path))
    found = {study.study_name: storage.get_all_trials(study._study_id) for study in storage.get_all_studies()}
    return {(name, trial.number): trial for name, trials in found.items() for trial in trials}


def is_of(trial, original):
    """Whether all that a trial has is what the original has."""
    return (
        trial.values in (None, original.values)
        and trial.params.items() <= original.params.items()
        and trial.intermediate_values.items() <= original.intermediate_values.items()
        and all(original.user_attrs.get(name) == value for name, value in trial.user_attrs.items() if name != RESCUED)
        and all(original.system_attrs.get(name) == value for name, value in trial.system_attrs.items())
    )


@pytest.mark.slow
def test_every_line_lost_in_turn_costs_its_own_trial_alone(lines, tmp_path):
    originals = trials_of(GOLDEN)
    damaged, rescued = tmp_path / "damaged.journal", tmp_path / "rescued.journal"
    owners = iter([*(("golden", number) for number in range(12)), ("golden.trained", 0), ("golden.trained", 1)])
    for at, line in enumerate(lines):
        log = json.loads(line)
        owner = next(owners) if log["op_code"] == 4 else None
        if "trial_id" in log:
            owner = ("golden", log["trial_id"]) if log["trial_id"] < 12 else ("golden.trained", log["trial_id"] - 12)
        damaged.write_bytes(b"".join([*lines[:at], HARMS[at % len(HARMS)](line), *lines[at + 1 :]]))
        made = rescue(damaged, rescued)
        assert made.kept == len(lines) - 1
        found = trials_of(rescued)
        assert found.keys() == originals.keys(), (at, made.losses)
        differing = [key for key, trial in found.items() if not is_same(trial, originals[key])]
        assert differing == ([owner] if owner else []), (at, made.losses)
        if owner:
            assert is_of(found[owner], originals[owner])
        names = [f"trial {number} of study {name}" for name, number in differing]
        assert all(any(name in loss for loss in made.losses) for name in names), made.losses
        assert made.losses[0].startswith(f"line {at + 1} (byte {sum(map(len, lines[:at])):,}) is ")
        rescued.unlink()


def is_same(trial, original):
    """Whether two trials are equal, whatever their identifiers, which are those of a whole storage."""
    return {**vars(trial), "_trial_id": 0} == {**vars(original), "_trial_id": 0}


def damage(path, lines, *places):
    """The journal with other text in the place of lines, by their numbers."""
    path.write_bytes(b"".join(b"damaged\n" if number in places else line for number, line in enumerate(lines, 1)))
    return path


def test_a_damaged_journal_is_named_with_its_line_and_the_way_out(cli, lines, tmp_path):
    shutil.copytree(f"{GOLDEN}.artifacts", tmp_path / "d.journal.artifacts")
    before = damage(tmp_path / "d.journal", lines, 57).read_bytes()
    for command in (["list"], ["show", "golden"], ["run", "golden", "--trials", "1"]):
        refused = cli("study", *command, "--storage", "d.journal")
        assert refused.exit_code == 2
        assert refused.stderr == (
            "error: d.journal is damaged: line 57 (byte 15,707) is not JSON (Expecting value, character 1); autost-optuna "
            "study rescue d.journal -o d-rescued.journal keeps its whole lines\n"
        )
    (way,) = [part for part in refused.stderr.split("; ") if part.startswith("autost-optuna study rescue")]
    made = cli(*shlex.split(way.partition(" keeps")[0])[1:])
    assert made.exit_code == 0
    assert made.stdout.splitlines() == [
        "kept 179 lines of d.journal in d-rescued.journal",
        "line 57 (byte 15,707) is not JSON (Expecting value, character 1); what it said is not known, and may be of trial 5 of "
        "study golden",
    ]
    assert made.stderr == "next: autost-optuna study list --storage d-rescued.journal\n"
    assert (tmp_path / "d.journal").read_bytes() == before
    files = sorted(path.name for path in (tmp_path / "d.journal.artifacts").iterdir())
    assert sorted(path.name for path in (tmp_path / "d-rescued.journal.artifacts").iterdir()) == files
    again = cli("study", "rescue", "d.journal", "-o", "d-rescued.journal")
    assert (again.exit_code, again.stderr) == (2, "error: d-rescued.journal exists; give a new file with -o\n")
    for command in (["show"], ["front"], ["front", "--trained"], ["run", "--trials", "2"]):
        worked = cli("study", command[0], "golden", *command[1:], "--storage", "d-rescued.journal")
        assert worked.exit_code == 0, worked.stderr
        assert "unexpected" not in worked.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello\nworld\n", "has no whole line of an Optuna journal"),
        (b"", "has no whole line of an Optuna journal"),
        (GOLDEN.read_bytes(), "is whole; there is nothing to rescue"),
        (None, "no journal at"),
    ],
)
def test_what_cannot_be_rescued_is_refused(cli, tmp_path, content, said):
    if content is not None:
        (tmp_path / "a.journal").write_bytes(content)
    refused = cli("study", "rescue", "a.journal", "-o", "b.journal")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: ")
    assert said in refused.stderr
    assert not (tmp_path / "b.journal").exists()


def test_lines_that_run_into_each_other_are_taken_apart(lines, tmp_path):
    torn = tmp_path / "torn.journal"
    torn.write_bytes(b"".join([*lines[:20], lines[20].rstrip(b"\n"), lines[21], lines[22][:30], *lines[23:]]))
    parts = [item for item in read_lines(torn) if isinstance(item, Damage)]
    assert [str(part).partition(" (byte")[0] for part in parts] == ["line 21", "line 22"]
    assert first_damage(torn) == parts[0]
    assert [line.text + b"\n" for line in read_lines(torn) if isinstance(line, Line)] == lines[:22] + lines[23:]
    assert "2 lines without an end between them; nothing is lost" in rescue(torn, tmp_path / "new.journal").losses[0]


def test_what_stands_in_place_of_a_trial_says_so_and_keeps_the_numbers(tmp_path):
    """Trials that were added whole have one line each, so nothing is left of one that is lost."""
    storage = open_storage(str(tmp_path / "a.journal"), create=True)
    study = optuna.create_study(study_name="a", storage=storage)
    for number in range(5):
        study.add_trial(create_trial(value=number, user_attrs={"number": number}))
    lines = (tmp_path / "a.journal").read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:150] + b"\n"
    (tmp_path / "a.journal").write_bytes(b"".join(lines))
    losses = rescue(tmp_path / "a.journal", tmp_path / "b.journal").losses
    assert losses[1] == "trial 2 of study a was created there; nothing else is left of it: it is a failed one"
    found = [trial for _, trial in sorted(trials_of(tmp_path / "b.journal").items())]
    assert [trial.user_attrs.get("number") for trial in found] == [0, 1, None, 3, 4]
    assert found[2].state == TrialState.FAIL
    assert found[2].user_attrs[RESCUED].startswith("its creation is lost: line 4 (byte ")
    optuna.create_study(study_name="copy").add_trials(found)  # Optuna takes it for a trial


def interleaved(path, rng):
    """Two studies by five processes that take turns line by line, some trials enqueued, one study deleted."""
    openers = [open_storage(str(path), create=True, write=True) for _ in range(5)]
    for name in ("a", "gone", "b"):
        openers[0].create_new_study([optuna.study.StudyDirection.MINIMIZE], name)
    openers[0].create_new_trial(1)
    openers[0].delete_study(1)
    for number in range(3):
        openers[0].create_new_trial(0, create_trial(state=TrialState.WAITING, system_attrs={"queued": number}))

    def trial(opener, study):
        waiting = [one for one in opener.get_all_trials(study) if one.state == TrialState.WAITING]
        if waiting and opener.set_trial_state_values(waiting[0]._trial_id, TrialState.RUNNING):
            number = waiting[0]._trial_id
        else:
            number = opener.create_new_trial(study)
        for name in ("x", "y"):
            yield
            opener.set_trial_param(number, name, rng.random(), FloatDistribution(0, 1))
        yield
        opener.set_trial_user_attr(number, "own", number)
        yield
        opener.set_trial_state_values(number, TrialState.COMPLETE, [rng.random()])

    at_work = {}
    for _ in range(160):
        place = rng.randrange(5)
        if place not in at_work:
            at_work[place] = trial(openers[place], 0 if place < 3 else 2)
        if next(at_work[place], at_work) is at_work:
            del at_work[place]
    return path


@pytest.mark.slow
def test_no_trial_gets_the_lines_of_another_whatever_is_lost(tmp_path):
    rng = random.Random(0)
    path, damaged, rescued = interleaved(tmp_path / "a.journal", rng), tmp_path / "d.journal", tmp_path / "r.journal"
    originals, lines = trials_of(path), path.read_bytes().splitlines(keepends=True)
    assert len(originals) > 25
    whole = 0
    for _ in range(100):
        left = list(lines)
        for _ in range(rng.choice((1, 1, 2, 3))):
            at, many = rng.randrange(len(left)), rng.choice((1, 1, 2, 5))
            left[at : at + many] = [rng.choice(HARMS[:3])(b"".join(left[at : at + many]))]
        damaged.write_bytes(b"".join(left))
        try:
            made = rescue(damaged, rescued)
        except ValueError as error:
            assert "which lines are of which trial" in str(error) or "is whole" in str(error)  # noqa: PT017
            continue
        if not any("is a guess" in loss for loss in made.losses):
            found = trials_of(rescued)
            assert all(is_of(trial, originals[key]) for key, trial in found.items() if key in originals)
            whole += 1
        rescued.unlink()
    assert whole > 80


def test_lines_that_are_missing_without_a_trace_are_not_guessed_at(lines, tmp_path):
    """Beside a damaged line, a whole one that creates a trial is gone: what is left does not fit together."""
    created = [at for at, line in enumerate(lines) if line.startswith(b'{"op_code":4')]
    damaged = damage(tmp_path / "d.journal", [*lines[: created[7]], *lines[created[7] + 1 :]], created[2])
    with pytest.raises(
        ValueError, match=r"after line 2\d whole lines are missing too, so it cannot be told which lines are"
    ):
        rescue(damaged, tmp_path / "r.journal")
    assert not (tmp_path / "r.journal").exists()


def test_a_server_with_several_threads_for_a_trial_tells_nothing_by_its_workers(lines, tmp_path):
    """As behind gRPC: what a thread does after it created a trial may be of another one."""
    rng = random.Random(0)
    logs = [{**json.loads(line), "worker_id": f"server-{rng.randrange(4)}"} for line in lines]
    lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
    for at in (at for at, log in enumerate(logs) if log["op_code"] == 4):
        gaps = find_lost(damage(tmp_path / "d.journal", lines, at + 1))
        assert [sorted(gap.trials) for gap in gaps] == [[], [sum(log["op_code"] == 4 for log in logs[:at])]]


def test_networks_whose_study_lost_what_tells_them_apart_are_found(lines, tmp_path):
    """By the trials that they were trained of; and without its own first line, a search is called what they say."""
    originals = trainings_of(studies.open_search("golden", str(GOLDEN)))
    first = next(number for number, line in enumerate(lines, 1) if b'"user_attr":{"autost_optuna:trained":' in line)
    for places in ((first,), (1,), (first - 2,)):
        rescued = tmp_path / f"{places[0]}.journal"
        rescue(damage(tmp_path / "d.journal", lines, *places), rescued)
        assert trainings_of(studies.open_search("golden", str(rescued))) == originals
    rates = next(number for number, line in enumerate(lines, 1) if b'"user_attr":{"rates":' in line)
    rescue(damage(tmp_path / "d.journal", lines, rates), tmp_path / "rates.journal")
    assert trainings_of(studies.open_search("golden", str(tmp_path / "rates.journal"))) == originals[1:]
