"""Two processes of which one fails: the others end too, and one line says why."""

from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow  # torchrun and two processes import PyTorch each time
PROGRAM = Path(__file__).parent / "launched_run.py"
# torch 2.4's torchrun shares no store with its processes: there each says what it knows.
TOGETHER = not torch.__version__.startswith("2.4.")


@pytest.fixture
def launch(run_files, torchrun):
    """Exit code of a run of two processes, and what all of them print."""

    def start(what: str) -> tuple[int, str]:
        done = torchrun(2, PROGRAM, what, "CPU", "-p", "sparse.yaml")
        return done.returncode, done.stdout + done.stderr

    return start


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
def test_one_line_says_why(launch, what, message):
    code, text = launch(what)
    assert code == 1, text
    lines = said(text)
    assert any(line.startswith(message) for line in lines), text
    assert len(lines) == 1 or not TOGETHER
    assert text.count("Traceback") == 1, "torchrun's own"


def test_what_all_find_wrong_is_said_once(launch):
    Path("sparse.yaml").write_text(Path("sparse.yaml").read_text().replace("seed", "sede"))
    code, text = launch("nothing")
    assert code == 1
    assert len(said(text)) == (1 if TOGETHER else 2)
    assert all('did you mean "seed"?' in line for line in said(text))


def test_a_defect_shows_its_traceback_and_ends_the_others(launch):
    code, text = launch("defect")
    assert code == 1
    assert "KeyError: 'a defect'" in text
    assert said(text) == [] or not TOGETHER
    assert text.count("Traceback") == 2


@pytest.mark.parametrize(("what", "step"), [("signals", 4), ("evaluation", 0)])
def test_nobody_leaves_before_all_is_saved(launch, what, step):
    """torchrun ends the others where one has left with an exit code."""
    _, text = launch(what)
    (line,) = said(text)
    assert line.startswith(f"interrupted after step {step};")
    assert [p.name for p in Path("run").glob("*checkpoint*")] == [f"checkpoint_{step}"], text
