"""A signal while a run evaluates: it saves, and what it owes is evaluated when it goes on."""

import json
import os
import signal
from pathlib import Path

import pytest

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.model.loss import LossModule

WATCHED = "callbacks: [EarlyStopping: {patience: 9}, KeepNCheckpoints: {n: 1}]\n    loop: {"


@pytest.fixture
def in_validation_batch(run_files, monkeypatch):
    """`in_validation_batch(n)`: SIGTERM in the n-th one from now on; there are 3 in a pass."""
    forward, left = LossModule.forward, [0]

    def signalled(self, *arguments, **options):
        if options.get("count_right"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(LossModule, "forward", signalled)

    def at(n: int) -> None:
        left[0] = n

    return at


def evaluated(folder: str) -> dict[int, float]:
    """Loss by step; a step evaluated twice fails."""
    events = map(json.loads, Path(folder, "log.jsonl").read_text().splitlines())
    found = [(e["step"], e["loss"]) for e in events if e["event"] == "eval"]
    assert len(found) == len(dict(found))
    return dict(found)


@pytest.mark.parametrize(
    ("batch", "step", "frequency"),
    [(1, 0, 10), (4, 10, 10), (5, 7, 7), (8, 20, 10)],
)
def test_it_saves_at_once_and_the_same_command_makes_up_for_it(
    in_validation_batch, capsys, batch, step, frequency
):
    text = Path("sparse.yaml").read_text().replace("loop: {", WATCHED)
    Path("sparse.yaml").write_text(text.replace("frequency: 10", f"frequency: {frequency}"))
    assert main(["CPU", "-p", "sparse.yaml", "-o", "straight"]) == 0
    in_validation_batch(batch)
    assert main(["CPU", "-p", "sparse.yaml", "-o", "stopped"]) == 130
    assert f"interrupted after step {step}; saved" in capsys.readouterr().err
    assert Path(f"stopped/checkpoint_{step}").is_dir()
    assert step not in evaluated("stopped")
    assert main(["CPU", "-p", "sparse.yaml", "-o", "stopped"]) == 0
    assert evaluated("stopped") == evaluated("straight")
    a, b = (load_checkpoint(Path(d, "checkpoint_20")) for d in ("straight", "stopped"))
    assert all(tensor.equal(b.training[name]) for name, tensor in a.training.items())
    kept, histories = (
        [found(d) for d in ("straight", "stopped")]
        for found in (
            lambda d: {p.name for p in Path(d).glob("checkpoint_*")},
            lambda d: Path(d, "early_stopping.json").read_bytes(),
        )
    )
    assert kept[0] == kept[1]
    assert histories[0] == histories[1]
    capsys.readouterr()
    assert main(["CPU", "-p", "sparse.yaml", "-o", "stopped"]) == 0
    assert "nothing to do" in capsys.readouterr().err


def test_a_signal_in_the_last_batch_is_too_late_to_matter(in_validation_batch):
    in_validation_batch(9)
    assert main(["CPU", "-p", "sparse.yaml"]) == 0
    assert evaluated("run").keys() == {0, 10, 20}


@pytest.mark.parametrize(("batch", "step"), [(3, 0), (6, 10)])
def test_after_the_last_batch_no_step_follows_and_nothing_is_owed(in_validation_batch, batch, step):
    in_validation_batch(batch)
    assert main(["CPU", "-p", "sparse.yaml"]) == 130
    assert max(evaluated("run")) == step
    assert max(int(p.name[11:]) for p in Path("run").glob("checkpoint_*")) == step
    assert main(["CPU", "-p", "sparse.yaml"]) == 0
    assert evaluated("run").keys() == {0, 10, 20}
