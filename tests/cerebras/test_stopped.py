"""SIGTERM to a run on CSX: it stops at the next pause, and owes what it had not begun."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelzoo_mediswift.checkpoint.directory import load_checkpoint

pytestmark = [pytest.mark.cerebras, pytest.mark.slow]
SCRIPT = Path(__file__).parent / "stopped_run.py"


def run(folder: str, where: str = "", at: int = 0) -> "subprocess.CompletedProcess[str]":
    text = Path("sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    text = text.replace("model_dir: run", f"model_dir: {folder}").replace("steps: 20", "steps: 12")
    Path("run.yaml").write_text(text.replace("frequency: 10", "frequency: 4"))
    command = [sys.executable, str(SCRIPT), "run.yaml", where, str(at)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def evaluated(folder: str) -> list[tuple[int, float]]:
    events = map(json.loads, Path(folder, "log.jsonl").read_text().splitlines())
    return [(e["step"], e["loss"]) for e in events if e["event"] == "eval"]


def test_the_same_command_makes_up_for_what_was_not_begun(run_files):
    assert run("straight").returncode == 0
    for where, at, step, scored in (
        ("evaluation", 1, 0, [0]),  # the score is there, and no stretch of steps follows
        ("train", 3, 4, [0]),  # goes on to the pause; the evaluation there is not begun
        ("evaluation", 1, 4, [0, 4]),  # the one that was owed
    ):
        done = run("stopped", where, at)
        assert (done.returncode, done.stdout) == (130, f"stopped after step {step}\n"), done.stderr
        assert [found for found, _ in evaluated("stopped")] == scored
        assert Path(f"stopped/checkpoint_{step}").is_dir()
    assert run("stopped").returncode == 0
    assert evaluated("stopped") == evaluated("straight")
    a, b = (load_checkpoint(Path(d, "checkpoint_12")) for d in ("straight", "stopped"))
    assert all(tensor.equal(b.model[name]) for name, tensor in a.model.items())
