import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_prints(path, tmp_path):
    result = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 3
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_there_are_examples():
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04"]
