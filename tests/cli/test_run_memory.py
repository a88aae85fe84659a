"""Runs on a CPU with less memory than a batch takes; how much there is, is made up."""

from pathlib import Path

import pytest
import torch

from modelzoo_mediswift import build, build_memory
from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.engine.torch_engine import TorchEngine
from modelzoo_mediswift.plan.plan import make_plan

BATCH = 12


@pytest.fixture
def memory(run_files, monkeypatch):
    """Sets the bytes that are left: for the model's state and so many sequences."""
    text = Path("sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    Path("sparse.yaml").write_text(text.replace("batch_size: 4", f"batch_size: {BATCH}"))
    planned = make_plan(load_config(Path("sparse.yaml")), 16, compiled=False).memory

    def sequences(number: float) -> None:
        total = planned.of(1, accumulates=number < BATCH).total
        total += int((number - 1) * planned.activations_per_sequence)
        left = total / build_memory.USED_HOST_MEMORY - planned.weights - planned.masks
        monkeypatch.setattr(build_memory, "available_memory", lambda: int(left) + 1)

    return sequences


@pytest.fixture
def rows(monkeypatch):
    """The sequences of every micro-batch."""
    seen = []
    on_device = TorchEngine._on_device

    def watched(engine, tensor):
        if tensor.dim() == 2:
            seen.append(len(tensor))
        return on_device(engine, tensor)

    monkeypatch.setattr(TorchEngine, "_on_device", watched)
    return seen


def train(*flags: str) -> int:
    return main(["CPU", "-p", "sparse.yaml", "--max_steps", "10", *flags])


def weights(model_dir: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(Path(model_dir) / "checkpoint_10").model


def said(capsys) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("memory: ")]


def test_a_batch_that_fits_is_not_cut(memory, rows, capsys):
    memory(1000)
    assert train("-o", "plenty") == 0
    memory(BATCH)
    assert train("-o", "enough") == 0
    assert set(rows) == {BATCH, 10}  # 10 sequences validate
    assert said(capsys) == []
    plenty, enough = weights("plenty"), weights("enough")
    assert all(tensor.equal(enough[name]) for name, tensor in plenty.items())


def test_one_that_does_not_fit_is_cut(memory, rows, capsys):
    memory(1000)
    assert train("-o", "whole") == 0
    memory(5)
    rows.clear()
    assert train("-o", "cut") == 0
    assert max(rows) == 4
    (line,) = said(capsys)
    assert line.startswith(f"memory: 4 of {BATCH} sequences at a time")
    whole, cut = weights("whole"), weights("cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=0, atol=2e-4)


def test_where_not_one_sequence_may_fit_a_line_says_so(memory, rows, capsys):
    memory(0.5)
    assert train() == 0
    assert max(rows) == 1
    assert len(said(capsys)) == 1


def test_a_state_that_cannot_fit_is_refused_before_it_is_made(run_files, capsys, monkeypatch):
    monkeypatch.setattr(build, "build_model", None)
    monkeypatch.setattr(build_memory, "available_memory", lambda: 1000)
    assert train() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: memory: weights, gradients and moments take ")
    assert not Path("run").exists()


def test_the_files_micro_batch_is_taken(memory, rows, capsys):
    text = Path("sparse.yaml").read_text()
    flags = "    callbacks: [ScopedTrainFlags: {csx.performance.micro_batch_size: 6}]\n"
    Path("sparse.yaml").write_text(text.replace("    loop:", flags + "    loop:"))
    memory(5)
    assert train() == 0
    assert max(rows) == 6
    assert said(capsys) == []


def test_a_run_that_was_cut_goes_on_in_the_same_pieces(memory, rows, capsys):
    memory(5)
    assert train("-o", "straight") == 0
    assert train("-o", "moved", "--max_steps", "5") == 0
    capsys.readouterr()
    memory(1000)
    rows.clear()
    assert train("-o", "moved") == 0
    assert max(rows) == 4
    (line,) = said(capsys)
    assert line.startswith(f"memory: 4 of {BATCH} sequences at a time, as the run began")
    straight, moved = weights("straight"), weights("moved")
    assert all(tensor.equal(moved[name]) for name, tensor in straight.items())


def test_where_they_no_longer_fit_there_are_more(memory, rows, capsys):
    memory(5)
    assert train("--max_steps", "5") == 0
    memory(2.5)
    rows.clear()
    assert train() == 0
    assert max(rows) == 2
    memory(1000)  # and the file's word goes before the checkpoint's
    text = Path("sparse.yaml").read_text()
    flags = "    callbacks: [ScopedTrainFlags: {csx.performance.micro_batch_size: 6}]\n"
    Path("sparse.yaml").write_text(text.replace("    loop:", flags + "    loop:"))
    rows.clear()
    capsys.readouterr()
    assert train("--max_steps", "15") == 0
    assert max(rows) == 6
    assert said(capsys) == []


def test_another_batch_is_cut_anew(memory, rows):
    memory(5)
    assert train("--max_steps", "5") == 0
    memory(1000)
    text = Path("sparse.yaml").read_text()
    Path("sparse.yaml").write_text(text.replace(f"batch_size: {BATCH}", "batch_size: 10"))
    rows.clear()
    assert train() == 0
    assert set(rows) == {10}
