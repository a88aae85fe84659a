"""PQA-A, PQA-U and PQA-L from one file, stopped, resumed, and with everything recorded."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from question_files import questions, recipe, write_data, write_questions

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.main import main as mediswift
from modelzoo_mediswift.cli.recipe import make_stages, run_alone
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.config.load import load_stages
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.trainer import one_run
from modelzoo_mediswift.whole_files import write_json

RUN = Path(__file__).parents[2] / "run.py"
FLAGS = ["CPU", "-p", "recipe.yaml"]


@pytest.fixture
def files(run_files):
    write_questions()
    write_data("pqaa", "a")
    write_data("pqal", "l")
    Path("recipe.yaml").write_text(recipe())


def told(stage: str = "pqal") -> list[dict]:
    return json.loads(Path(f"recipe/{stage}/recipe.json").read_text())["stages"]


def events(stage: str) -> list[dict]:
    lines = Path(f"recipe/{stage}/log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_whole_recipe(files, capsys):
    assert main(FLAGS) == 0
    first, second, third = told()
    assert [s["stage"] for s in (first, second, third)] == ["pqaa", "pqau", "pqal"]
    assert first["started_from"] == "run/checkpoint_5"
    for before, after in ((first, second), (second, third)):
        best = before["validation"]["best"]["step"]
        assert before["checkpoint"] == f"{before['model_dir']}/checkpoint_{best}"
        assert after["started_from"] == before["checkpoint"]
        assert events(after["stage"])[0]["started_from"] == before["checkpoint"]
    # Whose labels PQA-U has is in the record of the recipe, of the run and of the data.
    labels = second["pseudo_labels"]
    assert labels["checkpoint"] == first["checkpoint"]
    assert (labels["questions"], labels["kept"], labels["min_confidence"]) == (12, 12, 0.0)
    start = events("pqau")[0]
    assert start["data"]["sources"]["labelling"] == labels
    assert start["recipe"]["stages"][1]["pseudo_labels"] == labels
    confidences = [q["confidence"] for q in json.loads(Path("labelled/pqau_labels.json")
                                                       .read_text()).values()]  # fmt: skip
    assert all(1 / 3 <= c <= 1 for c in confidences)
    # The weights revived in the first stage are counted to the end of the last.
    ends = [events(s)[-1]["revived_moved"] for s in ("pqaa", "pqau", "pqal")]
    assert all(moved > 0.99 * 12 * 2 * 32 * 32 * 3 // 4 for moved in ends)

    # Nothing is done twice.
    logs = {s: Path(f"recipe/{s}/log.jsonl").read_bytes() for s in ("pqaa", "pqau", "pqal")}
    capsys.readouterr()
    assert main(FLAGS) == 0
    assert capsys.readouterr().err.count("done before") == 3
    assert all(Path(f"recipe/{s}/log.jsonl").read_bytes() == log for s, log in logs.items())

    # Other settings are not mixed in.
    text = Path("recipe.yaml").read_text()
    Path("recipe.yaml").write_text(text.replace("lr: 0.003", "lr: 0.002"))
    assert main(FLAGS) == 2
    assert "recipe/pqaa: this stage was run with other settings" in capsys.readouterr().err


@pytest.mark.slow
def test_a_recipe_killed_at_any_point_ends_the_same(files, tmp_path):
    assert main(FLAGS) == 0
    whole = {s: load_checkpoint(Path(told()[i]["checkpoint"])).model
             for i, s in enumerate(("pqaa", "pqau", "pqal"))}  # fmt: skip
    record = told()
    for folder in ("recipe", "labelled", "u"):
        Path(folder).rename(f"{folder}_whole")
    kills = 0
    for wait_for in ("recipe/pqaa/checkpoint_2", "labelled/answers.jsonl", "recipe/pqal/log.jsonl"):
        process = subprocess.Popen([sys.executable, str(RUN), *FLAGS], stderr=subprocess.DEVNULL)
        while process.poll() is None and not Path(wait_for).exists():
            time.sleep(0.01)
        kills += process.poll() is None
        os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
    assert kills
    assert main(FLAGS) == 0
    assert told() == record
    for i, (name, model) in enumerate(whole.items()):
        again = load_checkpoint(Path(told()[i]["checkpoint"])).model
        assert all(torch.equal(tensor, again[key]) for key, tensor in model.items()), name


def test_stages_can_be_skipped_and_run_alone(files, capsys):
    assert main([*FLAGS, "--skip_stage", "pqau"]) == 0
    first, second, third = told()
    assert second == {"stage": "pqau", "skipped": True}
    assert third["started_from"] == first["checkpoint"]
    assert main([*FLAGS, "--stage", "1", "--mode", "eval"]) == 0
    assert "validation: loss" in capsys.readouterr().out
    assert main([*FLAGS, "--skip_stage", "pqax"]) == 2
    assert "no such stage (they are pqaa, pqau, pqal)" in capsys.readouterr().err
    for flags, message in (
        (["--stage", "4"], "the recipe has 3 stages"),
        (["--mode", "eval"], "is for one stage"),
        (["-o", "elsewhere"], "--model_dir is for one trainer"),
    ):
        assert main([*FLAGS, *flags]) == 2
        assert message in capsys.readouterr().err


def test_stages_one_by_one_are_the_recipe(files, capsys, tmp_path):
    assert main([*FLAGS, "--stage", "2"]) == 2
    assert "starts from the stage before it, and none is done" in capsys.readouterr().err
    assert not Path("recipe").exists()
    for stage in ("1", "2", "3"):
        assert main([*FLAGS, "--stage", stage]) == 0
    alone = told()
    assert [s["stage"] for s in alone] == ["pqaa", "pqau", "pqal"]
    assert alone[2]["started_from"] == alone[1]["checkpoint"]
    assert alone[1]["pseudo_labels"]["kept"] > 0
    capsys.readouterr()
    assert main(FLAGS) == 0  # has nothing left to do
    assert capsys.readouterr().err.count("done before") == 3
    assert told() == alone


def test_of_several_processes_the_first_keeps_the_record(files, capsys, monkeypatch):
    records = []

    def train(config: object, facts: dict) -> int:
        records.append(facts)
        return 0

    stages = make_stages(load_stages(Path("recipe.yaml")), Path("recipe.yaml"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert run_alone(stages, 1, train, "CPU") == 0
    assert capsys.readouterr().err == ""
    assert [facts["stages"][-1]["stage"] for facts in records] == ["pqaa"]
    assert not Path("recipe").exists()
    Path("recipe/pqaa").mkdir(parents=True)
    write_json(Path("recipe/pqaa/recipe.json"), {"stages": [{"checkpoint": "run/checkpoint_5"}]})
    with pytest.raises(UserError, match="not labelled yet; start this stage without torchrun"):
        run_alone(stages, 2, train, "CPU")
    Path("labelled").mkdir()
    write_json(Path("labelled/labelling.json"), {"kept": 7, "labels": {"yes": 7, "no": 0}})
    for rank, told in (("1", 0), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        assert run_alone(stages, 2, lambda config, facts: 1, "CPU") == 1
        assert capsys.readouterr().err.count("all 7 labels are 'yes'") == told
    monkeypatch.setenv("RANK", "1")
    write_json(Path("recipe/pqaa/recipe.json"), records[0])
    assert run_alone(stages, 1, train, "CPU") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    assert run_alone(stages, 1, train, "CPU") == 0
    assert "stage 1, pqaa: done before" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{}", '{"stages": []}', '{"stages": [1]}'])
def test_a_damaged_record_is_named(files, content):
    stages = make_stages(load_stages(Path("recipe.yaml")), Path("recipe.yaml"))
    Path("recipe/pqaa").mkdir(parents=True)
    Path("recipe/pqaa/recipe.json").write_text(content)
    for number in (1, 2):
        with pytest.raises(UserError, match=r"recipe/pqaa/recipe.json: damaged"):
            run_alone(stages, number, lambda config, facts: 0, "CPU")


def test_many_processes_are_refused(files, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(FLAGS) == 2
    errors = [e for e in capsys.readouterr().err.splitlines() if e.startswith("error")]
    assert len(errors) == 1
    assert "torchrun started 2 processes, but a recipe runs in one" in errors[0]
    assert not Path("recipe").exists()


def test_the_prompt_alone_can_be_trained(files):
    text = Path("recipe.yaml").read_text()
    only = "          - TrainOnly: {param_filter: prompt_embedding.weight}\n"
    densify = "          - DensifyOnLoad: {}\n"
    Path("recipe.yaml").write_text(text.replace(densify, densify + only))
    assert main([*FLAGS, "--stage", "1"]) == 0
    before = load_checkpoint(Path("run/checkpoint_5")).model
    newest = max(Path("recipe/pqaa").glob("checkpoint_*"), key=lambda p: int(p.name[11:]))
    after = load_checkpoint(newest)
    assert all(torch.equal(after.model[n], t) for n, t in before.items() if "_mask" not in n)
    trained = {n.split(".weight")[0] for n in after.training if n.startswith("optimizer.")}
    assert trained == {"optimizer.prompt_embedding"}
    assert events("pqaa")[-1]["revived_moved"] == 0
    losses = [e["loss"] for e in events("pqaa") if e["event"] == "eval"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("recipe/pqal", "recipe/pqaa", "init.model_dir: pqaa is stage 1's name too"),
        ("data_dir: a/train", "data_dir: l/test", "l/test: trains on examples of l/test: 200, 201"),
        ("data_dir: a/validation", "data_dir: a/train", "a/train: trains on examples of a/train"),
        ("num_virtual_tokens: 3", "num_virtual_tokens: 2", "is 3, but the model has 2"),
        ("vocab_size: ", "vocab_size: 1", "virtual tokens start at id"),
        ("num_epochs: 2", "num_epoch: 2", "recipe.yaml:20: trainer.0.trainer.init.loop.num_epoch"),
        ("trainer:\n  - trainer:", "trainer:\n  - train:", "expected `- trainer: {init"),
    ],
)
def test_mistakes_are_named_before_anything_runs(files, capsys, old, new, message):
    text = Path("recipe.yaml").read_text()
    assert old in text
    Path("recipe.yaml").write_text(text.replace(old, new))
    capsys.readouterr()
    assert main(FLAGS) == 2
    assert message in capsys.readouterr().err
    assert not Path("recipe").exists()


def test_a_checkpoint_of_another_prompt_length(files, capsys):
    assert main([*FLAGS, "--stage", "1"]) == 0
    write_data("pqal", "short", num_virtual_tokens=2)
    text = recipe().replace("num_virtual_tokens: 3", "num_virtual_tokens: 2")
    newest = max(Path("recipe/pqaa").glob("checkpoint_*"), key=lambda p: int(p.name[11:]))
    text = text.replace("recipe/", "other/").replace("run/checkpoint_5", str(newest))
    text = text.replace("a/train", "short/train").replace("a/validation", "short/validation")
    Path("recipe.yaml").write_text(text)
    capsys.readouterr()
    assert main([*FLAGS, "--stage", "1"]) == 2
    assert "prompt_embedding.weight is (3, 32) there, (2, 32) here" in capsys.readouterr().err


def test_labelling_goes_on_after_a_kill_and_can_leave_out_the_uncertain(files, capsys):
    command = ["label", "run/checkpoint_5", "--data", "qa/ori_pqau.json"]
    command += ["--tokenizer", "tokenizer.json", "-o", "out"]
    assert mediswift(command) == 0
    answers = Path("out/answers.jsonl").read_text().splitlines()
    whole = Path("out/pqau_labels.json").read_bytes()
    # Killed in the middle of a line, it goes on from there.
    Path("out/answers.jsonl").write_text("\n".join(answers[:5]) + '\n["5')
    assert mediswift(command) == 0
    assert Path("out/pqau_labels.json").read_bytes() == whole
    assert len(Path("out/answers.jsonl").read_text().splitlines()) == len(answers) == 12
    Path("out/answers.jsonl").write_text("\n".join([answers[0], '["5", 1', *answers[2:]]) + "\n")
    assert mediswift(command) == 2
    assert "out/answers.jsonl:2: damaged" in capsys.readouterr().err
    Path("out/answers.jsonl").write_text("\n".join(answers) + "\n")
    chosen = sorted(json.loads(line)[2] for line in answers)
    assert mediswift([*command, "--min_confidence", str(chosen[6])]) == 0
    kept = json.loads(Path("out/pqau_labels.json").read_text())
    assert len(kept) == 6
    assert json.loads(Path("out/labelling.json").read_text())["kept"] == 6
    capsys.readouterr()
    assert mediswift([*command, "--min_confidence", "0.999"]) == 2
    assert "no label has a confidence of 0.999 or more" in capsys.readouterr().err
    Path("qa/ori_pqau.json").write_text(json.dumps(questions(600, 3, None)))
    assert mediswift(command) == 2
    assert "labelled with another data; remove the folder" in capsys.readouterr().err


def test_one_labelling_at_a_time_in_a_folder(files, capsys, monkeypatch):
    monkeypatch.setattr(one_run, "PATIENCE", 0.0)
    command = ["label", "run/checkpoint_5", "--data", "qa/ori_pqau.json"]
    command += ["--tokenizer", "tokenizer.json", "-o", "out"]
    Path("out").mkdir()
    with one_run.holding(Path("out")):
        assert mediswift(command) == 2
    message = "error: out: another run is writing here; wait for it, or choose another -o"
    assert message in capsys.readouterr().err
    assert not list(Path("out").iterdir())
    assert mediswift(command) == 0


def test_a_mdl_labels_as_its_folder_does(files):
    pytest.importorskip("hdf5plugin")
    assert mediswift(["convert", "run/checkpoint_5", "run/five.mdl"]) == 0
    for start, out in (("run/checkpoint_5", "folder"), ("run/five.mdl", "mdl")):
        command = ["label", start, "--data", "qa/ori_pqau.json"]
        assert mediswift([*command, "--tokenizer", "tokenizer.json", "-o", out]) == 0
    folder, mdl = (Path(out, "answers.jsonl").read_text() for out in ("folder", "mdl"))
    assert folder == mdl


def test_a_recipe_is_not_one_trainer(files, capsys):
    assert len(load_stages(Path("recipe.yaml"))) == 3
    assert mediswift(["plan", "recipe.yaml"]) == 0
    assert " recipe 3" in capsys.readouterr().out


def test_a_lone_trainer_labels_nothing(run_files, capsys):
    text = Path("sparse.yaml").read_text()
    asked = "callbacks: [PseudoLabels: {unlabelled: a.json, tokenizer: t.json, output: o}]"
    Path("sparse.yaml").write_text(text.replace("    loop:", f"    {asked}\n    loop:"))
    assert main(["CPU", "-p", "sparse.yaml"]) == 2
    assert "PseudoLabels is for a later stage of a recipe" in capsys.readouterr().err
    assert not Path("run").exists()
