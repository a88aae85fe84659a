import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from modelzoo_mediswift.checkpoint.directory import file_sha256, load_checkpoint, save_checkpoint
from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.cli.run import main as run_main

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
    ],
)
def test_bad_input(trained, capsys, change, message):
    change()
    assert main(trained) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(err) == 1
    assert message in err[0]
