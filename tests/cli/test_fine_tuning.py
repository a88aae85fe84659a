"""Sparse to dense, early stopping and frozen weights, through `run.py`."""

import json
from functools import partialmethod
from pathlib import Path

import pytest
import torch

from modelzoo_mediswift.checkpoint.directory import list_checkpoints, load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.engine import compiler
from modelzoo_mediswift.model.loss import LossModule

MASKED = 12 * 2 * 32 * 32 * 3 // 4


def events(model_dir: str) -> list[dict]:
    return [json.loads(x) for x in (Path(model_dir) / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def dense(run_files: Path) -> str:
    """YAML that fine-tunes a sparse checkpoint with a soft prompt; `callbacks` can be filled in."""
    assert main(["CPU", "-p", "sparse.yaml", "--max_steps", "5"]) == 0
    return (
        Path("sparse.yaml")
        .read_text()
        .replace("name: gpt3", "name: mediswift\n      num_virtual_tokens: 3")
        .replace("model_dir: run", "model_dir: tuned")
        .replace("    sparsity: {algorithm: static, sparsity: 0.75}\n", "")
        .replace(
            "    logging:",
            "    callbacks:\n      - LoadCheckpointStates: {load_checkpoint_states: model}\n"
            "      - DensifyOnLoad: {}\n    logging:",
        )
    ) + "    ckpt_path: run/checkpoint_5\n"


def run(text: str, *flags: str) -> int:
    Path("dense.yaml").write_text(text)
    return main(["CPU", "-p", "dense.yaml", *flags])


def test_the_function_is_unchanged_and_the_weights_move(dense, capsys):
    assert run(dense, "--max_steps", "2") == 0
    start, end = events("tuned")[0], events("tuned")[-1]
    assert start["revived_weights"] == MASKED
    assert start["revival_check"] == {"init": "zeros", "max_logit_difference": 0.0}
    # The first step has learning rate 0. In the second a weight whose gradient underflows may stay.
    assert 0.99 * MASKED < end["revived_moved"] <= MASKED
    model, before = (
        load_checkpoint(Path(p)).model for p in ("tuned/checkpoint_2", "run/checkpoint_5")
    )
    masks = {n.removesuffix("_mask"): m for n, m in before.items() if n.endswith("_mask")}
    counted = sum(int(torch.count_nonzero(model[n][~m])) for n, m in masks.items())
    assert end["revived_moved"] == counted
    assert f"{counted:,} of {MASKED:,}" in capsys.readouterr().err
    # A resumed run still knows which weights were revived.
    places = Path("tuned/revived.safetensors")
    whole = places.read_bytes()
    places.write_bytes(whole[:20])
    assert run(dense, "--max_steps", "4", "--resume") == 2
    assert "tuned/revived.safetensors: damaged" in capsys.readouterr().err
    places.write_bytes(whole)
    assert run(dense, "--max_steps", "4", "--resume") == 0
    assert events("tuned")[-1]["revived_moved"] >= counted


def test_data_of_another_tokenizer_are_refused(run_files, dense, capsys):
    def made_with(tokenizer: object) -> None:
        params = {"vocab_size": 64, "tokenizer_sha256": tokenizer}
        Path("train/data_params.json").write_text(json.dumps(params))

    made_with("a" * 64)
    assert main(["CPU", "-p", "sparse.yaml", "-o", "pretrained", "--max_steps", "1"]) == 0
    ours = dense.replace("ckpt_path: run/checkpoint_5", "ckpt_path: pretrained/checkpoint_1")
    for other in ("b" * 64, 5):  # no digest: a damaged file
        made_with(other)
        capsys.readouterr()
        assert run(ours, "--max_steps", "1") == 2
        assert "train: made with another tokenizer than the data of" in capsys.readouterr().err
    made_with("a" * 64)
    assert run(ours, "--max_steps", "1") == 0


@pytest.mark.parametrize("init", ["scaled_uniform", "scaled_normal"])
def test_revived_weights_can_be_drawn(dense, init):
    drawn = dense.replace("DensifyOnLoad: {}", f"DensifyOnLoad: {{init: {init}, scale: 0.5}}")
    saved = drawn.replace("checkpoint: {steps: 5}", "checkpoint: {save_initial_checkpoint: true}")
    assert run(saved, "--max_steps", "1") == 0
    check = events("tuned")[0]["revival_check"]
    assert (check["init"], check["scale"], check["seed"]) == (init, 0.5, 1)
    assert check["max_logit_difference"] > 0
    first = load_checkpoint(Path("tuned/checkpoint_0")).model
    before = load_checkpoint(Path("run/checkpoint_5")).model
    for name, mask in before.items():
        if name.endswith("_mask"):
            weight = first[name.removesuffix("_mask")]
            kept, revived = weight[mask], weight[~mask]
            assert torch.equal(kept, before[name.removesuffix("_mask")][mask])
            expected = 0.5 * float(kept.std(correction=0))
            assert float(revived.std()) == pytest.approx(expected, rel=0.15)
            bound = expected * 3**0.5
            assert (float(revived.abs().max()) <= bound) == (init == "scaled_uniform")
    again = saved.replace("model_dir: tuned", "model_dir: again")
    assert run(again, "--max_steps", "1") == 0
    same = load_checkpoint(Path("again/checkpoint_0")).model
    assert all(torch.equal(tensor, same[name]) for name, tensor in first.items())


def test_masks_can_be_kept(dense):
    kept = dense.replace("      - DensifyOnLoad: {}\n", "").replace(
        "    loop:", "    sparsity: {algorithm: static, sparsity: 0.75}\n    loop:"
    )
    assert run(kept.replace("seed: 1", "seed: 9"), "--max_steps", "5") == 0
    after = load_checkpoint(Path("tuned/checkpoint_5")).model
    before = load_checkpoint(Path("run/checkpoint_5")).model
    masks = [name for name in before if name.endswith("_mask")]
    assert len(masks) == 12
    for name in masks:
        assert torch.equal(before[name], after[name]), "the checkpoint's mask, not a new one"
        assert torch.count_nonzero(after[name.removesuffix("_mask")][~after[name]]) == 0
    assert after["prompt_embedding.weight"].shape == (3, 32)


def with_callback(text: str, callback: str) -> str:
    return text.replace("      - DensifyOnLoad: {}\n", f"      - DensifyOnLoad: {{}}\n{callback}")


def test_chosen_parameters_alone_can_be_trained(dense, capsys):
    only = with_callback(dense, "      - TrainOnly: {param_filter: ['*ln_f.bias']}\n")
    assert run(only, "--max_steps", "5") == 0
    before = load_checkpoint(Path("run/checkpoint_5")).model
    after = load_checkpoint(Path("tuned/checkpoint_5")).model
    changed = {n for n in after if n in before and not torch.equal(after[n], before[n])}
    assert changed == {"model.ln_f.bias"}
    assert run(only, "--resume", "--max_steps", "7") == 0
    none = with_callback(dense, "      - TrainOnly: {param_filter: prompt.weight}\n")
    assert run(none, "-o", "third") == 2
    assert "TrainOnly: no parameter matches prompt.weight" in capsys.readouterr().err


STOPPING = "      - EarlyStopping: {patience: 2}\n      - KeepNCheckpoints: {n: 1}\n"


def test_training_stops_and_the_best_weights_are_kept(dense, capsys):
    stopping = (
        with_callback(dense, STOPPING)
        .replace("eval_frequency: 10", "eval_frequency: 1")
        .replace("max_steps: 20", "max_steps: 200")
        .replace("checkpoint: {steps: 5}", "checkpoint: {steps: 1000}")
    )
    assert run(stopping) == 0
    err = capsys.readouterr().err
    assert "loss no better for 2 evaluations; best was" in err
    told = json.loads(Path("tuned/early_stopping.json").read_text())
    values = {e["step"]: e["loss"] for e in events("tuned") if e["event"] == "eval" and e["step"]}
    best = min(values, key=values.__getitem__)
    assert told["best"] == {"step": best, "value": values[best]}
    assert events("tuned")[-1]["stopped_early"] is True
    record = json.loads(Path("tuned/run_record.json").read_text())
    assert record["sessions"][-1]["finished"] is True
    assert record["revived_moved"] == events("tuned")[-1]["revived_moved"]
    last = max(values)
    assert last == best + 2 < 200
    kept = {path.name for path in list_checkpoints(Path("tuned"))}
    assert kept == {f"checkpoint_{best}", f"checkpoint_{last}"}
    assert run(stopping, "--resume") == 0
    assert f"already at step {last}; nothing to do" in capsys.readouterr().err

    # Stopped and taken up again at some step, it ends at the same one.
    parts = stopping.replace("model_dir: tuned", "model_dir: parts")
    parts = parts.replace("steps: 1000", "steps: 3")
    assert run(parts, "--max_steps", str(best + 1)) == 0
    assert run(parts, "--resume") == 0
    assert json.loads(Path("parts/early_stopping.json").read_text()) == told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("patience: 2", "patience: 0", "expected an integer >= 1"),
        ("patience: 2", "monitor: f1", 'expected loss or accuracy, got "f1"'),
        ("eval_frequency: 10", "eval_frequency: 0", "for EarlyStopping to watch"),
        ("DensifyOnLoad: {}", "DensifyOnLoad: {init: ones}", "expected zeros, scaled_uniform or"),
        ("EarlyStopping: {patience: 2}", "SelectiveGrad: {}", "write TrainOnly"),
    ],
)
def test_mistakes_are_named(dense, capsys, old, new, message):
    text = with_callback(dense, STOPPING)
    assert old in text
    assert run(text.replace(old, new)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # those of PyTorch's compiler itself
@pytest.mark.parametrize("grouped", [True, False])
def test_batches_of_many_lengths_share_the_programs_of_a_layer(dense, monkeypatch, grouped):
    """A fine-tuning is short: programs of all layers together would take longer than its steps."""
    torch._dynamo.reset()
    programs = []

    def backend(graph, inputs):
        functions = [getattr(n.target, "__name__", "") for n in graph.graph.nodes]
        modules = [m for m in graph.modules() if isinstance(m, torch.nn.LayerNorm)]  # torch 2.4
        programs.append(functions.count("layer_norm") + len(modules))
        return graph.forward

    compiled = partialmethod(LossModule.compile_parts, backend=backend)
    monkeypatch.setattr(LossModule, "compile_parts", compiled)
    monkeypatch.setattr(compiler, "compiler_problem", lambda device: None)
    text = dense.replace("  init:\n", "  init:\n    backend: {compile: true}\n", 1)
    if grouped:
        text = text.replace(
            "      - DensifyOnLoad", "      - GroupByLength: {}\n      - DensifyOnLoad"
        )
    assert run(text, "--max_steps", "2") == 0
    of_the_model = {norms for norms in programs if norms}
    assert of_the_model == ({2} if grouped else {5})  # of a layer; of two and the last
