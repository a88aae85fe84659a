"""Question files in the shape and layout of PubMedQA's labelled part."""

import json
import random
from dataclasses import dataclass
from typing import Literal

from data_preprocessing.sample.findings import VERDICTS, Verdict, draw_finding
from data_preprocessing.sample.studies import Study, tell

SHARES: dict[Verdict, float] = {"yes": 0.552, "no": 0.338, "maybe": 0.110}
FIRST_OF_MORE_PMIDS = 98_000_001
FIRST_UNSEEN_PMID = 97_000_001  # of articles that the PubMed files do not have
Split = Literal["train", "dev", "test"]


@dataclass
class Question:
    """A question with its study; `pmid` is given once all articles are known."""

    study: Study
    split: Split
    pmid: int = 0
    year: int = 0
    mesh: tuple[str, ...] = ()

    @property
    def answer(self) -> Verdict:
        return self.study.finding.verdict


def verdict_quota(rng: random.Random, count: int) -> list[Verdict]:
    """Exactly the real share of each answer, at least one of each, in random order."""
    counts = {"yes": round(count * SHARES["yes"]), "maybe": max(1, round(count * SHARES["maybe"]))}
    counts["no"] = count - sum(counts.values())
    drawn = [verdict for verdict in VERDICTS for _ in range(counts[verdict])]
    rng.shuffle(drawn)
    return drawn


def draw_questions(rng: random.Random, count: int) -> list[Question]:
    """Questions without PMIDs: one third test, a tenth of the rest dev, all with the same mix."""
    test = count // 3
    dev = (count - test) // 10
    sizes: dict[Split, int] = {"train": count - test - dev, "dev": dev, "test": test}
    return [
        Question(tell(rng, draw_finding(rng, verdict), short=True, ask=True), split)
        for split, size in sizes.items()
        for verdict in verdict_quota(rng, size)
    ]


def number_the_rest(rng: random.Random, questions: list[Question]) -> None:
    """Give PMIDs to questions whose articles are in none of the PubMed files."""
    pmid = FIRST_UNSEEN_PMID
    for question in questions:
        if not question.pmid:
            question.pmid = pmid
            pmid += rng.randint(1, 30)


def expected(questions: list[Question]) -> dict[str, object]:
    """Sizes, label counts and where the articles are, for the manifest."""
    by_split: dict[str, object] = {}
    for split in ("train", "dev", "test"):
        answers = [q.answer for q in questions if q.split == split]
        by_split[split] = {
            "questions": len(answers),
            "labels": {verdict: answers.count(verdict) for verdict in VERDICTS},
            "articles_in_pubmed_files": split == "train",
        }
    return by_split


def _guess(rng: random.Random, answer: Verdict, right: float) -> Verdict:
    """A second annotator's answer."""
    return answer if rng.random() < right else rng.choice([v for v in VERDICTS if v != answer])


def _entry(rng: random.Random, question: Question) -> dict[str, object]:
    sections = question.study.sections[:-1]
    return {
        "QUESTION": question.study.question,
        "CONTEXTS": [section.text for section in sections],
        "LABELS": [section.label for section in sections],
        "MESHES": list(question.mesh),
        "YEAR": str(question.year),
        "reasoning_required_pred": _guess(rng, question.answer, 0.78),
        "reasoning_free_pred": _guess(rng, question.answer, 0.9),
        "final_decision": question.answer,
        "LONG_ANSWER": question.study.conclusion,
    }


def question_files(rng: random.Random, questions: list[Question]) -> dict[str, bytes]:
    """All files of the folder: the whole set, the test answers, and fold 0 of the split."""
    mixed = rng.sample(questions, len(questions))
    entries = {str(q.pmid): _entry(rng, q) for q in mixed}
    parts: dict[Split, dict[str, object]] = {
        split: {str(q.pmid): entries[str(q.pmid)] for q in mixed if q.split == split}
        for split in ("train", "dev", "test")
    }
    answers = {str(q.pmid): q.answer for q in mixed if q.split == "test"}
    return {
        "ori_pqal.json": _json(entries),
        "test_ground_truth.json": _json(answers),
        "test_set.json": _json(parts["test"]),
        "pqal_fold0/train_set.json": _json(parts["train"]),
        "pqal_fold0/dev_set.json": _json(parts["dev"]),
    }


def more_questions(rng: random.Random, count: int) -> dict[str, bytes]:
    """Files in the shape of PQA-A (yes and no alone, two splits) and PQA-U (no answers)."""
    pmid = FIRST_OF_MORE_PMIDS
    drawn: list[dict[str, object]] = []
    for verdict in verdict_quota(rng, count):
        question = Question(tell(rng, draw_finding(rng, verdict), short=True, ask=True), "train")
        question.year = rng.randint(1990, 2020)
        drawn.append(_entry(rng, question))
    entries = {}
    for entry in drawn:
        pmid += rng.randint(1, 30)
        entries[str(pmid)] = entry
    labelled = [p for p, entry in entries.items() if entry["final_decision"] != "maybe"]
    labelled = labelled[: len(labelled) * 2 // 3]
    dev = max(1, len(labelled) // 10)
    unlabelled = {
        p: {key: value for key, value in entry.items() if key in _UNLABELLED_KEYS}
        for p, entry in entries.items()
        if p not in set(labelled)
    }
    return {
        "pqaa_train_set.json": _json({p: entries[p] for p in labelled[dev:]}),
        "pqaa_dev_set.json": _json({p: entries[p] for p in labelled[:dev]}),
        "ori_pqau.json": _json(unlabelled),
    }


_UNLABELLED_KEYS = ("QUESTION", "CONTEXTS", "LABELS", "LONG_ANSWER", "MESHES")


def _json(value: object) -> bytes:
    return json.dumps(value, indent=4).encode("ascii")
