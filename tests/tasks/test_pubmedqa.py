import json
from collections import Counter
from pathlib import Path

import pytest

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA, split_pqal
from modelzoo_mediswift.tasks.registry import TASKS


def record(label: str = "yes", **changes: object) -> dict:
    return {
        "QUESTION": "Does  IL-6\nrise?",
        "CONTEXTS": ["It rose in 3 of 4.", " Controls did\tnot. "],
        "LONG_ANSWER": "IL-6 rises.",
        "final_decision": label,
    } | changes


def write_folds(folder: Path, **splits: dict) -> Path:
    """`splits`: train, dev, test; those left out get one record of their own."""
    (folder / "pqal_fold0").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("train", "dev", "test")):
        content = splits.get(name, {str(100 + number): record()})
        (folder / "pqal_fold0" / f"{name}_set.json").write_text(json.dumps(content))
    return folder


def test_reasoning_required_form(tmp_path: Path) -> None:
    path = write_folds(tmp_path, dev={"7": record("maybe")})
    (example,) = PubMedQA().read(path, "validation")
    assert example.id == "7"
    assert example.label == "maybe"
    assert example.source == (
        "question: Does IL-6 rise? context: It rose in 3 of 4. Controls did not. "
    )
    assert example.target == "the answer to the question given the context is maybe."


def test_other_forms() -> None:
    task = PubMedQA(include_long_answer=True)
    assert task.example("7", record("no")).target == (
        "IL-6 rises. the answer to the question given the context is no."
    )
    task = PubMedQA(source_form="{context}? {question}", target_form="So: {label}")
    example = task.example("7", record("no"))
    assert example.source == "It rose in 3 of 4. Controls did not.? Does IL-6 rise?"
    assert example.target == "So: no"
    assert task.parse("so:  MAYBE") == "maybe"
    assert PubMedQA(target_form="{label}").parse("maybe") == "maybe"


@pytest.mark.parametrize(
    ("generated", "label"),
    [
        ("the answer to the question given the context is yes.", "yes"),
        ("the answer to the question given the context is  No .", "no"),
        ("IL-6 rises. the answer to the question given the context is maybe. and so", "maybe"),
        ("the context is unclear; the context is yes", "yes"),
        ("the answer to the question given the context is not.", None),
        ("the answer to the question given the context is", None),
        ("yes", None),
        ("", None),
    ],
)
def test_parse(generated: str, label: str | None) -> None:
    assert PubMedQA().parse(generated) == label


def test_every_label_s_target_parses_back() -> None:
    task = TASKS["pubmedqa"]()
    assert [task.parse(task.target_text(label)) for label in task.labels] == list(task.labels)


def test_order_of_the_file_is_kept(tmp_path: Path) -> None:
    path = write_folds(tmp_path, train={"9": record(), "10": record("no"), "1": record()})
    assert [example.id for example in PubMedQA().read(path, "train")] == ["9", "10", "1"]


def test_the_official_script_s_place_for_the_test_set(tmp_path: Path) -> None:
    path = write_folds(tmp_path)
    (path / "pqal_fold0" / "test_set.json").rename(path / "test_set.json")
    assert [example.id for example in PubMedQA().read(path, "test")] == ["102"]


def refusal(path: Path, split: str = "train", **options: int) -> str:
    with pytest.raises(UserError) as caught:
        PubMedQA(**options).read(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final_decision": "perhaps"}, "PMID 5: final_decision is 'perhaps', expected yes, no"),
        ({"CONTEXTS": "text"}, "PMID 5: no CONTEXTS, or not a list"),
        ({"QUESTION": None}, "PMID 5: no QUESTION"),
    ],
)
def test_bad_records_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    path = write_folds(tmp_path, train={"4": record(), "5": record(**changes)})
    assert refusal(path).startswith(f"{path / 'pqal_fold0' / 'train_set.json'}: {message}")


def test_a_pmid_in_two_splits_is_refused(tmp_path: Path) -> None:
    path = write_folds(tmp_path, train={"4": record()}, test={"4": record()})
    assert "test_set.json: PMID 4 is in train_set.json too" in refusal(path)


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = write_folds(tmp_path)
    file = path / "pqal_fold0" / "train_set.json"
    one = json.dumps(record())
    for content, message in (
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "expected a JSON object"),
        (f'{{"8": {one}, "8": {one}}}', "8 is in it twice"),
        ('{"8": 1}', "PMID 8: expected an object"),
        ("[" * 100_000, "not JSON"),
        (f'{{"8": {json.dumps(record() | {"QUESTION": chr(0xD800)})}}}', "PMID 8: not text"),
    ):
        file.write_text(content)
        assert refusal(path).startswith(f"{file}: {message}")
    file.unlink()
    assert f"{file}: cannot be read" in refusal(path)
    assert "neither ori_pqal.json nor pqal_fold1/" in refusal(path, fold=1)
    assert "no split 'dev', expected train, validation, test" in refusal(path, split="dev")
    assert "fold is 10, expected 0 to 9" in refusal(path, fold=10)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = write_folds(tmp_path)
    file = path / "pqal_fold0" / "train_set.json"
    expected = PubMedQA().read(path, "train")
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert PubMedQA().read(path, "train") == expected


def test_other_questions_than_the_official_are_not_split(tmp_path: Path) -> None:
    file = tmp_path / "ori_pqal.json"
    file.write_text(json.dumps({"1": record(), "2": record("no")}))
    assert "2 questions (1 yes, 1 no, 0 maybe), but the official split" in refusal(tmp_path)
    labels = ["yes"] * 552 + ["no"] * 338 + ["maybe"] * 110
    file.write_text(json.dumps({str(i): record(label) for i, label in enumerate(labels)}))
    assert "does not give the published test set" in refusal(file)


@pytest.mark.real_data
def test_official_split(real_data: Path) -> None:
    folder = real_data / "pubmedqa"
    truth = json.loads((folder / "test_ground_truth.json").read_text())
    test = PubMedQA().read(folder, "test")
    assert [(e.id, e.label) for e in test] == list(truth.items())
    validation = PubMedQA().read(folder, "validation")
    assert Counter(e.label for e in validation) == {"yes": 27, "no": 17, "maybe": 6}
    split = split_pqal(folder / "ori_pqal.json")
    assert [len(fold) for fold in split.folds] == [50] * 10
    everything = [pmid for fold in split.folds for pmid in fold] + list(split.test)
    assert len(everything) == len(set(everything)) == 1000
    for fold in range(10):
        assert set(split.train(fold)).isdisjoint(split.folds[fold])
        assert len(split.train(fold)) == 450


@pytest.mark.real_data
def test_a_changed_ground_truth_is_refused(real_data: Path, tmp_path: Path) -> None:
    questions = (real_data / "pubmedqa" / "ori_pqal.json").read_bytes()
    (tmp_path / "ori_pqal.json").write_bytes(questions)
    assert len(PubMedQA(fold=3).read(tmp_path, "train")) == 450
    (tmp_path / "test_ground_truth.json").write_text('{"12377809": "no"}')
    assert "not the test questions and labels" in refusal(tmp_path)
