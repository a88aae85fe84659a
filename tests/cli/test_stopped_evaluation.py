"""A signal while a run evaluates: it saves, and what it owes is evaluated when it goes on."""

import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.model.loss import LossModule

WATCHED = "callbacks: [EarlyStopping: {patience: 9}, KeepNCheckpoints: {n: 1}]\n    loop: {"


class Killed(BaseException):
    """Nothing in the run waits for it."""


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


def kill():
    raise Killed


@pytest.fixture
def in_validation_batch(run_files, monkeypatch):
    """`in_validation_batch(n)`: SIGTERM, or `act`, in the n-th one from now on; there are 3 in a
    pass."""
    forward, left, acts = LossModule.forward, [0], []

    def signalled(self, *arguments, **options):
        if options.get("count_right"):
            left[0] -= 1
            if left[0] == 0:
                acts.pop()()
        return forward(self, *arguments, **options)

    monkeypatch.setattr(LossModule, "forward", signalled)

    def at(n, act=ask_to_stop):
        left[0] = n
        acts.append(act)

    return at


def scores(folder: str) -> list[tuple[int, str, float]]:
    """Step, validation set and loss, as they were logged."""
    events = map(json.loads, Path(folder, "log.jsonl").read_text().splitlines())
    return [(e["step"], e["name"], e["loss"]) for e in events if e["event"] == "eval"]


def evaluated(folder: str) -> dict[int, float]:
    """Loss by step; a step evaluated twice fails."""
    found = [(step, loss) for step, _, loss in scores(folder)]
    assert len(found) == len(dict(found))
    return dict(found)


def assert_same_end() -> None:
    """The runs `straight` and `stopped` leave the same state, checkpoints and history."""
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
    assert_same_end()
    capsys.readouterr()
    assert main(["CPU", "-p", "sparse.yaml", "-o", "stopped"]) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("act", "batch", "step"),
    [
        (ask_to_stop, 13, 0),  # the last of the first set's 13
        (ask_to_stop, 31, 10),
        (kill, 47, 20),
    ],
)
def test_a_set_that_was_scored_is_not_scored_again(in_validation_batch, act, batch, step):
    text = Path("sparse.yaml").read_text().replace("loop: {", WATCHED)
    one = "{data_processor: GptHDF5MapDataProcessor, batch_size: 4, data_dir: "
    both = f"val_dataloader: [{one}train}}, {one}validation}}]\n"  # on train the last is the best
    Path("sparse.yaml").write_text(text[: text.index("val_dataloader")] + both)
    assert main(["CPU", "-p", "sparse.yaml", "-o", "straight"]) == 0
    in_validation_batch(batch, act)
    with pytest.raises(Killed) if act is kill else nullcontext():
        assert main(["CPU", "-p", "sparse.yaml", "-o", "stopped"]) == 130
    before = scores("stopped")
    assert [(at, name) for at, name, _ in before][-1] == (step, "train")
    assert main(["CPU", "-p", "sparse.yaml", "-o", "stopped"]) == 0
    assert scores("stopped") == scores("straight")
    assert scores("stopped")[: len(before)] == before
    assert_same_end()


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
