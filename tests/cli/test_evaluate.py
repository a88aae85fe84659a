import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from modelzoo_mediswift.checkpoint.directory import load_checkpoint, save_checkpoint
from modelzoo_mediswift.cli.evaluate import write_result
from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.cli.run import main as run_main
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA
from modelzoo_mediswift.whole_files import file_sha256

LABELS = ("yes", "no", "maybe")


@pytest.fixture
def trained(run_files: Path) -> list[str]:
    """A checkpoint, a tokenizer and questions; returns the arguments of `evaluate`."""
    sentence = "the answer to question : given context is yes no maybe . drug"
    words = ["<|endoftext|>", *sentence.split()]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="drug"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save("tokenizer.json")
    Path("qa/pqal_fold0").mkdir(parents=True)
    for file, ids in (("train", "12"), ("dev", "34"), ("test", "56789")):
        questions = {
            i: {
                "QUESTION": "question drug",
                "CONTEXTS": ["drug " * int(i)],
                "LONG_ANSWER": "",
                "final_decision": LABELS[int(i) % 3],
            }
            for i in ids
        }
        Path(f"qa/pqal_fold0/{file}_set.json").write_text(json.dumps(questions))
    assert run_main(["CPU", "-p", "sparse.yaml", "--max_steps", "5"]) == 0
    checkpoint = load_checkpoint(Path("run/checkpoint_5"))
    checkpoint.data = {"tokenizer_sha256": file_sha256(Path("tokenizer.json"))}
    save_checkpoint(checkpoint, Path("run"))
    command = "evaluate run/checkpoint_5 --task pubmedqa --data qa --tokenizer tokenizer.json"
    return command.split()


def test_scores_and_predictions_are_written(trained, capsys):
    assert main(trained) == 0
    out = capsys.readouterr().out
    assert "pubmedqa, test: 5 examples" in out
    result = json.loads(Path("run/evaluations/pubmedqa-test-checkpoint_5.json").read_text())
    predictions = result["predictions"]
    assert list(predictions) == list("56789")
    right = sum(p["likelihood"] == p["gold"] for p in predictions.values())
    assert result["scores"]["likelihood"]["accuracy"] == right / 5
    assert f"{right / 5:6.1%}" in out
    official = Path("run/evaluations/pubmedqa-test-checkpoint_5.likelihood.predictions.json")
    assert json.loads(official.read_text()) == {i: p["likelihood"] for i, p in predictions.items()}


def test_batch_size_does_not_change_the_answers(trained):
    results = []
    for size in ("1", "5"):
        assert main([*trained, "--batch_size", size, "-o", f"{size}.json"]) == 0
        results.append(json.loads(Path(f"{size}.json").read_text())["predictions"])
    assert [p["generation"] for p in results[0].values()] == [
        p["generation"] for p in results[1].values()
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Path("tokenizer.json").write_text("{}"), "not the tokenizer that"),
        (lambda: Path("tokenizer.json").unlink(), "tokenizer.json: No such file"),
        (lambda: Path("qa/pqal_fold0/test_set.json").write_text("{"), "not JSON"),
        (lambda: Path("run/checkpoint_5/meta.json").unlink(), "not a checkpoint"),
        (lambda: change_data(example_layout=3), "example_layout of the data is 3"),
        (lambda: change_data(example_layout={"prompt_position": "after"}), "between, before"),
        (lambda: add_words(), "tokenizer.json: has ids up to 8000, the vocab_size of"),
    ],
)
def test_bad_input_is_one_line(trained, capsys, change, message):
    change()
    assert main(trained) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(err) == 1
    assert message in err[0]


def change_data(**data: object) -> None:
    checkpoint = load_checkpoint(Path("run/checkpoint_5"))
    checkpoint.data |= data
    save_checkpoint(checkpoint, Path("run"))


def add_words() -> None:
    """Where the checkpoint does not know its tokenizer, one of more words is still refused."""
    change_data(tokenizer_sha256=None)
    content = json.loads(Path("tokenizer.json").read_text())
    content["model"]["vocab"]["new"] = 8000
    Path("tokenizer.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--beams 101", "--beams: expected at most 100, got 101"),
        ("-o qa", "qa: is a folder"),
        ("-o /dev/null", "/dev/null: expected a JSON file to write"),
        ("-o tokenizer.json/x.json", "x.json: cannot be written in "),
    ],
)
def test_what_cannot_end_well_does_not_begin(trained, capsys, flags, message):
    Path("run/checkpoint_5/meta.json").unlink()  # is not even looked at
    assert main([*trained, *flags.split()]) == 2
    assert message in capsys.readouterr().err


def official_scores(predictions: dict, truth: dict) -> tuple[float, float]:
    """PubMedQA's script, written down again: accuracy, and F1 averaged over the classes that
    occur in truth or predictions."""
    assert set(predictions) == set(truth)
    pairs = [(truth[pmid], predictions[pmid]) for pmid in truth]
    f1 = []
    for name in {name for pair in pairs for name in pair}:
        true_positive = sum(t == p == name for t, p in pairs)
        false_positive = sum(p == name != t for t, p in pairs)
        false_negative = sum(t == name != p for t, p in pairs)
        f1.append(2 * true_positive / (2 * true_positive + false_positive + false_negative))
    return sum(t == p for t, p in pairs) / len(pairs), sum(f1) / len(f1)


def test_the_official_numbers_follow_from_the_official_file(trained):
    assert main(trained) == 0
    folder = Path("run/evaluations")
    result = json.loads((folder / "pubmedqa-test-checkpoint_5.json").read_text())
    questions = json.loads(Path("qa/pqal_fold0/test_set.json").read_text())
    truth = {pmid: question["final_decision"] for pmid, question in questions.items()}
    for how in ("likelihood", "generation"):
        file = folder / f"pubmedqa-test-checkpoint_5.{how}.predictions.json"
        accuracy, macro_f1 = official_scores(json.loads(file.read_text()), truth)
        assert result["scores"][how]["accuracy"] == accuracy
        assert result["scores"][how]["macro_f1"] == pytest.approx(macro_f1, rel=1e-12)


@pytest.mark.real_data
def test_the_official_numbers_on_the_official_questions(real_data):
    truth = json.loads((real_data / "pubmedqa" / "test_ground_truth.json").read_text())
    generator = random.Random(0)
    for share in (0.0, 0.5, 0.78):
        predictions = {
            pmid: label if generator.random() < share else generator.choice(LABELS)
            for pmid, label in truth.items()
        }
        scores = PubMedQA().score(predictions, truth)
        accuracy, macro_f1 = official_scores(predictions, truth)
        assert scores.accuracy == accuracy
        assert scores.macro_f1 == pytest.approx(macro_f1, rel=1e-12)


def test_examples_are_laid_out_as_in_training(trained):
    checkpoint = load_checkpoint(Path("run/checkpoint_5"))
    checkpoint.data["example_layout"] = {"prompt_position": "before", "include_long_answer": True}
    checkpoint.data["sources"] = {"task": "pubmedqa"}
    save_checkpoint(checkpoint, Path("run"))
    assert main(trained) == 2  # the window of 16 has no room for a long answer
    options = ["--no-include_long_answer", "--precision", "bfloat16"]
    assert main([*trained, *options]) == 0
    result = json.loads(Path("run/evaluations/pubmedqa-test-checkpoint_5.json").read_text())
    assert result["prompt_position"] == "before"
    assert result["include_long_answer"] is False
    assert result["precision"] == "bfloat16"


def test_details_are_printed(trained, capsys):
    assert main([*trained, "--beams", "2"]) == 0
    out = capsys.readouterr().out
    for expected in ("calibration of likelihood", "precision  recall", "gold / answer", "written:"):
        assert expected in out
    result = json.loads(Path("run/evaluations/pubmedqa-test-checkpoint_5-beam2.json").read_text())
    assert result["beams"] == 2
    assert 0 <= result["calibration"]["ece"] <= 1
    # Nothing fits a window of 16 but the target and one word, and it is said.
    assert result["sources_cut"] == 5
    assert "5 sources were cut" in out


def test_several_labels_are_scored_by_generation_alone(trained, capsys):
    Path("hoc").mkdir()
    marks = ",".join(f"{d}_{int(d == 3)}" for d in range(10))
    for file, pmid in (("train", 1), ("dev", 2), ("test", 3)):
        Path(f"hoc/{file}.tsv").write_text(f"labels\tsentence\tindex\n{marks}\tdrug .\t{pmid}_s0\n")
    trained[trained.index("pubmedqa")] = "hoc"
    trained[trained.index("qa")] = "hoc"
    assert main(trained) == 2
    assert "has no room for 0 virtual tokens and a target of" in capsys.readouterr().err
    assert main([*trained, "--fold", "1"]) == 2
    assert "hoc: has no option fold" in capsys.readouterr().err


def test_files_for_the_official_scripts(tmp_path):
    predictions = {
        "7": {"gold": "cellular energetics", "generation": None},
        "8": {"gold": "none", "generation": "cellular energetics|inducing angiogenesis"},
    }
    output = tmp_path / "new" / "hoc.json"
    write_result(output, {"task": "hoc", "predictions": predictions}, ["generation"])
    said = json.loads(output.with_suffix(".generation.predictions.json").read_text())
    assert said == {"7": "unparsed", "8": "cellular energetics|inducing angiogenesis"}
    table = output.with_suffix(".generation.predictions.tsv").read_text()
    gold = output.with_suffix(".gold.tsv").read_text()
    assert table.splitlines()[1:] == ["7_s0\t", "8_s0\tcellular energetics,inducing angiogenesis"]
    assert gold.splitlines()[1:] == ["7_s0\tcellular energetics", "8_s0\t"]


def test_compare_counts_who_alone_is_right(trained, capsys):
    assert main(trained) == 0
    first = "run/evaluations/pubmedqa-test-checkpoint_5.json"
    result = json.loads(Path(first).read_text())
    for prediction in result["predictions"].values():
        prediction["likelihood"] = prediction["gold"]
    Path("perfect.json").write_text(json.dumps(result))
    capsys.readouterr()
    assert main(["compare", "perfect.json", first, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    right = found["likelihood"]["both"]
    assert found["likelihood"]["only_first"] == 5 - right
    assert found["likelihood"]["p_value"] == min(1, 2 / 2 ** (5 - right))
    assert found["generation"]["p_value"] == 1
    assert main(["compare", "perfect.json", first, "--how", "likelihood"]) == 0
    assert "A right 100.0%" in capsys.readouterr().out


def test_compare_answers_held_to_the_labels(trained, capsys):
    gold = {"1": "a", "2": "b", "3": "a"}
    for name, said in (("first", "aba"), ("second", "bbb")):
        predictions = {
            i: {"gold": label, "constrained": answer, "generation": None}
            for (i, label), answer in zip(gold.items(), said, strict=True)
        }
        content = {"task": "hoc", "split": "test", "checkpoint": name, "predictions": predictions}
        Path(f"{name}.json").write_text(json.dumps(content))
    assert main(["compare", "first.json", "second.json", "--how", "constrained", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["constrained"]
    assert (found["both"], found["only_first"], found["only_second"]) == (1, 2, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["predictions"].pop("5"), "not the same examples"),
        (lambda r: r["predictions"]["5"].update(gold="maybe?"), "not the same examples"),
        (lambda r: r.update(split="validation"), "split is 'validation', in"),
        (lambda r: r.update(predictions={"5": "yes"}), "predictions without gold labels"),
        (lambda r: r.clear(), "no predictions in it"),
    ],
)
def test_what_cannot_be_compared(trained, capsys, change, message):
    assert main(trained) == 0
    first = "run/evaluations/pubmedqa-test-checkpoint_5.json"
    result = json.loads(Path(first).read_text())
    change(result)
    Path("other.json").write_text(json.dumps(result))
    assert main(["compare", first, "other.json"]) == 2
    error = [e for e in capsys.readouterr().err.splitlines() if e.startswith("error")]
    assert len(error) == 1
    assert message in error[0]
