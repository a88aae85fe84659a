"""PQA-A and PQA-U, whose files are made here in the official form."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks import pubmedqa_files
from modelzoo_mediswift.tasks.registry import make_task


def questions(pmids: range, label: str | None) -> dict[str, Any]:
    answer = {} if label is None else {"final_decision": label}
    return {
        str(pmid): {"QUESTION": f"q{pmid}?", "CONTEXTS": ["c", "d"], "LONG_ANSWER": "a", **answer}
        for pmid in pmids
    }


def test_artificial_questions_of_the_authors_files(tmp_path: Path) -> None:
    (tmp_path / "pqaa_train_set.json").write_text(json.dumps(questions(range(3), "yes")))
    (tmp_path / "pqaa_dev_set.json").write_text(json.dumps(questions(range(3, 5), "no")))
    task = make_task("pubmedqa", subset="pqaa")
    assert task.available(tmp_path) == ("train", "validation")
    assert [e.id for e in task.read(tmp_path, "train")] == ["0", "1", "2"]
    (first, _) = task.read(tmp_path, "validation")
    assert first.source == "question: q3? context: c d "
    assert first.target.endswith(" is no.")
    with pytest.raises(UserError, match="pqaa has no split 'test', expected train, validation"):
        task.read(tmp_path, "test")


def test_artificial_questions_are_divided_as_the_authors_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ori_pqaa.json").write_text(json.dumps(questions(range(30), "yes")))
    task = make_task("pubmedqa", subset="pqaa")
    with pytest.raises(UserError, match=r"30 questions, but PQA-A's official split"):
        task.read(tmp_path, "train")
    monkeypatch.setattr(pubmedqa_files, "NUM_ARTIFICIAL_TRAINING", 20)
    order = [str(i) for i in range(30)]
    random.seed(0)  # their script shuffles all PMIDs with the module's generator, and cuts
    random.shuffle(order)
    assert [e.id for e in task.read(tmp_path, "train")] == order[:20]
    assert [e.id for e in task.read(tmp_path / "ori_pqaa.json", "validation")] == order[20:]


def test_unlabelled_questions_with_labels_given(tmp_path: Path) -> None:
    (tmp_path / "ori_pqau.json").write_text(json.dumps(questions(range(4), None)))
    labels = tmp_path / "labels.json"
    labels.write_text('{"2": "maybe", "0": "yes"}')
    task = make_task("pubmedqa", subset="pqau", labels_file=labels)
    assert task.available(tmp_path) == ("train",)
    assert [(e.id, e.label) for e in task.read(tmp_path, "train")] == [("0", "yes"), ("2", "maybe")]
    for content, message in (
        ('{"9": "yes"}', "9 is no question of"),
        ('{"1": "perhaps"}', "1 is 'perhaps', expected yes, no, maybe"),
    ):
        labels.write_text(content)
        with pytest.raises(UserError, match=message):
            task.read(tmp_path, "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": "pqax"}, "no subset 'pqax', expected pqal, pqaa, pqau"),
        ({"subset": "pqau"}, "needs a labels file"),
        ({"subset": "pqaa", "labels_file": Path("x")}, "the others take none"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_task("pubmedqa", **options)


@pytest.mark.parametrize("subset", ["pqaa", "pqau"])
def test_missing_files(subset: str, tmp_path: Path) -> None:
    options = {"labels_file": tmp_path / "x"} if subset == "pqau" else {}
    with pytest.raises(UserError, match=f"ori_{subset}.json"):
        make_task("pubmedqa", subset=subset, **options).read(tmp_path, "train")
