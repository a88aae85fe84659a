"""Stock Model Zoo 2.10 with this project's files, and its model beside ours."""

import json
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from data_preprocessing.best_fit import pack_best_fit
from data_preprocessing.pack import pack_documents
from data_preprocessing.write_hdf5 import write_corpus, write_params, write_samples
from modelzoo_mediswift.cerebras.cirh import read_program
from modelzoo_mediswift.cli import main as mediswift
from modelzoo_mediswift.cli.run import main as run

pytestmark = pytest.mark.modelzoo
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOSS = re.compile(r"Train Device=\w+, Step=(\d+), Loss=([0-9.]+)")
CBFLOAT16 = "fp16_type: cbfloat16, loss_scaling_factor: dynamic"
STATIC = "    sparsity: {algorithm: static, sparsity: 0.75}\n"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: the library has one backend in each. Model Zoo's imports warn."""
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def program(name: str, *arguments: str) -> dict:
    done = python(str(HERE / name), *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def cszoo(*arguments: str) -> str:
    """The log of `mediswift-cszoo`."""
    done = python("-m", "modelzoo_mediswift.cli.cszoo", *arguments)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout + done.stderr


def make_run(name: str, *changes: tuple[str, str]) -> str:
    """`<name>.yaml`: 20 steps on the CPU in float32, evaluated after the last.

    Model Zoo begins its data anew after every evaluation, so there is none before.
    """
    text = Path("sparse.yaml").read_text()
    usual = (
        ("dropout_rate: 0.1", "dropout_rate: 0.0"),
        ("eval_frequency: 10", "eval_frequency: 20"),
        ("0.001,", "1.0e-4,"),
        ("0.01,", "0.001,"),
        ("model_dir: run", f"model_dir: {name}"),
        ("checkpoint: {steps: 5}", "checkpoint: {steps: 5, save_initial_checkpoint: true}"),
    )
    for old, new in (*usual, *changes):
        assert old in text, old
        text = text.replace(old, new)
    Path(f"{name}.yaml").write_text(text)
    return f"{name}.yaml"


def losses(model_dir: str) -> dict[int, float]:
    lines = (Path(model_dir) / "log.jsonl").read_text().splitlines()
    return {e["step"]: e["loss"] for e in map(json.loads, lines) if e["event"] == "train"}


def losses_by_modelzoo(log: str) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in LOSS.findall(log)}


def convert(source: str, target: str) -> None:
    assert mediswift.main(["convert", source, target]) == 0


def test_the_model_registers_and_every_params_file_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = sorted(p for p in (ROOT / "params").rglob("*.yaml") if "sweeps" not in p.parts)
    for file in files:
        for folder in re.findall(r"data_dir: (\S+)", file.read_text()):
            Path(folder).mkdir(parents=True, exist_ok=True)  # or it is refused
    found = program("accept_run.py", *map(str, files))
    assert len(files) >= 19
    refused = found.pop("refused")
    assert found == {"class": True, "processors": True, "times": 1}
    # Model Zoo names the callback that run.py alone has.
    assert sorted(refused) == [str(f) for f in files if "PseudoLabels:" in f.read_text()]
    assert all("Input tag 'pseudolabels'" in reason for reason in refused.values())


def test_model_zoo_reads_the_packed_data(tmp_path):
    generator = np.random.default_rng(0)
    documents = [
        generator.integers(1, 64, size).astype(np.uint16)
        for size in generator.integers(1, 40, 30).tolist()
    ]
    options = {"max_sequence_length": 16, "samples_per_file": 9}
    folders = []
    for compression in (None, "gzip", "lz4"):
        for kind in ("concatenate", "best_fit", "corpus"):
            folder = tmp_path / f"{kind}_{compression}"
            folder.mkdir()
            folders.append(str(folder))
            if kind == "corpus":
                listing = write_corpus(
                    folder, documents, dtype=np.uint16, compression=compression, **options
                )
            else:
                pack = pack_best_fit if kind == "best_fit" else pack_documents
                samples = pack(iter(documents), 16, 0)
                listing = write_samples(folder, samples, compression=compression, **options)
            write_params(folder, listing)
    found = program("read_run.py", *folders)
    assert len(found) == 9
    for name, counts in found.items():
        assert counts["sequences"] > 20, name
        assert counts["read"] == counts["sequences"], name
        assert counts["different"] == 0, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "s75"])
def test_losses_of_pre_training_are_model_zoos(run_files, kind):
    params = make_run("ours", *([(STATIC, "")] if kind == "dense" else []))
    assert run(["CPU", "-p", params]) == 0
    convert("ours/checkpoint_0", "zero.mdl")
    log = cszoo(
        "fit", params, "--target_device", "CPU", "-o", "zoo", "--checkpoint_path", "zero.mdl"
    )
    assert "note: bigcode_eval and lm_eval cannot be imported" in log
    ours, theirs = losses("ours"), losses_by_modelzoo(log)
    assert sorted(theirs) == list(range(1, 21))
    assert theirs == pytest.approx(ours, abs=1e-4)
    assert ours[20] != pytest.approx(ours[1], abs=1e-3)

    # A checkpoint from the middle, back in Model Zoo: strictly, with optimizer and schedule.
    convert("ours/checkpoint_15", "fifteen.mdl")
    log = cszoo(
        "fit", params, "--target_device", "CPU", "-o", "on", "--checkpoint_path", "fifteen.mdl"
    )
    assert "Optimizer state found in checkpoint and loaded successfully" in log
    assert "Scheduler state found in checkpoint and loaded successfully" in log
    assert sorted(losses_by_modelzoo(log)) == list(range(16, 21))

    # And Model Zoo's own, here: both begin step 16 on the data after step 15.
    convert("zoo/checkpoint_15.mdl", "back")
    again = make_run("back", *([(STATIC, "")] if kind == "dense" else []))
    assert run(["CPU", "-p", again, "--resume"]) == 0
    assert losses("back") == pytest.approx({s: ours[s] for s in range(16, 21)}, abs=1e-4)


@pytest.mark.slow
def test_losses_of_fine_tuning_with_a_soft_prompt_are_model_zoos(run_files):
    states = "LoadCheckpointStates: {load_checkpoint_states: model}"
    fine = (
        ("name: gpt3", "name: mediswift\n      num_virtual_tokens: 3"),
        (STATIC, ""),
        ("    logging:", f"    callbacks: [{states}, DensifyOnLoad: {{}}]\n    logging:"),
    )
    sparse = make_run("sparse_run")
    assert run(["CPU", "-p", sparse, "--max_steps", "5"]) == 0
    with h5py.File("train/data.h5", "a") as file:
        rows = file["data"][:]
        rows[:, 0, 4:7] = [64, 65, 66]  # the virtual tokens
        rows[:, 1, :6] = 0
        file["data"][...] = rows
    params = make_run("ours", *fine)
    assert run(["CPU", "-p", params, "--checkpoint_path", "sparse_run/checkpoint_5"]) == 0
    # The soft prompt's initial values are drawn: Model Zoo is to begin with ours.
    convert("ours/checkpoint_0", "zero.mdl")
    log = cszoo(
        "fit", params, "--target_device", "CPU", "-o", "zoo", "--checkpoint_path", "zero.mdl"
    )
    assert losses_by_modelzoo(log) == pytest.approx(losses("ours"), abs=1e-4)
    assert "dropped" not in log
    assert "EarlyStopping" not in log

    # From the sparse checkpoint, strictly; and then on from its own.
    convert("sparse_run/checkpoint_5", "sparse.mdl")
    flags = ("fit", params, "--target_device", "CPU", "-o", "dense")
    log = cszoo(*flags, "--checkpoint_path", "sparse.mdl")
    assert "DensifyOnLoad: dropped 12 masks; training starts at step 0" in log
    assert sorted(losses_by_modelzoo(log)) == list(range(1, 21))
    text = Path(params).read_text().replace("max_steps: 20", "max_steps: 29")
    text = text.replace("eval_frequency: 20", "eval_frequency: 1")
    text = text.replace(f"{states}, ", "EarlyStopping: {patience: 2, min_delta: 100.0}, ")
    Path(params).write_text(text)
    log = cszoo(*flags)
    assert "dropped" not in log
    # The first evaluation is the best, and two more are not better by so much.
    assert sorted(losses_by_modelzoo(log)) == [21, 22, 23]
    assert "EarlyStopping: loss no better for 2 evaluations" in log
    assert "at step 21" in log


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [STATIC, ""], ids=["s75", "dense"])
def test_without_its_monitors_model_zoos_program_is_ours(run_files, sparsity):
    """Operation for operation. Norms it does not log if told so, in the same file."""
    params = make_run(
        "csx",
        ("enabled: false", f"{CBFLOAT16}, log_loss_scale: false"),
        ("    logging:", "    callbacks: [ComputeNorm: null]\n    logging:"),
        (STATIC, sparsity),
    )
    done = python(str(ROOT / "run.py"), "CSX", "-p", params, "--validate_only")
    assert done.returncode == 0, done.stderr
    cszoo("fit", params, "--target_device", "CSX", "--validate_only", "-o", "zoo")
    ours = read_program(Path("csx/cerebras_logs/executors/000001/cirh.mlir"))
    theirs = read_program(next(Path("zoo").glob("cerebras_logs/*/executors/000001/cirh.mlir")))
    assert ours.products == theirs.products
    assert len(ours.sparsity) == (36 if sparsity else 0)
    assert sorted(ours.sparsity.values()) == sorted(theirs.sparsity.values())
    assert theirs.operations == ours.operations


@pytest.mark.slow
def test_the_papers_xl_at_75_percent_lowers_by_model_zoos_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = ROOT / "params" / "xl_s75.yaml"
    fit = yaml.safe_load(params.read_text())["trainer"]["fit"]
    for loader in (fit["train_dataloader"], fit["val_dataloader"]):
        folder = Path(loader["data_dir"])
        folder.mkdir(parents=True)
        with h5py.File(folder / "data.h5", "w") as file:
            file["data"] = np.ones((loader["batch_size"], 3, 1024), np.int32)
            file.attrs["n_examples"] = loader["batch_size"]
    log = cszoo(
        "fit", str(params), "--target_device", "CSX", "--validate_only", "-o", str(tmp_path / "out")
    )
    assert "Compile was successful" in log
    training = read_program(next(Path("out").glob("cerebras_logs/*/executors/000001/cirh.mlir")))
    assert training.products.total() == 579
    assert list(training.sparsity.values()) == [0.75] * 432
