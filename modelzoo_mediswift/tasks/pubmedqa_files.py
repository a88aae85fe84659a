"""PubMedQA's JSON files: one object with PMIDs as keys, and what its parts PQA-A and PQA-U hold."""

import json
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo_mediswift.errors import UserError

LABELS = ("yes", "no", "maybe")
NUM_ARTIFICIAL_TRAINING = 200_000
"""Of PQA-A's 211,269 questions; the others validate."""

LABELLING_FILE = "labelling.json"
"""Beside a model's labels: which checkpoint gave them, and how."""

Record = dict[str, Any]


def load_records(path: Path, *, labelled: bool = True) -> dict[str, Record]:
    """Read and check a file of records by PMID; raises UserError."""
    records = load_json(path)
    for pmid, record in records.items():
        if not isinstance(record, dict):
            raise UserError(f"{path}: PMID {pmid}: expected an object with QUESTION, CONTEXTS ...")
        for key, kind in (("QUESTION", str), ("CONTEXTS", list), ("LONG_ANSWER", str)):
            if not isinstance(record.get(key), kind):
                raise UserError(f"{path}: PMID {pmid}: no {key}, or not a {kind.__name__}")
        if not all(isinstance(context, str) for context in record["CONTEXTS"]):
            raise UserError(f"{path}: PMID {pmid}: CONTEXTS holds what is not text")
        try:
            "".join((record["QUESTION"], *record["CONTEXTS"], record["LONG_ANSWER"])).encode()
        except UnicodeEncodeError as error:  # JSON can escape half a surrogate pair
            raise UserError(f"{path}: PMID {pmid}: not text ({error.reason})") from None
        if not record["QUESTION"].split():
            raise UserError(f"{path}: PMID {pmid}: QUESTION is empty")
        if labelled and record.get("final_decision") not in LABELS:
            raise UserError(
                f"{path}: PMID {pmid}: final_decision is {record.get('final_decision')!r}, "
                f"expected {', '.join(LABELS)}"
            )
    return records


def with_context(records: Mapping[str, Record]) -> dict[str, Record]:
    """The questions that have a text to answer them by."""
    return {pmid: r for pmid, r in records.items() if " ".join(r["CONTEXTS"]).split()}


def load_json(path: Path) -> dict[str, Any]:
    """An object with PMIDs as keys, none of them twice; raises UserError."""

    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
            raise UserError(f"{path}: {twice} is in it twice")
        return content

    try:
        text = path.read_text(encoding="utf-8-sig")  # a byte-order mark is no text
        content = json.loads(text, object_pairs_hook=without_duplicates)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: expected a JSON object with PMIDs as keys")
    return content


def read_artificial(path: Path) -> dict[str, dict[str, Record]]:
    """PQA-A's training and validation sets: the authors' two files, or theirs from
    ``ori_pqaa.json`` of a folder, divided as their script does with seed 0. Questions without
    any context are left out.

    Raises UserError; also for a file with no more than the questions to train on.
    """
    files = {"train": path / "pqaa_train_set.json", "validation": path / "pqaa_dev_set.json"}
    if all(file.is_file() for file in files.values()):
        return {split: with_context(load_records(file)) for split, file in files.items()}
    whole = path / "ori_pqaa.json" if path.is_dir() else path
    if not whole.is_file():
        raise UserError(f"{path}: neither ori_pqaa.json nor pqaa_train_set.json in it")
    records = load_records(whole)
    pmids = list(records)
    random.Random(0).shuffle(pmids)
    cut = NUM_ARTIFICIAL_TRAINING
    if len(pmids) <= cut:
        raise UserError(
            f"{whole}: {len(pmids)} questions, but PQA-A's official split trains on {cut} and "
            "validates on the rest; other files need pqaa_{train,dev}_set.json"
        )
    parts = {"train": pmids[:cut], "validation": pmids[cut:]}
    return {
        split: with_context({pmid: records[pmid] for pmid in part}) for split, part in parts.items()
    }


def read_unlabelled(path: Path, labels_file: Path) -> dict[str, dict[str, Record]]:
    """PQA-U's questions with labels from another file; those that it does not name are left out.

    The file is a JSON object of PMID to label, or to an object with `label` and `confidence`, as
    `mediswift label` writes it. Raises UserError.
    """
    whole = path / "ori_pqau.json" if path.is_dir() else path
    if not whole.is_file():
        raise UserError(f"{path}: no ori_pqau.json in it")
    records, given = load_records(whole, labelled=False), load_json(labels_file)
    labels = {p: v.get("label") if isinstance(v, dict) else v for p, v in given.items()}
    for pmid, label in labels.items():
        if label not in LABELS:
            raise UserError(f"{labels_file}: {pmid} is {label!r}, expected {', '.join(LABELS)}")
        if pmid not in records:
            raise UserError(f"{labels_file}: {pmid} is no question of {whole}")
    named = {pmid: r for pmid, r in with_context(records).items() if pmid in labels}
    return {"train": {p: {**record, "final_decision": labels[p]} for p, record in named.items()}}


def labelling(labels_file: Path) -> dict[str, Any]:
    """What stands beside a labels file about its making, under the key `labelling`."""
    note = labels_file.with_name(LABELLING_FILE)
    return {"labelling": load_json(note)} if note.is_file() else {}
