"""PubMedQA's other two parts: PQA-A, labelled by rule, and PQA-U, which a model labels.

Jin et al. (2019) train on both before PQA-L. Neither has a test set.
"""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelzoo_mediswift.errors import UserError

Record = dict[str, Any]
Load = Callable[[Path], dict[str, Record]]

SUBSETS = {
    "pqal": ("train", "validation", "test"),
    "pqaa": ("train", "validation"),
    "pqau": ("train",),
}
"""By name, the splits that each has."""
PQAA_COUNT = 211_269
PQAA_TRAIN = 200_000
LABELLED_FILE = "pqau_labelled.json"
LABELLING_FILE = "labelling.json"


def read_artificial(path: Path, load: Load) -> dict[str, dict[str, Record]]:
    """PQA-A's train and validation from a folder with ``pqaa_{train,dev}_set.json``, or with
    ``ori_pqaa.json`` of exactly the official questions, which is then split as the authors do."""
    files = {"train": path / "pqaa_train_set.json", "validation": path / "pqaa_dev_set.json"}
    if any(file.is_file() for file in files.values()):
        return {split: load(file) for split, file in files.items()}
    file = path / "ori_pqaa.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: neither pqaa_train_set.json nor ori_pqaa.json in it")
    records = load(file)
    if len(records) != PQAA_COUNT:
        raise UserError(
            f"{file}: {len(records):,} questions, but the official split is for PQA-A's "
            f"{PQAA_COUNT:,}; other files need pqaa_{{train,dev}}_set.json"
        )
    pmids = list(records)
    random.Random(0).shuffle(pmids)  # the seed of the official script
    parts = {"train": pmids[:PQAA_TRAIN], "validation": pmids[PQAA_TRAIN:]}
    return {split: {pmid: records[pmid] for pmid in part} for split, part in parts.items()}


def labelled_file(path: Path) -> Path:
    """PQA-U with a model's labels: `path`, or the file in it."""
    file = path / LABELLED_FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: no {LABELLED_FILE} (`mediswift label` writes it)")
    return file


def labelling(path: Path) -> dict[str, Any]:
    """Who labelled the questions of `path` and how, as `mediswift label` noted it beside them."""
    file = labelled_file(path).with_name(LABELLING_FILE)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{file}: not JSON ({error})") from None
    return content if isinstance(content, dict) else {}


def without_empty_contexts(records: Mapping[str, Record]) -> dict[str, Record]:
    """The questions that have a text to answer them by."""
    return {
        pmid: record for pmid, record in records.items() if " ".join(record["CONTEXTS"]).split()
    }
