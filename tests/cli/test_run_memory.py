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
    """Sets the bytes that are there: the model's state, and what so many sequences need."""
    text = Path("sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    Path("sparse.yaml").write_text(text.replace("batch_size: 4", f"batch_size: {BATCH}"))
    planned = make_plan(load_config(Path("sparse.yaml")), 16).memory

    def sequences(number: float) -> None:
        one = planned.activations_per_sequence * build_memory.GIVEN_BACK
        available = planned.total - planned.activations + int(number * one)
        monkeypatch.setattr(build_memory, "available_memory", lambda: available)

    return sequences


@pytest.fixture
def sizes(monkeypatch):
    """The sequences of every micro-batch of training."""
    seen = []
    pieces = TorchEngine._pieces

    def watched(engine, batch, size):
        seen.append(size)
        return pieces(engine, batch, size)

    monkeypatch.setattr(TorchEngine, "_pieces", watched)
    return seen


def never_save() -> None:
    text = Path("sparse.yaml").read_text()
    Path("sparse.yaml").write_text(text.replace("checkpoint: {steps: 5}", "checkpoint: {steps: 0}"))


def train(*flags: str) -> int:
    return main(["CPU", "-p", "sparse.yaml", "--max_steps", "10", *flags])


def weights(model_dir: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(Path(model_dir) / "checkpoint_10").model


def said(capsys) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith(("memory: ", "error: "))]


def test_a_batch_that_fits_is_not_cut(memory, sizes, capsys):
    memory(1000)
    assert train("-o", "plenty") == 0
    memory(BATCH + 0.1)
    assert train("-o", "enough") == 0
    assert set(sizes) == {BATCH, 10}  # 10 sequences validate
    assert said(capsys) == []
    plenty, enough = weights("plenty"), weights("enough")
    assert all(tensor.equal(enough[name]) for name, tensor in plenty.items())
    assert "tokens_at_once" not in load_checkpoint(Path("enough/checkpoint_10")).training


def test_one_that_does_not_fit_is_cut(memory, sizes, capsys):
    memory(1000)
    assert train("-o", "whole") == 0
    memory(5)
    sizes.clear()
    assert train("-o", "cut") == 0
    assert 4 in sizes
    assert BATCH not in sizes
    (line,) = said(capsys)
    assert f"for {BATCH} sequences" in line
    assert line.endswith(": 4 at a time")
    whole, cut = weights("whole"), weights("cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=0, atol=2e-4)


def test_a_run_that_goes_on_with_more_memory_keeps_its_parts(memory, sizes):
    memory(5)
    assert train("-o", "straight") == 0
    assert train("-o", "halves", "--max_steps", "5") == 0
    memory(1000)
    sizes.clear()
    assert train("-o", "halves") == 0
    assert 4 in sizes
    straight, halves = weights("straight"), weights("halves")
    assert all(tensor.equal(halves[name]) for name, tensor in straight.items())


def test_what_fits_nowhere_is_refused_before_anything_is_made(memory, capsys, monkeypatch):
    monkeypatch.setattr(build, "build_model", None)
    never_save()
    memory(0.5)
    assert train() == 2
    (line,) = said(capsys)
    assert line.startswith("error: memory: the model with its state and one sequence takes ")
    assert not Path("run").exists()


def test_a_checkpoint_that_could_not_be_written_is_known_before(memory, capsys, monkeypatch):
    """State: 16 bytes a parameter; with a copy for the checkpoint 24, and two masks."""
    text = Path("sparse.yaml").read_text()
    Path("sparse.yaml").write_text(text.replace("hidden_size: 32", "hidden_size: 64"))
    plan = make_plan(load_config(Path("sparse.yaml")), 16)
    saving = 2 * (12 * plan.n_params_total + plan.memory.masks)
    monkeypatch.setattr(build_memory, "available_memory", lambda: saving - 1)
    assert train() == 2
    assert "the model with its state, copied for a checkpoint, takes 0.0 GiB" in said(capsys)[0]
    monkeypatch.setattr(build_memory, "available_memory", lambda: saving)
    assert train() == 0


def test_a_micro_batch_in_the_file_is_taken_with_a_warning(memory, sizes, capsys):
    text = Path("sparse.yaml").read_text()
    flags = "    callbacks: [ScopedTrainFlags: {csx.performance.micro_batch_size: 6}]\n"
    Path("sparse.yaml").write_text(text.replace("    loop:", flags + "    loop:"))
    memory(5)
    assert train() == 0
    assert sizes[-1] == 6
    (line,) = said(capsys)
    assert "for 6 sequences" in line
    assert "a smaller micro_batch_size needs less" in line
    never_save()
    memory(-1)
    assert train("-o", "less") == 2
    assert "the model with its state takes" in said(capsys)[0]


def test_an_evaluation_is_cut_too(memory, sizes, capsys, monkeypatch):
    memory(1000)
    assert train() == 0
    assert main(["CPU", "-p", "sparse.yaml", "--mode", "eval"]) == 0
    whole = capsys.readouterr().out
    sizes.clear()
    need = build_memory._evaluation_need(load_config(Path("sparse.yaml")).init)
    monkeypatch.setattr(build_memory, "available_memory", lambda: need.of(5 * 16 + 1))
    assert main(["CPU", "-p", "sparse.yaml", "--mode", "eval"]) == 0
    assert sizes == [5]
    assert capsys.readouterr().out == whole
    monkeypatch.setattr(build_memory, "available_memory", lambda: need.state)
    assert main(["CPU", "-p", "sparse.yaml", "--mode", "eval"]) == 2
    assert len(said(capsys)) == 1
