"""A short fuzzing run of each parser, the same every time; the long ones are by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz_parsers.py")


@pytest.mark.parametrize("target", ["pubmed", "jats"])
def test_a_few_hundred_inputs(target: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, str(FUZZ), target, str(tmp_path / "corpus"), "-runs=200", "-seed=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 200 runs" in done.stderr
    assert any((tmp_path / "corpus").iterdir())
    assert not list(tmp_path.glob("crash-*"))
