"""Hallmarks of Cancer at sentence level, as BioGPT's released files have it (Luo et al. 2022).

Each sentence is classified by itself, with `empty` as an eleventh class that counts in micro-F1;
always answering `empty` scores 67.9 there. Not to be compared with `hoc`.
"""

from collections.abc import Mapping
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

EMPTY = "empty"
LABELS = (*HALLMARKS, EMPTY)
FILES = {"train": "train.tsv", "validation": "valid.tsv", "test": "test.tsv"}
VALIDATION_EVERY = 10
"""Without valid.tsv, every tenth sentence of train.tsv validates."""


class HocSentences(HallmarkTask):
    """HoC at sentence level; the released valid.tsv is the test file, and is refused as such."""

    name = "hoc_sentence"
    labels: tuple[str, ...] = LABELS
    nothing = EMPTY
    room_labels = 4

    def available(self, path: Path) -> tuple[str, ...]:
        """The splits that can be had; train.tsv alone gives train and validation."""
        found = {split for split, name in FILES.items() if (path / name).is_file()}
        if "train" in found:
            found.add("validation")
        return tuple(split for split in SPLITS if split in found)

    def read(self, path: Path, split: str) -> list[Example]:
        """The sentences of a split from a folder with ``train.tsv``, ``test.tsv`` and perhaps
        ``valid.tsv``: a sentence, a tab, labels joined by `|`. Ids are the file's name and the
        line's number.

        Raises UserError for malformed files and for the same file as valid and test.
        """
        if split not in SPLITS:
            raise UserError(f"hoc_sentence: no split {split!r}, expected {', '.join(SPLITS)}")
        files = {s: path / name for s, name in FILES.items() if (path / name).is_file()}
        refuse_same_file({"train": path / FILES["train"], **files})
        if split in files and (split == "test" or "validation" in files):
            return self._read_tsv(files[split])
        if split == "test" or "train" not in files:
            needed = "test" if split == "test" else "train"
            raise UserError(f"{path / FILES[needed]}: no such file")
        sentences = self._read_tsv(files["train"])
        held_out = split == "validation"
        return [s for i, s in enumerate(sentences) if (i % VALIDATION_EVERY == 0) is held_out]

    def _read_tsv(self, file: Path) -> list[Example]:
        found = []
        for number, line in enumerate(read_text(file).split("\n"), start=1):
            if not line.strip():
                continue
            text, _, names = line.rstrip("\r").rpartition("\t")
            said = {name.strip() for name in names.split("|")}
            unknown = sorted(said - set(LABELS))
            if unknown or not text.split():
                raise UserError(
                    f"{file}:{number}: expected a sentence, a tab and labels "
                    f"({', '.join(LABELS)}) joined by |, got {names!r}"
                )
            label = "|".join(name for name in LABELS if name in said)
            source = self.source_form.format(text=" ".join(text.split()))
            found.append(
                Example(f"{file.stem}-{number:06}", source, self.target_text(label), label)
            )
        if not found:
            raise UserError(f"{file}: no sentences in it")
        return found

    def parse(self, generated: str) -> str | None:
        """The labels in a generated target, joined by `|` in the fixed order; None if there are
        none."""
        found = self.said(generated)
        return None if found is None else "|".join(found)

    def score(
        self, predictions: Mapping[str, str | None], gold: Mapping[str, str]
    ) -> MultiLabelScores:
        """Micro-F1 over sentences x 11 classes, as BioGPT's script; example-based F1 beside it."""
        return multilabel_scores(predictions, gold, LABELS)
