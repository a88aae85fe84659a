import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.model.gpt3 import Initializer
from modelzoo_mediswift.trainer import one_run
from modelzoo_mediswift.trainer.trainer import Interrupted, Trainer

RUN = Path(__file__).parents[2] / "run.py"


def train(*flags: str) -> int:
    return main(["CPU", "--params", "sparse.yaml", *flags])


def losses(model_dir: str) -> dict[int, float]:
    lines = (Path(model_dir) / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return {e["step"]: e["loss"] for e in events if e["event"] == "train"}


def assert_same_end(first: str, second: str) -> None:
    a, b = (load_checkpoint(Path(d) / "checkpoint_20") for d in (first, second))
    assert a.loader == b.loader
    for one, other in ((a.model, b.model), (a.training, b.training)):
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            assert tensor.equal(other[name]), name
    assert losses(first) == losses(second)


def test_a_run_from_yaml_to_checkpoints_and_logs(run_files, capsys):
    assert train() == 0
    names = sorted(p.name for p in Path("run").iterdir())
    assert names == [
        "checkpoint_10",
        "checkpoint_15",
        "checkpoint_20",
        "checkpoint_5",
        "events",
        "log.jsonl",
        "run_record.json",
    ]
    record = json.loads(Path("run/run_record.json").read_text())
    assert [s["finished"] for s in record["sessions"]] == [True]
    assert len(record["checkpoints"]["checkpoint_20"]["model.safetensors"]) == 64
    events = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    start = events[0]
    assert start["event"] == "start"
    assert start["plan"]["n_params_paper"] == 12 * 2 * 32 * 32
    assert len(start["sparsity"]) == 12
    assert all(s["kept"] * 4 == s["total"] for s in start["sparsity"])
    rates = [e["lr"] for e in events if e["event"] == "train"]
    assert rates[:5] == pytest.approx([0.0, 0.0025, 0.005, 0.0075, 0.01])
    assert [e["step"] for e in events if e["event"] == "eval"] == [0, 10, 20]
    assert "all sparse weights" in capsys.readouterr().err
    assert train() == 0
    assert "already at step 20; nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
def test_stopping_and_resuming_is_bit_identical(run_files, workers):
    text = Path("sparse.yaml").read_text()
    Path("sparse.yaml").write_text(
        text.replace(
            "batch_size: 4\n      shuffle",
            f"num_workers: {workers}\n      batch_size: 4\n      shuffle",
        )
    )
    assert train("--model_dir", "straight") == 0
    assert train("--model_dir", "parts", "--max_steps", "7") == 0
    assert train("--model_dir", "parts", "--max_steps", "13") == 0
    assert train("--model_dir", "parts") == 0
    assert_same_end("straight", "parts")


DYNAMIC = {
    "gmp": "{algorithm: gmp, sparsity: {type: exp, init: 0.0, gamma: -0.2}, update: {freq: 3}}",
    "set": "{algorithm: set, sparsity: 0.75, update: {freq: 3, stop: 18}}",
    "rigl": "{algorithm: rigl, sparsity: [0.5, 0.75, 0.9], update: {steps: [0, 4, 9, 15]},"
    " drop_fraction: {type: cosine, init: 0.4, half_period: 20}, balance_out_groups: 4}",
}


@pytest.mark.parametrize(
    ("algorithm", "seed"), [("gmp", "seed: 1"), ("set", "seed: null"), ("rigl", "seed: 1")]
)
def test_masks_that_change_resume_bit_identically(run_files, algorithm, seed):
    change("{algorithm: static, sparsity: 0.75}", DYNAMIC[algorithm])
    assert train("--model_dir", "straight", "--max_steps", "2") == 0
    shutil.copytree("straight", "parts")
    change("seed: 1", seed)  # what was drawn for the run is in its checkpoint
    assert train("--model_dir", "straight") == 0
    for steps in ("8", "20"):
        assert train("--model_dir", "parts", "--max_steps", steps) == 0
    assert_same_end("straight", "parts")
    first, last = (load_checkpoint(Path("straight") / f"checkpoint_{n}").model for n in (2, 20))
    masks = [name for name in last if name.endswith("_mask")]
    assert len(masks) == 12
    for name in masks:
        assert not last[name].equal(first[name])
        weight = last[name.removesuffix("_mask")]
        assert not weight[~last[name]].any()


@pytest.mark.parametrize("name", ["gmp", "set", "rigl"])
def test_the_worked_files_run_and_log_their_levels(run_files, name):
    worked = yaml.safe_load((RUN.parent / "params" / "sparsity" / f"{name}.yaml").read_text())
    init = worked["trainer"]["init"]
    small = yaml.safe_load(Path("sparse.yaml").read_text())
    small["trainer"]["init"]["sparsity"] = init["sparsity"]
    small["trainer"]["init"]["callbacks"] = init["callbacks"]
    small["trainer"]["init"]["checkpoint"] = {"steps": 30}
    small["trainer"]["init"]["loop"] = {"max_steps": 30}
    Path("sparse.yaml").write_text(yaml.safe_dump(small))
    assert train() == 0
    events = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    logged = {e["step"]: e["sparsity"] for e in events if e["event"] == "train"}
    assert all(len(each) == 12 for each in logged.values())
    for step in (1, 20, 30):
        level = 0.75 * (1 - math.exp(-0.015 * (step // 10 * 10))) if name == "gmp" else 0.75
        for values in logged[step].values():
            assert values["actual"] == pytest.approx(level, abs=1e-3)
            target = 0.75 * (1 - math.exp(-0.015 * step)) if name == "gmp" else 0.75
            assert values["target"] == pytest.approx(target, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", ["{algorithm: static, sparsity: 0.75}", DYNAMIC["set"]])
def test_kill_9_at_random_moments_then_resume_is_bit_identical(run_files, sparsity):
    change("{algorithm: static, sparsity: 0.75}", sparsity)
    assert train("--model_dir", "straight") == 0
    command = [sys.executable, str(RUN), "CPU", "-p", "sparse.yaml", "-o", "killed"]
    log = Path("killed/log.jsonl")
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        before = log.read_text().count("\n") if log.exists() else 0
        while process.poll() is None and (
            not log.exists() or log.read_text().count("\n") < before + 2
        ):
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.2))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_end("straight", "killed")


def test_a_signal_saves_and_the_same_command_continues(run_files):
    assert train("--model_dir", "straight") == 0
    command = [sys.executable, str(RUN), "CPU", "-p", "sparse.yaml", "-o", "stopped"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = Path("stopped/log.jsonl")
    while process.poll() is None and (not log.exists() or '"train"' not in log.read_text()):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode != 0:  # 0: the run was faster than the signal
        assert process.returncode == 130
        assert "saved, and the same command continues" in err
        assert "Traceback" not in err
    assert train("--model_dir", "stopped") == 0
    assert_same_end("straight", "stopped")


def test_mode_eval_and_eval_all(run_files, capsys):
    assert train() == 0
    logged = [json.loads(x) for x in Path("run/log.jsonl").read_text().splitlines()]
    last = [e for e in logged if e["event"] == "eval"][-1]
    capsys.readouterr()
    assert train("--mode", "eval") == 0
    assert f"checkpoint_20 validation: loss {last['loss']:.4f}" in capsys.readouterr().out
    assert train("--mode", "eval_all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"run/checkpoint_{n}" for n in (5, 10, 15, 20)]


def test_eval_all_reads_its_own_data(run_files, capsys):
    shutil.copytree("validation", "other")
    loader = "{data_processor: GptHDF5MapDataProcessor, data_dir: %s, batch_size: 4}"
    both = f"[{loader % 'validation'}, {loader % 'other'}]"
    text = Path("sparse.yaml").read_text()
    paths = "[run/checkpoint_5, run/checkpoint_20]"
    Path("sparse.yaml").write_text(
        f"{text}  validate_all: {{val_dataloaders: {both}, ckpt_paths: {paths}}}\n"
    )
    assert train() == 0
    capsys.readouterr()
    assert train("--mode", "eval_all") == 0
    found = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert found == [
        [f"run/checkpoint_{n}", f"{name}:"] for n in (5, 20) for name in ("validation", "other")
    ]


def test_a_run_that_goes_on_evaluates_where_it_would_have(run_files):
    change("eval_frequency: 10", "eval_frequency: 0.35")
    assert train("--model_dir", "straight") == 0
    assert train("--model_dir", "parts") == 0
    for n in (15, 20):
        shutil.rmtree(f"parts/checkpoint_{n}")
    assert train("--model_dir", "parts") == 0

    def evaluated(folder: str) -> set[int]:
        lines = Path(folder, "log.jsonl").read_text().splitlines()
        return {e["step"] for e in map(json.loads, lines) if e["event"] == "eval"}

    assert evaluated("straight") == evaluated("parts") == {0, 7, 14, 20}


def test_sparse_to_dense_with_a_soft_prompt(run_files, capsys):
    assert train() == 0
    text = Path("sparse.yaml").read_text()
    dense = (
        text.replace("name: gpt3", "name: mediswift\n      num_virtual_tokens: 3")
        .replace("model_dir: run", "model_dir: tuned")
        .replace("    sparsity: {algorithm: static, sparsity: 0.75}\n", "")
        .replace(
            "    logging:",
            "    callbacks:\n      - LoadCheckpointStates: {load_checkpoint_states: model}\n"
            "      - DensifyOnLoad: {}\n    logging:",
        )
        + "    ckpt_path: run/checkpoint_20\n"
    )
    Path("dense.yaml").write_text(dense)
    assert main(["CPU", "-p", "dense.yaml"]) == 0
    start = json.loads(Path("tuned/log.jsonl").read_text().splitlines()[0])
    assert start["revived_weights"] == 12 * 2 * 32 * 32 * 3 // 4
    assert start["step"] == 0
    tuned = load_checkpoint(Path("tuned/checkpoint_20")).model
    assert not any(name.endswith("_mask") for name in tuned)
    assert tuned["prompt_embedding.weight"].shape == (3, 32)
    capsys.readouterr()
    assert main(["CPU", "-p", "dense.yaml"]) == 2
    assert "add --resume to continue it" in capsys.readouterr().err
    assert main(["CPU", "-p", "dense.yaml", "--resume"]) == 0
    Path("forgot.yaml").write_text(dense.replace("      - DensifyOnLoad: {}\n", ""))
    assert main(["CPU", "-p", "forgot.yaml", "-o", "other"]) == 2
    assert "add DensifyOnLoad to the callbacks" in capsys.readouterr().err


def change(old: str, new: str) -> None:
    text = Path("sparse.yaml").read_text()
    assert old in text
    Path("sparse.yaml").write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_steps: 20", "max_stesp: 20", 'did you mean "max_steps"?'),
        ("data_dir: train", "data_dir: trian", "trian: no such folder"),
        ("vocab_size: 64", "vocab_size: 60", "input_ids holds 6"),
        ("max_position_embeddings: 16", "max_position_embeddings: 8", "sequences have 16 tokens"),
        ("sparsity: 0.75}", "sparsity: 0.75, param_filter: ['*q_dens_layer*']}", "matches no"),
        ("precision: {enabled: false", "precision: {fp16_type: float16", "use bfloat16"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run_files, capsys, old, new, message):
    change(old, new)
    assert train() == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(err) == 1
    assert message in err[0]


def test_data_that_changed_is_not_resumed(run_files, capsys):
    assert train("--max_steps", "5") == 0
    change("shuffle: true", "shuffle: true\n      shuffle_seed: 7")
    assert train() == 2
    assert "shuffle_seed was 0, now it is 7" in capsys.readouterr().err


def test_nan_stops_and_keeps_the_last_good_checkpoint(run_files, capsys):
    change("end_learning_rate: 0.01,", "end_learning_rate: 1.0e+38,")
    assert train() == 2
    err = capsys.readouterr().err
    assert "not finite" in err or "the loss is" in err
    for path in Path("run").glob("checkpoint_*"):
        model = load_checkpoint(path).model
        assert all(t.isfinite().all() for t in model.values())


def test_a_damaged_checkpoint_is_named_and_the_one_before_continues(run_files, capsys):
    assert train("--model_dir", "straight") == 0
    assert train("--max_steps", "10") == 0
    path = Path("run/checkpoint_10/model.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    assert train() == 2
    err = capsys.readouterr().err
    assert "run/checkpoint_10: damaged checkpoint: model.safetensors" in err
    assert "run/checkpoint_5 (--checkpoint_path)" in err
    whole = Path("run/checkpoint_5")
    for name in (str(whole), str(whole.absolute())):  # is the run's own either way
        assert train("--checkpoint_path", name) == 0
        assert_same_end("straight", "run")


def test_one_run_at_a_time_in_a_folder(run_files, capsys, monkeypatch):
    monkeypatch.setattr(one_run, "PATIENCE", 0.0)
    assert train("--max_steps", "5") == 0
    with one_run.holding(Path("run")):
        assert train() == 2
        assert "error: run: another run is writing here" in capsys.readouterr().err
        assert train("--model_dir", "other", "--max_steps", "2") == 0
    assert train() == 0


def test_a_model_dir_that_cannot_be_made_is_one_line(run_files, capsys):
    Path("file").touch()
    assert train("--model_dir", "file/run") == 2
    assert "error: file/run: Not a directory" in capsys.readouterr().err
    assert train("--model_dir", "file") == 2
    assert "error: file: is there already, and is not a folder" in capsys.readouterr().err


def test_a_run_given_for_a_checkpoint_names_its_newest(run_files, capsys):
    assert train("--max_steps", "10") == 0
    assert train("--checkpoint_path", "run", "-o", "other") == 2
    message = "run: not a checkpoint (meta.json is missing); the newest in it is run/checkpoint_10"
    assert message in capsys.readouterr().err


def test_a_run_that_continues_draws_no_weights_before(run_files, monkeypatch):
    """Those of the paper's models take minutes; all of them are in the checkpoint."""
    assert train("--max_steps", "5") == 0

    def fail(self, weight, generator):
        raise AssertionError("drawn in vain")

    monkeypatch.setattr(Initializer, "fill", fail)
    assert train("--max_steps", "7") == 0


@pytest.mark.parametrize(
    ("file", "flags", "said"),
    [
        ("", [], "the same command continues"),
        ("  fit: {ckpt_path: else/checkpoint_3}\n", [], "continues with --resume added"),
        ("  fit: {ckpt_path: else/checkpoint_3}\n", ["--resume"], "the same command continues"),
        ("  init: {checkpoint: {autoload_last_checkpoint: false}}\n", [], "--resume added"),
    ],
)
def test_a_stopped_run_says_what_continues_it(run_files, capsys, monkeypatch, file, flags, said):
    document = yaml.safe_load(Path("sparse.yaml").read_text())
    for section, keys in (yaml.safe_load(file) or {}).items():
        document["trainer"][section] |= keys
    assert train("--max_steps", "3", "--model_dir", "else") == 0
    Path("sparse.yaml").write_text(yaml.safe_dump(document))

    def stop(*_: object) -> None:
        raise Interrupted(7)

    monkeypatch.setattr(Trainer, "fit", stop)
    assert train(*flags) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("interrupted after step 7; saved, and ")
    assert last.endswith(said)
