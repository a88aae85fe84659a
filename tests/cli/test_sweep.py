"""A grid, killed, resumed and shared; what is chosen, and on what."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from question_files import INIT, recipe, write_data, write_questions

from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.cli.run import main as run
from modelzoo_mediswift.cli.sweep_trial import train_point
from modelzoo_mediswift.config.sweep import load_sweep
from modelzoo_mediswift.engine.torch_engine import TorchEngine
from modelzoo_mediswift.sweep.grid import Configuration, Point

pytest.importorskip("optuna")

SWEEP = """\
sweep:
  params: base.yaml
  folder: swept
  task: pubmedqa
  data: qa
  tokenizer: tokenizer.json
  batch_size: [4, 8]
  learning_rate: [0.01, 0.00001]
  seeds: [1, 2]
  pruning: {startup: 1, after_epochs: 1}
"""
BASE = (
    "trainer:\n  init:"
    + INIT.replace("\n    ", "\n")
    + """
    model_dir: unused
    callbacks:
      - LoadCheckpointStates: {load_checkpoint_states: model}
      - DensifyOnLoad: {}
      - EarlyStopping: {patience: 2}
  fit:
    train_dataloader: {data_processor: GptHDF5MapDataProcessor, data_dir: l/train, batch_size: 4,
      shuffle: true}
    val_dataloader: {data_processor: GptHDF5MapDataProcessor, data_dir: l/validation,
      batch_size: 4}
    ckpt_path: run/checkpoint_5
"""
)
COMMAND = [sys.executable, "-c", "import sys; from modelzoo_mediswift.cli.main import main; "
           "sys.exit(main())", "sweep", "sweep.yaml"]  # fmt: skip


@pytest.fixture
def files(run_files):
    write_questions()
    write_data("pqal", "l")
    Path("base.yaml").write_text(BASE.replace("num_epochs: 2", "num_epochs: 3"))
    Path("sweep.yaml").write_text(SWEEP)


def result(folder: str = "swept") -> dict:
    return json.loads((Path(folder) / "result.json").read_text())


def test_a_sweep_chooses_on_validation_and_prunes(files, capsys):
    assert main(["sweep", "sweep.yaml"]) == 0
    out = capsys.readouterr().out
    found = result()
    rows = {(r["batch_size"], r["learning_rate"], r["seed"]): r for r in found["runs"]}
    assert len(rows) == 8
    # The tiny learning rate learns nothing: its first seed is pruned, its second never started.
    assert rows[4, 1e-5, 1]["state"] == "pruned"
    assert rows[4, 1e-5, 2]["state"] == "not run"
    assert not Path("swept/runs/batch4_lr1e-05_seed2").exists()
    assert not list(Path("swept/runs/batch4_lr1e-05_seed1").glob("checkpoint_*"))
    # Test scores exist for the chosen configuration alone.
    size, rate = found["configuration"].values()
    assert rate == 0.01
    for key, row in rows.items():
        chosen = key[:2] == (size, rate)
        evaluated = Path("swept/runs") / row["folder"] / "evaluations/pubmedqa-test.json"
        assert (row["test"] is not None) == chosen == evaluated.exists()
        if row["state"] == "complete":
            validated = json.loads(evaluated.with_name("pubmedqa-validation.json").read_text())
            assert row["validation"] == validated["scores"]["likelihood"]["accuracy"]
    a, b = found["test"]["values"]
    assert found["test"]["mean"] == pytest.approx((a + b) / 2)
    assert found["test"]["sd"] == pytest.approx(abs(a - b) / 2**0.5)
    means = {
        key[:2]: [rows[*key[:2], s]["validation"] for s in (1, 2)]
        for key in rows
        if all(rows[*key[:2], s]["state"] == "complete" for s in (1, 2))
    }
    assert sum(means[size, rate]) == max(map(sum, means.values()))

    assert f"| {size} | {rate:g} |" in out
    assert "Validation chose batch size" in out
    with Path("swept/grid.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == [r["state"] for r in found["runs"]]
    assert Path("swept/heat_map.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in Path("swept/heat_map.svg").read_text()
    # Nothing is left to do, and nothing is done.
    before = Path("swept/result.json").stat().st_mtime_ns
    assert main(["sweep", "sweep.yaml"]) == 0
    assert Path("swept/result.json").stat().st_mtime_ns == before


def test_the_first_validation_set_is_watched_also_where_only_the_second_is_owed(files, monkeypatch):
    text = Path("base.yaml").read_text()
    one = text[text.index("{", text.index("val_dataloader")) : text.index("ckpt_path")].strip()
    both = f"[{one}, {one.replace('l/validation', 'l/test')}]"
    Path("base.yaml").write_text(text.replace(one, both))
    sweep, point = load_sweep(Path("sweep.yaml")), Point(Configuration(4, 0.01), 1)
    evaluate, calls = TorchEngine.evaluate, []

    def killed(self, *arguments):
        calls.append(len(calls))
        if len(calls) == 4:  # of the second set, after the first epoch
            raise KeyboardInterrupt
        return evaluate(self, *arguments)

    seen: list[list[tuple[int, float]]] = [[], [], []]

    def reporting(number):
        return lambda epoch, value: seen[number].append((epoch, value)) is None

    monkeypatch.setattr(TorchEngine, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        train_point(sweep, point, "CPU", reporting(0))
    train_point(sweep, point, "CPU", reporting(1))
    straight = sweep.model_copy(update={"folder": "straight"})
    train_point(straight, point, "CPU", reporting(2))
    assert [epoch for epoch, _ in seen[2]] == [1, 2, 3]
    assert seen[0] == seen[2][:1]
    assert seen[1] == seen[2]  # what is known of the epoch before, and the rest


@pytest.mark.slow
def test_killed_resumed_and_shared_it_finds_the_same(files):
    assert main(["sweep", "sweep.yaml"]) == 0
    Path("swept").rename("whole")
    for wait_for in ("runs/batch4_lr0.01_seed1/checkpoint_6", "runs/batch4_lr0.01_seed2/log.jsonl"):
        process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (Path("swept") / wait_for).exists():
            time.sleep(0.01)
        assert process.poll() is None, "still at work when it is killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert main(["sweep", "sweep.yaml"]) == 0
    assert result() == result("whole")

    import optuna

    storage = optuna.storages.RDBStorage("sqlite:///swept/study.db")
    study = optuna.load_study(study_name="sweep", storage=storage)
    states = [trial.state.name for trial in study.trials]
    storage.engine.dispose()
    assert states.count("FAIL") == 2, "the trials whose worker was killed"
    assert states.count("RUNNING") == 0

    Path("swept").rename("killed")
    unpruned = SWEEP.replace("pruning: {startup: 1, after_epochs: 1}", "pruning: null")
    Path("sweep.yaml").write_text(unpruned)
    assert main(["sweep", "sweep.yaml", "--workers", "2"]) == 0
    assert [row["state"] for row in result()["runs"]] == ["complete"] * 8
    shared = {row["folder"]: row["validation"] for row in result()["runs"]}
    for row in result("whole")["runs"]:
        if row["state"] == "complete":
            assert shared[row["folder"]] == row["validation"]


def test_status_and_other_settings(files, capsys):
    assert main(["sweep", "sweep.yaml", "--status"]) == 0
    assert "| 8 | 1e-05 |  |  |  |" in capsys.readouterr().out
    Path("sweep.yaml").write_text(SWEEP.replace("seeds: [1, 2]", "seeds: [1, 3]"))
    assert main(["sweep", "sweep.yaml"]) == 2
    assert "holds a sweep whose seeds was [1, 2], now it is [1, 3]" in capsys.readouterr().err
    Path("sweep.yaml").write_text(SWEEP)
    Path("base.yaml").write_text(BASE.replace("patience: 2", "patience: 1"))
    assert main(["sweep", "sweep.yaml"]) == 2
    assert "holds a sweep over other params" in capsys.readouterr().err


def test_the_same_sweep_from_another_checkpoint(files):
    one = SWEEP.replace("[4, 8]", "8").replace("[0.01, 0.00001]", "0.01").replace("[1, 2]", "1")
    Path("sweep.yaml").write_text(one.replace("{startup: 1, after_epochs: 1}", "null"))
    Path("run").rename("elsewhere")
    given = ["--checkpoint_path", "elsewhere/checkpoint_5", "--folder", "other"]
    assert main(["sweep", "sweep.yaml", *given]) == 0
    log = Path("other/runs/batch8_lr0.01_seed1/log.jsonl").read_text().splitlines()
    assert json.loads(log[0])["started_from"] == "elsewhere/checkpoint_5"
    assert not Path("swept").exists()


def test_a_stage_of_a_recipe_starts_where_the_one_before_ended(files, capsys):
    write_data("pqaa", "a")
    Path("recipe.yaml").write_text(recipe())
    sweep = SWEEP.replace("base.yaml", "recipe.yaml\n  stage: 3").replace("[1, 2]", "[1]")
    Path("sweep.yaml").write_text(sweep.replace("[4, 8]", "8").replace("[0.01, 0.00001]", "0.01"))
    assert main(["sweep", "sweep.yaml"]) == 2
    assert "the stages before stage 3 are not done; run them" in capsys.readouterr().err
    assert run(["CPU", "-p", "recipe.yaml", "--skip_stage", "pqau"]) == 0
    assert main(["sweep", "sweep.yaml"]) == 0
    told = json.loads(Path("recipe/pqaa/recipe.json").read_text())["stages"]
    log = Path("swept/runs/batch8_lr0.01_seed1/log.jsonl").read_text().splitlines()
    assert json.loads(log[0])["started_from"] == told[0]["checkpoint"]
    assert result()["test"]["sd"] is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds:", "seed:", 'sweep.yaml:9: sweep.seed: unknown key "seed"; did you mean "seeds"?'),
        ("[4, 8]", "[4, 4]", "sweep.batch_size: expected each value once"),
        ("[0.01, 0.00001]", "[0]", "sweep.learning_rate.0: expected a number > 0"),
        ("task: pubmedqa", "task: pubmed", "no task 'pubmed', expected"),
        ("data: qa", "data: qb", "qb: neither ori_pqal.json"),
        (
            "task: pubmedqa",
            "task: pubmedqa\n  metric: micro_f1",
            "pubmedqa has no micro_f1; it has",
        ),
        ("tokenizer: tok", "tokenizer: tik", "sweep.tokenizer: tikenizer.json: no such file"),
        ("tokenizer: tokenizer.json", "tokenizer: base.yaml", "not the one that made l/train"),
        ("base.yaml", "sparse.yaml", "needs trainer.fit and the callback EarlyStopping"),
        ("[4, 8]", "[400]", "0 batches of 400 (24 sequences)"),
        ("base.yaml", "base.yaml\n  stage: 2", "base.yaml has 1 stages, got 2"),
        ("sweep:", "swep:", 'unknown key "swep"; did you mean "sweep"?'),
        (SWEEP, "{}", "sweep.yaml:1: sweep: expected a mapping, got null"),
    ],
)
def test_mistakes(files, capsys, old, new, message):
    Path("sweep.yaml").write_text(SWEEP.replace(old, new))
    capsys.readouterr()
    assert main(["sweep", "sweep.yaml"]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path("swept").glob("runs/*"))  # nothing was trained before
