"""Two processes of which one fails: the others end too, and one line says why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow  # torchrun and two processes import PyTorch each time
PROGRAM = Path(__file__).parent / "launched_run.py"
# torch 2.4's torchrun shares no store with its processes: there each says what it knows.
TOGETHER = not torch.__version__.startswith("2.4.")


def launch(what: str, *flags: str) -> tuple[int, str]:
    """Exit code and what all processes print."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", str(PROGRAM), what, "CPU", "-p", "sparse.yaml", *flags),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


def said(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("error: ", "interrupted "))]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("kill", "error: another process of this run ended or cannot be reached ("),
        ("data", "error: train/data.h5: cannot be read, the file is damaged"),
        (
            "memory",
            "error: the CPU ran out of memory with 2 sequences at a time; set "
            "callbacks: [ScopedTrainFlags: {csx.performance.micro_batch_size: 1}]",
        ),
    ],
)
def test_one_line_says_why(run_files, what, message):
    code, text = launch(what)
    assert code == 1, text
    lines = said(text)
    assert any(line.startswith(message) for line in lines), text
    assert len(lines) == 1 or not TOGETHER
    assert text.count("Traceback") == 1, "torchrun's own"


def test_what_all_find_wrong_is_said_once(run_files):
    Path("sparse.yaml").write_text(Path("sparse.yaml").read_text().replace("seed", "sede"))
    code, text = launch("nothing")
    assert code == 1
    assert len(said(text)) == (1 if TOGETHER else 2)
    assert all('did you mean "seed"?' in line for line in said(text))


def test_a_defect_shows_its_traceback_and_ends_the_others(run_files):
    code, text = launch("defect")
    assert code == 1
    assert "KeyError: 'a defect'" in text
    assert said(text) == [] or not TOGETHER
    assert text.count("Traceback") == 2


def test_nobody_leaves_before_all_is_saved(run_files):
    """torchrun ends the others where one has left with an exit code."""
    _, text = launch("signals")
    (line,) = said(text)
    assert line.startswith("interrupted after step")
    assert [p.name for p in Path("run").glob("*checkpoint*")] == ["checkpoint_4"], text
