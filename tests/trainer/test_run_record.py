import json
from pathlib import Path
from typing import Any

import pytest

from modelzoo_mediswift.data.batch import PaddingCount
from modelzoo_mediswift.engine.base import StepResult
from modelzoo_mediswift.engine.energy import EnergyMeter
from modelzoo_mediswift.trainer.callbacks.base import Run
from modelzoo_mediswift.trainer.callbacks.run_record import RunRecord

TERMS = {"linear": 100, "vocabulary": 10, "attention": 8, "softmax": 2}
PLAN = {
    "sequence_length": 16,
    "flops_per_token": {"total": 70, **TERMS, "linear": 50},
    "flops_per_token_dense": {"total": 120, **TERMS},
}


def run(folder: Path, start: int = 0) -> Run:
    return Run(folder, start, 4, 1, facts={"seed": 7, "plan": PLAN})


def step(number: int, tokens: int = 24) -> StepResult:
    return StepResult(number, 1e-3, tokens, 2.0, 1.0)


def written(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run_record.json").read_text())


def test_a_session_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    padding = PaddingCount()
    joules = iter([1.0, 1.5, 3.0, 9.0])
    times = iter([100.0, 100.0, 100.5, 101.0, 102.5, 112.5])
    clock = lambda: next(times, 112.5)  # noqa: E731
    record = RunRecord(padding, [EnergyMeter(lambda: next(joules), "RAPL package-0")], clock)
    record.on_start(run(tmp_path))
    for number in range(1, 5):
        padding.add(3, 8, 21)
        record.on_step(step(number))
    checkpoint = tmp_path / "checkpoint_4"
    checkpoint.mkdir()
    (checkpoint / "meta.json").write_text('{"sha256": {"model.safetensors": "abc"}}')
    record.on_checkpoint(4, checkpoint)
    record.on_end(4)
    found = written(tmp_path)
    assert found["seed"] == 7
    assert found["checkpoints"] == {"checkpoint_4": {"model.safetensors": "abc"}}
    (session,) = found["sessions"]
    assert session["finished"] is True
    assert (session["first_step"], session["last_step"]) == (0, 4)
    assert (session["tokens"], session["padding_tokens"]) == (96, 12)
    # Sequences of 8 instead of 16: half of attention's and softmax's 10 per token.
    assert session["flops"] == 96 * (50 + 10 + 5)
    assert session["flops_dense"] == 96 * (100 + 10 + 5)
    assert session["energy_joules"] == {"RAPL package-0": 8.0}
    said = capsys.readouterr().err
    assert "96 tokens in" in said
    assert "padding 12.5%" in said
    assert "8 J (RAPL package-0)" in said


def test_the_first_processs_padding_stands_for_all_processes(tmp_path: Path) -> None:
    padding = PaddingCount()
    record = RunRecord(padding, clock=lambda: 0.0)
    record.on_start(run(tmp_path))
    padding.add(3, 8, 21)  # what this process read of a batch of 48 tokens
    record.on_step(step(1, tokens=48))
    record.on_end(1)
    (session,) = written(tmp_path)["sessions"]
    assert (session["tokens"], session["padding_tokens"]) == (48, 6)
    assert session["padding_share"] == 0.125


@pytest.mark.parametrize("text", ['{"sessions": 5, "checkpoints": [1]}', "{", "[" * 100_000])
def test_a_damaged_record_is_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "run_record.json").write_text(text)
    record = RunRecord(clock=lambda: 0.0)
    record.on_start(run(tmp_path, 4))
    assert [s["first_step"] for s in written(tmp_path)["sessions"]] == [4]
    assert written(tmp_path)["checkpoints"] == {}


def test_a_resumed_run_adds_a_session_and_keeps_the_killed_one(tmp_path: Path) -> None:
    killed = RunRecord()
    killed.on_start(run(tmp_path))
    killed.on_step(step(1))
    killed.on_checkpoint(1, tmp_path / "checkpoint_1")
    killed.on_step(step(2))  # never written down
    again = RunRecord()
    again.on_start(run(tmp_path, start=1))
    again.on_step(step(2))
    again.on_end(2)
    found = written(tmp_path)
    first, second = found["sessions"]
    assert (first["last_step"], first["tokens"]) == (1, 24)
    assert "finished" not in first
    assert (second["first_step"], second["finished"]) == (1, False)
    assert "checkpoint_1" in found["checkpoints"]


def test_a_resumed_run_still_says_what_it_began_with(tmp_path: Path) -> None:
    began = {
        "started_from": "elsewhere/checkpoint_9",
        "started_from_sha256": "ab",
        "revived_weights": 12,
        "revival_check": {"init": "zeros", "max_logit_difference": 0.0},
    }
    first = run(tmp_path)
    first.facts.update(began)
    RunRecord().on_start(first)
    own = {"started_from": str(tmp_path / "checkpoint_1"), "started_from_sha256": "cd"}
    again = run(tmp_path, start=1)
    again.facts.update(own, revived_weights=0)
    record = RunRecord()
    record.on_start(again)
    assert {key: written(tmp_path)[key] for key in began} == began
    record.on_end(2)
    assert {key: written(tmp_path)[key] for key in began} == began
    another = run(tmp_path)
    another.facts.update(started_from="elsewhere/checkpoint_3", revived_weights=0)
    RunRecord().on_start(another)
    assert written(tmp_path)["started_from"] == "elsewhere/checkpoint_3"
    assert "started_from_sha256" not in written(tmp_path)
