"""A run on CPU or GPU is a faithful preview of the library's: same YAML, same weights and masks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main

pytestmark = [pytest.mark.cerebras, pytest.mark.slow]
SCRIPT = Path(__file__).parent / "preview_run.py"


STATIC = "{algorithm: static, sparsity: 0.75}"
UPDATE = "update: {freq: 10, stop: 45}"
SPARSITY = {
    "dense": None,
    "static": STATIC,
    "gmp": "{algorithm: gmp, sparsity: {type: linear, init: 0.0, slope: 0.02}, init_method: topk, "
    "update: {freq: 10, start: 5, stop: 45}}",
    "set": f"{{algorithm: set, sparsity: 0.75, drop_fraction: 0.3, {UPDATE}}}",
    "rigl": f"{{algorithm: rigl, sparsity: 0.75, drop_fraction: 0.3, {UPDATE}}}",
}


@pytest.mark.parametrize("kind", sorted(SPARSITY))
def test_fifty_steps_agree_with_the_librarys_cpu_backend(run_files, kind):
    text = (run_files / "sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    # The gradient of a key's bias is zero but for rounding, which Adam scales up to whole steps
    # of the learning rate; at 1e-3, still above the paper's, that stays below the tolerance.
    text = text.replace("0.01,", "0.001,").replace("max_steps: 20", "max_steps: 50")
    line = f"    sparsity: {STATIC}\n"
    assert line in text
    text = text.replace(line, f"    sparsity: {SPARSITY[kind]}\n" if SPARSITY[kind] else "")
    Path("run.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "run.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["names"]
    assert found["steps"]
    assert found["resumed"]
    assert found["masks"]
    assert found["n_masks"] == (0 if kind == "dense" else 12)
    assert found["last_loss"] < found["first_loss"]
    assert found["eval_counts"]
    for key in ("loss", "lr", "grad_norm", "weights", "moments", "eval_loss"):
        assert found[key] < 1e-5, key
    assert found["but_key_biases"] < 1e-6


def fit_by_the_library(path: str, max_steps: int) -> None:
    script = SCRIPT.with_name("fit_run.py")
    done = subprocess.run(
        [sys.executable, str(script), path, str(max_steps)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def logged(model_dir: str, event: str) -> dict[int, float]:
    lines = (Path(model_dir) / "log.jsonl").read_text().splitlines()
    return {e["step"]: e["loss"] for e in map(json.loads, lines) if e["event"] == event}


def test_a_run_moves_between_the_library_and_the_torch_engine(run_files):
    """10 steps by the library, 5 by the torch engine, 5 by the library, with its own masks."""
    text = (run_files / "sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    text = text.replace("0.01,", "0.001,")
    Path("run.yaml").write_text(text.replace("model_dir: run", "model_dir: straight"))
    fit_by_the_library("run.yaml", 20)
    Path("run.yaml").write_text(text.replace("model_dir: run", "model_dir: parts"))
    fit_by_the_library("run.yaml", 10)
    assert main(["CPU", "-p", "run.yaml", "--max_steps", "15"]) == 0
    fit_by_the_library("run.yaml", 20)
    for event, steps in (("train", list(range(1, 21))), ("eval", [0, 10, 20])):
        straight, parts = logged("straight", event), logged("parts", event)
        assert sorted(straight) == steps
        # Masks are drawn by the library from the seed, so both runs start alike.
        assert {s: parts[s] for s in steps} == pytest.approx(straight, abs=1e-5)
    kept = load_checkpoint(Path("parts/checkpoint_20")).model
    name = "model.transformer_decoder.layers.0.ffn.ffn.0.linear_layer.weight"
    assert int(kept[name + "_mask"].sum()) * 4 == kept[name].numel()
    assert kept[name][~kept[name + "_mask"]].count_nonzero() == 0


def test_weights_of_a_sparse_run_bring_their_masks(run_files):
    """Another run's weights alone, without DensifyOnLoad: its masks are taken too, and stay."""
    text = (run_files / "sparse.yaml").read_text()
    assert main(["CPU", "-p", "sparse.yaml", "--max_steps", "5"]) == 0
    states = "    callbacks: [LoadCheckpointStates: {load_checkpoint_states: model}]\n"
    text = text.replace("model_dir: run", "model_dir: second").replace("seed: 1", "seed: 2")
    text = text.replace("    logging:", f"{states}    logging:")
    Path("second.yaml").write_text(
        text.replace("  fit:", "  fit:\n    ckpt_path: run/checkpoint_5")
    )
    fit_by_the_library("second.yaml", 5)
    first, second = (load_checkpoint(Path(f"{d}/checkpoint_5")).model for d in ("run", "second"))
    masks = [name for name in first if name.endswith("_mask")]
    assert len(masks) == 12
    assert all(first[name].equal(second[name]) for name in masks)
    assert not any(
        first[n.removesuffix("_mask")].equal(second[n.removesuffix("_mask")]) for n in masks
    )
