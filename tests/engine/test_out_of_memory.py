import pytest
import torch

from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.engine.out_of_memory import OutOfMemory, named_out_of_memory
from modelzoo_mediswift.model.loss import LossModule


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize("mode", [(), ("--mode", "eval")])
def test_one_line_says_what_to_change_and_checkpoints_stay(
    run_files, capsys, monkeypatch, error, mode
):
    assert main(["CPU", "-p", "sparse.yaml", "--max_steps", "5"]) == 0
    files = {p: p.read_bytes() for p in (run_files / "run" / "checkpoint_5").iterdir()}

    def fail(*arguments: object, **options: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LossModule, "forward", fail)
        assert main(["CPU", "-p", "sparse.yaml", *mode]) == 2
    message = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(message) == 1
    assert "out of memory with 4 sequences at a time" in message[0]
    assert "csx.performance.micro_batch_size" in message[0]
    assert files == {p: p.read_bytes() for p in (run_files / "run" / "checkpoint_5").iterdir()}
    assert main(["CPU", "-p", "sparse.yaml"]) == 0


def test_one_sequence_at_a_time_is_not_told_to_take_fewer():
    with (
        pytest.raises(OutOfMemory, match="with one sequence at a time; shorter sequences"),
        named_out_of_memory(torch.device("cuda"), 1),
    ):
        raise torch.cuda.OutOfMemoryError


def test_other_errors_pass_through(run_files, monkeypatch):
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(LossModule, "forward", fail)
    with pytest.raises(RuntimeError, match="something else"):
        main(["CPU", "-p", "sparse.yaml"])
