"""Hallmarks of Cancer at document level: which of ten hallmarks does an abstract speak of?

The form of BLUE (Peng et al. 2019), which Gu et al., LinkBERT and the paper share: sentences with
ten marks each; a document's labels are the union of its sentences' labels. This is not BioGPT's
sentence-level task (`hoc_sentence`), and scores of the two do not compare.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.base import SPLITS, Example
from modelzoo_mediswift.tasks.hallmarks import (
    HALLMARKS,
    HallmarkTask,
    read_text,
    refuse_same_file,
)
from modelzoo_mediswift.tasks.multilabel import MultiLabelScores, multilabel_scores

NONE = "none"
"""Stands for no hallmark at all, which no document of the paper's 1,580 has."""

FILES = {"train": "train", "validation": "dev", "test": "test"}
HEADER = ("labels", "sentence", "index")
_INDEX = re.compile(r"(\d+)_s(\d+)")


@dataclass(frozen=True)
class Document:
    """A PubMed abstract and its hallmarks."""

    text: str
    labels: tuple[str, ...]
    """In the order of `HALLMARKS`."""


class HocDocuments(HallmarkTask):
    """HoC at document level with BioGPT's wording of the target (Luo et al. 2022, section 4.4)."""

    name = "hoc"
    labels: tuple[str, ...] = HALLMARKS
    nothing = NONE
    room_labels = 5  # no document has more

    def available(self, path: Path) -> tuple[str, ...]:
        """The splits whose list or file is there."""
        names = {split: (f"{name}.tsv", *_lists(name)) for split, name in FILES.items()}
        return tuple(s for s in SPLITS if any((path / name).is_file() for name in names[s]))

    def read(self, path: Path, split: str) -> list[Example]:
        """The documents of a split from a folder with ``{train,dev,test}.tsv``, or with lists
        ``{train,dev,test}_pmid.tsv`` of PMIDs and any ``*.tsv`` that hold their sentences.

        Raises UserError for malformed files, the same file as dev and test, and a document that is
        in two splits.
        """
        if split not in SPLITS:
            raise UserError(f"hoc: no split {split!r}, expected {', '.join(SPLITS)}")
        splits = read_documents(path, self.available(path))
        if split not in splits:
            raise UserError(f"{path}: has neither {FILES[split]}.tsv nor {_lists(FILES[split])[0]}")
        return [self.example(pmid, document) for pmid, document in splits[split].items()]

    def example(self, pmid: str, document: Document) -> Example:
        label = "|".join(document.labels) or NONE
        text = " ".join(document.text.split())
        return Example(pmid, self.source_form.format(text=text), self.target_text(label), label)

    def parse(self, generated: str) -> str | None:
        """The labels in a generated target, joined by `|` in the fixed order; names that are not
        labels are passed over, and if there is no other, None."""
        found = self.said(generated)
        if found is None:
            return None
        return "|".join(label for label in found if label != NONE) or NONE

    def score(
        self, predictions: Mapping[str, str | None], gold: Mapping[str, str]
    ) -> MultiLabelScores:
        """Micro-F1 over documents x 10 labels, and BLUE's example-based F1."""
        return multilabel_scores(predictions, gold, HALLMARKS, empty=NONE)


def read_documents(path: Path, splits: Iterable[str]) -> dict[str, dict[str, Document]]:
    """The documents of each split by PMID, in the order of the files (or of the lists)."""
    if not path.is_dir():
        raise UserError(f"{path}: no such folder, expected one with train.tsv, dev.tsv, test.tsv")
    listed = {s: file for s in splits for n in _lists(FILES[s]) if (file := path / n).is_file()}
    if listed:
        found = _by_lists(path, listed)
        origin = listed
    else:
        origin = {split: path / f"{FILES[split]}.tsv" for split in splits}
        refuse_same_file(origin)
        found = {split: _read_tsv(file) for split, file in origin.items()}
    seen: dict[str, str] = {}
    for split, documents in found.items():
        for pmid in documents:
            if pmid in seen:
                raise UserError(
                    f"{origin[split]}: document {pmid} is in {origin[seen[pmid]].name} too"
                )
            seen[pmid] = split
    return found


def _lists(name: str) -> tuple[str, ...]:
    return f"{name}_pmid.tsv", f"{name}_pmid.txt"


def _by_lists(path: Path, lists: Mapping[str, Path]) -> dict[str, dict[str, Document]]:
    """Documents of all the other files, divided as the lists say."""
    everything: dict[str, Document] = {}
    for file in sorted(path.glob("*.tsv")):
        if not file.name.endswith("_pmid.tsv"):
            for pmid, document in _read_tsv(file).items():
                if pmid in everything:
                    raise UserError(f"{file}: document {pmid} is in another file too")
                everything[pmid] = document
    found = {}
    for split, file in lists.items():
        pmids = read_text(file).split()
        if len(set(pmids)) < len(pmids):
            twice = next(pmid for i, pmid in enumerate(pmids) if pmid in pmids[:i])
            raise UserError(f"{file}: {twice} is in it twice")
        missing = [pmid for pmid in pmids if pmid not in everything]
        if missing:
            raise UserError(
                f"{file}: {len(missing)} of {len(pmids)} documents are in no file "
                f"({', '.join(missing[:5])}{', ...' * (len(missing) > 5)})"
            )
        found[split] = {pmid: everything[pmid] for pmid in pmids}
    return found


def _read_tsv(file: Path) -> dict[str, Document]:
    """Documents of a file of sentences. Quotation marks are text: there is no quoting in it."""
    sentences: dict[str, dict[int, tuple[str, set[int]]]] = {}
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        fields = line.rstrip("\r").split("\t")
        if fields == [""] or (number == 1 and tuple(fields) == HEADER):
            continue
        where = f"{file}:{number}"
        if len(fields) != len(HEADER):
            raise UserError(f"{where}: expected {' / '.join(HEADER)}, got {len(fields)} fields")
        marks, sentence, index = fields
        parts = _INDEX.fullmatch(index)
        if parts is None:
            raise UserError(f"{where}: expected an index such as 123_s0, got {index!r}")
        document = sentences.setdefault(parts[1], {})
        if int(parts[2]) in document:
            raise UserError(f"{where}: {index} is in the file twice")
        document[int(parts[2])] = sentence, _digits(marks, where)
    if not sentences:
        raise UserError(f"{file}: no sentences in it")
    for pmid, document in sentences.items():
        if not any(text.split() for text, _ in document.values()):
            raise UserError(f"{file}: document {pmid} is empty")
    return {
        pmid: Document(
            " ".join(text for _, (text, _) in sorted(document.items())),
            tuple(
                name
                for digit, name in enumerate(HALLMARKS)
                if any(digit in digits for _, digits in document.values())
            ),
        )
        for pmid, document in sentences.items()
    }


def _digits(marks: str, where: str) -> set[int]:
    """`0_0,1_1,...,9_0` as the digits that are marked."""
    pairs = [mark.partition("_") for mark in marks.split(",")]
    if [digit for digit, _, _ in pairs] != [str(d) for d in range(len(HALLMARKS))]:
        raise UserError(f"{where}: expected labels 0_*,1_*,...,9_*, got {marks!r}")
    if any(mark not in ("0", "1") for _, _, mark in pairs):
        raise UserError(f"{where}: expected each label to be _0 or _1, got {marks!r}")
    return {int(digit) for digit, _, mark in pairs if mark == "1"}
