"""PubMedQA (Jin et al. 2019): does an abstract answer its title's question yes, no or maybe?

Read in its official JSON form, in the reasoning-required setting: question and contexts, without
the abstract's conclusion. Its parts are PQA-L, labelled by experts; PQA-A, with labels made by
rule; and PQA-U, without labels.
"""

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.base import SPLITS, Example
from modelzoo_mediswift.tasks.pubmedqa_files import (
    LABELS,
    Record,
    load_json,
    load_records,
    read_artificial,
    read_unlabelled,
    with_context,
)
from modelzoo_mediswift.tasks.scoring import Scores, classification_scores

SUBSETS = {"pqal": SPLITS, "pqaa": ("train", "validation"), "pqau": ("train",)}
"""The parts of PubMedQA, and the splits that each has."""
NUM_FOLDS = 10
OFFICIAL_COUNTS = {"yes": 552, "no": 338, "maybe": 110}
OFFICIAL_TEST_SHA256 = "406e3b89eff577ed38571eca5a5819734a6f49ac0437d171b6c64e5c3cd195f8"
"""Of the 500 official test PMIDs, sorted as strings, one per line."""
LONG_ANSWER_ROOM = 192
"""Tokens that a generated long answer may have."""


@dataclass(frozen=True)
class PqalSplit:
    """PMIDs of PQA-L's official split."""

    folds: tuple[tuple[str, ...], ...]
    """Ten development sets of 50; fold k trains on the other nine."""
    test: tuple[str, ...]

    def train(self, fold: int) -> tuple[str, ...]:
        """The 450 PMIDs to train on in `fold`."""
        return tuple(p for k, dev in enumerate(self.folds) if k != fold for p in dev)


class PubMedQA:
    """PubMedQA with BioGPT's wording (Luo et al. 2022, section 4.3)."""

    name = "pubmedqa"
    labels: tuple[str, ...] = LABELS
    num_virtual_tokens = 9

    def __init__(
        self,
        *,
        subset: str = "pqal",
        labels_file: Path | None = None,
        fold: int = 0,
        source_form: str = "question: {question} context: {context} ",
        target_form: str = "the answer to the question given the context is {label}.",
        include_long_answer: bool = False,
    ) -> None:
        """`subset` is pqal, pqaa or pqau; pqau needs `labels_file`, JSON of PMID to label, such as
        a model's own answers.

        `fold` (0 to 9) of PQA-L's official cross-validation; 0 is what BioGPT and LinkBERT use.

        `include_long_answer` puts the abstract's conclusion before the answer in the *target*; then
        only generated answers can be scored, not likelihoods.
        """
        if not 0 <= fold < NUM_FOLDS:
            raise UserError(f"pubmedqa: fold is {fold}, expected 0 to {NUM_FOLDS - 1}")
        if "{label}" not in target_form:
            raise UserError(f"pubmedqa: target_form has no {{label}} in it: {target_form!r}")
        if subset not in SUBSETS:
            raise UserError(f"pubmedqa: no subset {subset!r}, expected {', '.join(SUBSETS)}")
        if (subset == "pqau") != (labels_file is not None):
            raise UserError(
                "pubmedqa: subset pqau has no labels of its own and needs a labels file; "
                "the others take none"
            )
        self.subset = subset
        self.labels_file = labels_file
        self.fold = fold
        self.source_form = source_form
        self.target_form = target_form
        self.include_long_answer = include_long_answer
        self.exclusive = not include_long_answer
        self.free_tokens = LONG_ANSWER_ROOM if include_long_answer else 0
        before = target_form.partition("{label}")[0]
        lead_in = r"\s+".join(map(re.escape, before.split()[-2:]))
        # The label begins a word, or the text where the target begins with it.
        self._answer = re.compile(rf"{lead_in}\s*(?<!\S)({'|'.join(LABELS)})\b", re.IGNORECASE)

    def available(self, path: Path) -> tuple[str, ...]:
        """All splits of the subset, always."""
        return SUBSETS[self.subset]

    def read(self, path: Path, split: str) -> list[Example]:
        """The examples of a split from `path`: a folder with ``pqal_fold{k}/{train,dev}_set.json``
        and ``test_set.json``, or with ``ori_pqal.json`` of exactly the 1,000 official questions,
        which is then split as the authors do; or the path of that file. For the other subsets see
        `read_artificial` and `read_unlabelled`.

        Raises UserError for malformed files, unknown labels, a PMID in two splits.
        """
        if split not in SUBSETS[self.subset]:
            known = ", ".join(SUBSETS[self.subset])
            raise UserError(f"pubmedqa: {self.subset} has no split {split!r}, expected {known}")
        splits = self._read(path)
        return [self.example(pmid, record) for pmid, record in splits[split].items()]

    def _read(self, path: Path) -> dict[str, dict[str, Record]]:
        if self.subset == "pqaa":
            return read_artificial(path)
        if self.labels_file is not None:
            return read_unlabelled(path, self.labels_file)
        folder = path / f"pqal_fold{self.fold}"
        splits = _read_folds(folder) if folder.is_dir() else _read_official(path, self.fold)
        for records in splits.values():
            answerable = with_context(records)
            for pmid in records:
                if pmid not in answerable:
                    raise UserError(f"{path}: PMID {pmid}: CONTEXTS is empty")
        return splits

    def example(self, pmid: str, record: Record) -> Example:
        """Put a record into words; whitespace inside question and contexts becomes one space."""
        source = self.source_form.format(
            question=_one_spaced(record["QUESTION"]),
            context=_one_spaced(" ".join(record["CONTEXTS"])),
        )
        target = self.target_text(record["final_decision"])
        if self.include_long_answer:
            target = f"{_one_spaced(record['LONG_ANSWER'])} {target}"
        return Example(id=pmid, source=source, target=target, label=record["final_decision"])

    def target_text(self, label: str) -> str:
        """The answer sentence for `label`."""
        return self.target_form.format(label=label)

    def longest_target(self) -> str:
        """The answer sentence of the longest label."""
        return self.target_text(max(LABELS, key=len))

    def answers(self) -> tuple[str, ...]:
        """The labels; with a long answer before them nothing is certain."""
        return () if self.include_long_answer else self.labels

    def parse(self, generated: str) -> str | None:
        """The label in the first answer sentence, None if there is none."""
        found = self._answer.search(generated)
        return found.group(1).lower() if found else None

    def score(self, predictions: Mapping[str, str | None], gold: Mapping[str, str]) -> Scores:
        """As PubMedQA's evaluation script: accuracy and macro-F1 over exactly gold's PMIDs."""
        return classification_scores(predictions, gold, LABELS)


def split_pqal(path: Path) -> PqalSplit:
    """Split ``ori_pqal.json`` as the official script does with seed 0.

    The order of the random draws decides who is in which set. Half of each label goes to
    cross-validation, half to the test. Raises UserError unless the file holds the 1,000 official
    questions and the test set comes out as the published one.
    """
    labels = {pmid: record["final_decision"] for pmid, record in load_records(path).items()}
    counts = Counter(labels.values())
    if counts != OFFICIAL_COUNTS:
        raise UserError(
            f"{path}: {len(labels)} questions ({_counts(counts)}), but the official split is "
            f"for PQA-L's 1,000 ({_counts(OFFICIAL_COUNTS)}); other files need "
            f"pqal_fold0/{{train,dev,test}}_set.json"
        )
    generator = random.Random(0)
    development, test = _stratified(labels, 2, generator)
    if _digest(test) != OFFICIAL_TEST_SHA256:
        raise UserError(f"{path}: not PQA-L, its split does not give the published test set")
    folds = _stratified({pmid: labels[pmid] for pmid in development}, NUM_FOLDS, generator)
    return PqalSplit(folds=tuple(map(tuple, folds)), test=tuple(test))


def _stratified(labels: Mapping[str, str], parts: int, generator: random.Random) -> list[list[str]]:
    """Cut PMIDs into `parts` with the same share of every label.

    Rounding up leaves the last part short; each other part then gives it one at random.
    """
    groups = [[pmid for pmid, label in labels.items() if label == name] for name in LABELS]
    for group in groups:
        generator.shuffle(group)
    sizes = [math.ceil(len(group) / parts) for group in groups]
    cut = [
        [
            pmid
            for group, size in zip(groups, sizes, strict=True)
            for pmid in group[k * size : (k + 1) * size]
        ]
        for k in range(parts)
    ]
    if len(cut[-1]) != len(cut[0]):
        for part in cut[:-1]:
            chosen = generator.choice(part)
            part.remove(chosen)
            cut[-1].append(chosen)
    return cut


def _read_official(path: Path, fold: int) -> dict[str, dict[str, Record]]:
    file = path / "ori_pqal.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: neither ori_pqal.json nor pqal_fold{fold}/ in it")
    records, split = load_records(file), split_pqal(file)
    truth_file = file.with_name("test_ground_truth.json")
    if truth_file.is_file():
        truth = load_json(truth_file)
        if truth != {pmid: records[pmid]["final_decision"] for pmid in split.test}:
            raise UserError(f"{truth_file}: not the test questions and labels of {file.name}")
    chosen = {"train": split.train(fold), "validation": split.folds[fold], "test": split.test}
    return {name: {pmid: records[pmid] for pmid in pmids} for name, pmids in chosen.items()}


def _read_folds(folder: Path) -> dict[str, dict[str, Record]]:
    test = folder / "test_set.json"
    files = {
        "train": folder / "train_set.json",
        "validation": folder / "dev_set.json",
        # The official script writes one test set, beside the folds.
        "test": test if test.is_file() else folder.parent / "test_set.json",
    }
    splits = {name: load_records(file) for name, file in files.items()}
    seen: dict[str, str] = {}
    for name, records in splits.items():
        for pmid in records:
            if pmid in seen:
                raise UserError(f"{files[name]}: PMID {pmid} is in {files[seen[pmid]].name} too")
            seen[pmid] = name
    return splits


def _digest(pmids: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(pmids)).encode()).hexdigest()


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts.get(label, 0)} {label}" for label in LABELS)


def _one_spaced(text: str) -> str:
    return " ".join(text.split())
