"""The sample's task files: PubMedQA's shape, an answer that is in the context, and HoC's form."""

import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree

from data_preprocessing.sample import write_sample
from data_preprocessing.sample.findings import VERDICTS
from data_preprocessing.sample.pubmedqa import draw_questions

SCALE = 0.1  # 120 questions
KEYS = {
    *("QUESTION", "CONTEXTS", "LABELS", "MESHES", "YEAR", "LONG_ANSWER"),
    *("reasoning_required_pred", "reasoning_free_pred", "final_decision"),
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample")
    write_sample(out, scale=SCALE)
    return out


def load(sample: Path, name: str) -> Any:
    return json.loads((sample / "pubmedqa" / name).read_text("ascii"))


def test_questions_have_the_form_of_the_published_file(sample: Path) -> None:
    whole = load(sample, "ori_pqal.json")
    assert len(whole) == 120
    for pmid, entry in whole.items():
        assert pmid.isdigit()
        assert entry.keys() == KEYS
        assert len(entry["CONTEXTS"]) == len(entry["LABELS"]) == 3
        assert {entry["final_decision"], entry["reasoning_required_pred"]} <= set(VERDICTS)
        assert re.fullmatch(r"(19|20)\d\d", entry["YEAR"])
        assert entry["MESHES"]
        assert entry["LONG_ANSWER"] not in " ".join(entry["CONTEXTS"])
    text = (sample / "pubmedqa" / "ori_pqal.json").read_text("ascii")
    assert text.startswith('{\n    "')


def test_splits_are_disjoint_and_whole(sample: Path) -> None:
    whole = load(sample, "ori_pqal.json")
    train = load(sample, "pqal_fold0/train_set.json")
    dev = load(sample, "pqal_fold0/dev_set.json")
    test = load(sample, "test_set.json")
    assert (len(train), len(dev), len(test)) == (72, 8, 40)
    assert train | dev | test == whole
    truth = load(sample, "test_ground_truth.json")
    assert truth == {pmid: entry["final_decision"] for pmid, entry in test.items()}
    expected = json.loads((sample / "MANIFEST.json").read_text("utf-8"))["expected"]["pubmedqa"]
    for name, part in (("train", train), ("dev", dev), ("test", test)):
        labels = [entry["final_decision"] for entry in part.values()]
        assert expected[name]["labels"] == {v: labels.count(v) for v in VERDICTS}
        assert abs(labels.count("yes") - 0.552 * len(labels)) <= 1


def test_only_training_articles_are_in_the_pubmed_files(sample: Path) -> None:
    texts = {}
    for path in sorted((sample / "pubmed").iterdir()):
        data = path.read_bytes()
        root = etree.fromstring(gzip.decompress(data) if path.suffix == ".gz" else data)
        for citation in root.iter("MedlineCitation"):
            parts = ["".join(e.itertext()) for e in citation.findall(".//Abstract/AbstractText")]
            texts[citation.findtext("PMID")] = (citation.findtext(".//ArticleTitle"), parts)
    for name in ("pqal_fold0/dev_set.json", "test_set.json"):
        assert not load(sample, name).keys() & texts.keys()
    for pmid, entry in load(sample, "pqal_fold0/train_set.json").items():
        title, parts = texts[pmid]
        assert title == entry["QUESTION"]
        assert " ".join(parts) == " ".join([*entry["CONTEXTS"], entry["LONG_ANSWER"]])
    contexts = {" ".join(parts) for _, parts in texts.values()}
    for entry in load(sample, "test_set.json").values():
        assert " ".join([*entry["CONTEXTS"], entry["LONG_ANSWER"]]) not in contexts


def tokens(text: str) -> list[str]:
    return re.findall(r"[\w.]+|[^\w\s]", text.lower())


def test_lengths_fit_a_small_window() -> None:
    questions = draw_questions(random.Random(0), 600)
    asked = [len(q.study.question.split()) for q in questions]
    context = [sum(len(s.text.split()) for s in q.study.sections[:-1]) for q in questions]
    assert max(asked) <= 25
    assert 75 <= np.median(context) <= 100
    assert np.percentile(context, 99) <= 125


def bag_of_words_accuracy(texts: list[str], answers: list[int], train: int) -> float:
    """Test accuracy of a logistic regression on the set of words, fitted on the first `train`."""
    bags = [set(tokens(text)) for text in texts]
    counts: dict[str, int] = {}
    for bag in bags[:train]:
        for word in bag:
            counts[word] = counts.get(word, 0) + 1
    column = {w: i for i, w in enumerate(sorted(w for w, n in counts.items() if n > 1))}
    features = np.zeros((len(bags), len(column) + 1))
    features[:, -1] = 1
    for row, bag in enumerate(bags):
        features[row, [column[word] for word in bag if word in column]] = 1
    target = np.eye(3)[answers]
    weights = np.zeros((features.shape[1], 3))
    momentum = np.zeros_like(weights)
    for _ in range(400):
        scores = features[:train] @ weights
        odds = np.exp(scores - scores.max(1, keepdims=True))
        error = odds / odds.sum(1, keepdims=True) - target[:train]
        momentum = 0.9 * momentum + features[:train].T @ error / train + 0.003 * weights
        weights -= 0.02 * momentum
    guesses = (features[train:] @ weights).argmax(1)
    return float((guesses == np.array(answers[train:])).mean())


def test_the_context_decides_the_answer_and_the_question_does_not() -> None:
    questions = draw_questions(random.Random("questions 0"), 1200)  # train and dev, then test
    answers = [VERDICTS.index(q.answer) for q in questions]
    contexts = [" ".join(s.text for s in q.study.sections[:-1]) for q in questions]
    from_context = bag_of_words_accuracy(contexts, answers, 800)
    from_question = bag_of_words_accuracy([q.study.question for q in questions], answers, 800)
    assert answers[800:].count(0) / 400 == 0.5525
    assert 0.80 <= from_context <= 0.97
    assert from_question <= 0.60


def test_hoc_is_in_blue_s_raw_form(sample: Path) -> None:
    expected = json.loads((sample / "MANIFEST.json").read_text("utf-8"))["expected"]["hoc"]
    seen: set[str] = set()
    for split in ("train", "dev", "test"):
        data = (sample / "hoc" / f"{split}.tsv").read_bytes()
        assert data.startswith(b"labels\tsentence\tindex\r\n")
        assert data.endswith(b"\r\n")
        documents: dict[str, set[int]] = {}
        rows = data.decode("utf-8").split("\r\n")[1:-1]
        for row in rows:
            labels, sentence, index = row.split("\t")
            marks = re.findall(r"(\d)_([01])(?:,|$)", labels)
            assert [int(digit) for digit, _ in marks] == list(range(10))
            pmid, number = re.fullmatch(r"(\d+)_s(\d+)", index).groups()  # type: ignore[union-attr]
            found = documents.setdefault(pmid, set())
            assert int(number) == 0 or len(documents) > 0
            found |= {int(digit) for digit, mark in marks if mark == "1"}
            assert sentence.endswith(" .")
        assert not documents.keys() & seen
        seen |= documents.keys()
        counts = [sum(digit in found for found in documents.values()) for digit in range(10)]
        assert all(documents.values())
        assert expected[split] == {
            "documents": len(documents),
            "sentences": len(rows),
            "documents_per_label": counts,
        }
        assert min(counts) >= 1
