"""Every example runs, at small size, and leaves nothing behind."""

import os
import re
from pathlib import Path

import pytest
import warm

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))
SMALL = {"TRIALS": "12", "EPOCHS": "1"}
SUBJECTS = [
    "describe_an_architecture",
    "search_in_a_minute",
    "own_space",
    "own_energy_convention",
    "plain_optuna_study",
    "train_the_knee",
    "sampler_for_any_study",
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.slow
@pytest.mark.process
def test_example_runs_and_prints(path, tmp_path):
    environment = {**os.environ, **SMALL}
    result = warm.run([path], cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 3
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_there_is_an_example_of_each():
    assert [path.stem for path in EXAMPLES] == [f"{number:02}_{name}" for number, name in enumerate(SUBJECTS, 1)]


def test_examples_are_notebooks_of_short_cells():
    for path in EXAMPLES:
        text = path.read_text()
        assert text.startswith('"""')
        _, *cells = re.split(r"^# %%", text, flags=re.MULTILINE)
        assert len(cells) >= 3, path
        assert all(len(cell.splitlines()) <= 30 for cell in cells), path
        assert len(text.splitlines()) <= 60, path
