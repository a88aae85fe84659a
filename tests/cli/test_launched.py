"""Two processes of which one fails: the others end too, and one line says why."""

import io
import sys
from pathlib import Path

import pytest
import torch

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.launched import write_whole_lines

pytestmark = pytest.mark.slow  # torchrun and two processes import PyTorch each time
PROGRAM = Path(__file__).parent / "launched_run.py"
# torch 2.4's torchrun shares no store with its processes: there each says what it knows.
TOGETHER = not torch.__version__.startswith("2.4.")


@pytest.fixture
def launch(run_files, torchrun):
    """Exit code of a run of two processes, and what all of them print."""

    def start(what: str, *flags: str) -> tuple[int, str]:
        done = torchrun(2, PROGRAM, what, "CPU", "-p", "sparse.yaml", *flags)
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


def test_a_line_is_one_write(monkeypatch):
    """Else those of several processes run into each other."""
    written = []

    class Terminal(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data) -> int:
            written.append(bytes(data))
            return len(data)

    unbuffered = io.TextIOWrapper(Terminal(), write_through=True)
    monkeypatch.setattr(sys, "stderr", unbuffered)
    write_whole_lines()
    print("one", "line", file=sys.stderr)
    assert written == [b"one line\n"]


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


def test_where_one_runs_out_of_memory_all_take_fewer_sequences(launch):
    """The losses are those of the smaller micro-batch: what was tried left no trace."""
    text = Path("sparse.yaml").read_text()
    code, printed = launch("guess", "--max_steps", "3")
    assert code == 0, printed
    lines = [line for line in printed.splitlines() if "ran out of memory" in line]
    (line,) = lines
    assert line.startswith(
        "a process ran out of memory with 2 sequences at a time; going on with 1"
    )
    told = "    callbacks: [ScopedTrainFlags: {csx.performance.micro_batch_size: 1}]\n  fit:"
    Path("sparse.yaml").write_text(text.replace("  fit:", told))
    assert launch("nothing", "--max_steps", "3", "--model_dir", "told")[0] == 0
    found, expected = (load_checkpoint(Path(f"{run}/checkpoint_3")) for run in ("run", "told"))
    assert all(torch.equal(tensor, found.model[name]) for name, tensor in expected.model.items())
    assert torch.equal(found.training["rng.cpu.1"], expected.training["rng.cpu.1"])


def test_where_not_one_sequence_fits_all_end(launch):
    code, text = launch("hopeless")
    assert code == 1
    lines = said(text)
    assert len(lines) == (1 if TOGETHER else 2), text
    assert lines[0].startswith("error: a process ran out of memory with one sequence at a time; ")
    assert "shard_parameters" in lines[0]
