"""PQA-A and PQA-U as training data, and question files that are refused."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from data_preprocessing.__main__ import main
from modelzoo_mediswift.data.hdf5 import open_sequences


def question(label: str | None = "yes", **changes: object) -> dict:
    record = {"QUESTION": "a ?", "CONTEXTS": ["b", "c"], "LONG_ANSWER": "d"}
    return record | ({"final_decision": label} if label else {}) | changes


def write(name: str, content: object) -> None:
    path = Path("qa") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "<|endoftext|> a b c d ? question : context the answer to given is yes no maybe ."
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(words.split())}, unk_token="d")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save("tokenizer.json")
    write("pqaa_train_set.json", {"1": question(), "2": question("no"), "3": question(CONTEXTS=[])})
    write("pqaa_dev_set.json", {"4": question("no")})
    write("ori_pqau.json", {"5": question(None), "9": question(None), "10": question(None)})
    write("labels.json", {"5": {"label": "maybe", "confidence": 0.5}, "9": "no"})
    write("labelling.json", {"checkpoint": "run/checkpoint_9", "kept": 1})
    for split, pmid in (("train", "6"), ("dev", "7"), ("test", "8")):
        write(f"pqal_fold0/{split}_set.json", {pmid: question()})


def finetune(*flags: str) -> int:
    return main(["finetune", "pubmedqa", "qa", "-t", "tokenizer.json", "-o", "out",
                 "--max_sequence_length", "40", *flags])  # fmt: skip


def ids(split: str) -> list[str]:
    lines = Path(f"out/{split}/examples.jsonl").read_text().splitlines()
    return [json.loads(line)["id"] for line in lines]


def test_pqaa_has_no_test_set_and_leaves_out_what_has_no_context(files) -> None:
    assert finetune("--subset", "pqaa") == 0
    assert ids("train") == ["1", "2"]
    assert ids("validation") == ["4"]
    assert not Path("out/test").exists()
    assert open_sequences("out/train").params["sources"]["subset"] == "pqaa"


def test_pqau_says_who_labelled_it(files) -> None:
    assert finetune("--subset", "pqau", "--labels_file", "qa/labels.json") == 0
    assert ids("train") == ["5", "9"]
    assert {path.name for path in Path("out").iterdir()} <= {"train", ".lock"}
    sources = open_sequences("out/train").params["sources"]
    assert sources["labelling"] == {"checkpoint": "run/checkpoint_9", "kept": 1}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train", {"6": question("perhaps")}, "PMID 6: final_decision is 'perhaps', expected yes"),
        ("train", {"6": question(None)}, "PMID 6: final_decision is None"),
        ("dev", {"6": question()}, "dev_set.json: PMID 6 is in train_set.json too"),
        ("test", {"7": question()}, "test_set.json: PMID 7 is in dev_set.json too"),
        ("train", {"6": question(CONTEXTS=[" ", ""])}, "qa: PMID 6: CONTEXTS is empty"),
        ("test", {"8": question(CONTEXTS=[])}, "qa: PMID 8: CONTEXTS is empty"),
        ("train", {"6": question(CONTEXTS=["b", 3])}, "PMID 6: CONTEXTS holds what is not text"),
        ("train", {"6": question(QUESTION=" ")}, "PMID 6: QUESTION is empty"),
        ("train", {"6": question(CONTEXTS="b")}, "PMID 6: no CONTEXTS, or not a list"),
    ],
)
def test_what_is_refused(files, capsys, file: str, content: dict, message: str) -> None:
    write(f"pqal_fold0/{file}_set.json", content)
    assert finetune() == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert message in line
    assert not list(Path("out").glob("*/*")) if Path("out").exists() else True


def test_a_pmid_twice_in_a_file(files, capsys) -> None:
    Path("qa/pqal_fold0/train_set.json").write_text(
        f'{{"6": {json.dumps(question())}, "6": {json.dumps(question("no"))}}}'
    )
    assert finetune() == 2
    assert "train_set.json: 6 is in it twice" in capsys.readouterr().err
