"""Two and four processes on the CPU against one: the same numbers, whatever the count."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed.fsdp

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.data.batch import Share

PROGRAM = Path(__file__).parent / "many_processes_run.py"


def variant(name: str, *changes: tuple[str, str]) -> str:
    """The run of `run_files` without dropout, which is drawn per process, and with changes."""
    text = Path("sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    for old, new in (("train\n      batch_size: 4", "train\n      batch_size: 6"), *changes):
        assert old in text
        text = text.replace(old, new)
    path = Path(f"{name}.yaml")
    path.write_text(text)
    return str(path)


SHARDED = ("seed: 1\n", "seed: 1\n    backend: {shard_parameters: true}\n")
RIGL = (
    "{algorithm: static, sparsity: 0.75}",
    "{algorithm: rigl, sparsity: 0.75, update: {freq: 2}}",
)


@pytest.fixture
def run(run_files, torchrun):
    """Run commands one after another in `count` processes; what they print."""

    def start(count: int, *commands: list[str]) -> str:
        done = torchrun(count, PROGRAM, json.dumps(commands))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return start


def logged(model_dir: str, key: str) -> dict[tuple[str, int], float]:
    lines = (Path(model_dir) / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return {(e["event"], e["step"]): e[key] for e in events if key in e}


def losses(model_dir: str) -> dict[tuple[str, int], float]:
    return logged(model_dir, "loss")


def assert_same_run(one: str, other: str, step: int = 20) -> None:
    assert losses(one) == pytest.approx(losses(other), rel=1e-5)
    # Adam's steps do not tell how large the gradients were.
    assert logged(one, "grad_norm") == pytest.approx(logged(other, "grad_norm"), rel=1e-3)
    a, b = (load_checkpoint(Path(d) / f"checkpoint_{step}") for d in (one, other))
    assert a.loader == b.loader
    assert a.model.keys() == b.model.keys()
    assert a.training.keys() == {k for k in b.training if not k[-1].isdigit()}
    for name, tensor in a.model.items():
        assert tensor.shape == b.model[name].shape
        if tensor.dtype == torch.bool:
            assert tensor.equal(b.model[name]), name
        else:
            # Adam turns rounding in tiny gradients into whole steps of the learning rate at worst.
            assert (tensor - b.model[name]).abs().max() < 1e-3, name


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(torch.distributed.fsdp, "fully_shard"), reason="shares need torch 2.6"
)
def test_copies_and_shares_make_the_run_of_one_process_and_resume_in_another_number(run):
    plain, shared, rigl = variant("plain"), variant("shared", SHARDED), variant("rigl", RIGL)
    refused = variant("refused", SHARDED, RIGL)
    assert main(["CPU", "-p", plain, "-o", "one"]) == 0
    assert main(["CPU", "-p", rigl, "-o", "one_rigl"]) == 0
    text = run(
        2,
        ["CPU", "-p", plain, "-o", "copies"],
        ["CPU", "-p", shared, "-o", "shares"],
        ["CPU", "-p", rigl, "-o", "copies_rigl"],
        ["CPU", "-p", refused, "-o", "refused"],
        ["CPU", "-p", plain, "-o", "copies", "-m", "eval"],
    )
    assert "error: trainer.init.backend.shard_parameters: masks that change" in text
    assert text.count("step 20/20") == 3, "one process speaks"
    assert text.count("copies/checkpoint_20 validation: loss") == 1
    assert_same_run("one", "copies")
    assert_same_run("one", "shares")
    assert_same_run("one_rigl", "copies_rigl")
    # Six rows among four processes: one of them has padding alone.
    for folder in ("copies", "shares"):
        shutil.copytree(f"{folder}/checkpoint_10", f"{folder}_on/checkpoint_10")
    run(4, ["CPU", "-p", shared, "-o", "copies_on"], ["CPU", "-p", plain, "-o", "shares_on"])
    for folder in ("copies_on", "shares_on"):
        after = {at: loss for at, loss in losses("one").items() if at[1] > 10}
        assert losses(folder) == pytest.approx(after, rel=1e-5)
        # And one process continues what four have saved.
        shutil.copytree(f"{folder}/checkpoint_15", f"{folder}_alone/checkpoint_15")
        assert main(["CPU", "-p", plain, "-o", f"{folder}_alone"]) == 0
        last = {at: loss for at, loss in after.items() if at[1] > 15}
        assert losses(f"{folder}_alone") == pytest.approx(last, rel=1e-5)


@pytest.mark.slow
def test_four_copies_that_stopped_continue_to_the_same_bits(run):
    straight = ["CPU", "-p", "sparse.yaml", "-o", "straight"]
    parts = ["CPU", "-p", "sparse.yaml", "-o", "parts"]
    run(4, straight, [*parts, "--max_steps", "7"], parts)
    a, b = (load_checkpoint(Path(d) / "checkpoint_20") for d in ("straight", "parts"))
    assert all(tensor.equal(b.model[name]) for name, tensor in a.model.items())
    assert all(tensor.equal(b.training[name]) for name, tensor in a.training.items())
    (extra,) = losses("parts").keys() - losses("straight").keys()
    assert extra == ("eval", 7)
    assert losses("straight").items() <= losses("parts").items()


def test_every_process_has_as_many_rows_and_all_samples_are_read_once():
    for n_samples in (1, 4, 6, 7):
        shares = [Share(rank, 4) for rank in range(4)]
        rows = [list(range(n_samples))[share.rows(n_samples)] for share in shares]
        assert [x for part in rows for x in part] == list(range(n_samples))
        assert all(
            len(part) <= share.each(n_samples) for part, share in zip(rows, shares, strict=True)
        )
        assert len({share.each(n_samples) for share in shares}) == 1


def test_enable_distributed_without_torchrun_is_refused(run_files, capsys):
    text = Path("sparse.yaml").read_text()
    Path("many.yaml").write_text(
        text.replace("seed: 1\n", "seed: 1\n    backend: {enable_distributed: true}\n", 1)
    )
    assert main(["CPU", "-p", "many.yaml"]) == 2
    assert "torchrun --nproc_per_node N run.py" in capsys.readouterr().err
