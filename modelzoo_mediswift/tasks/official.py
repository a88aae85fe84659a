"""Predictions in the forms that the benchmarks' own scripts read."""

from __future__ import annotations

import json
from collections.abc import Mapping

from modelzoo_mediswift.tasks.hoc import NONE

UNPARSED = "unparsed"
"""Stands for an answer without a label: a wrong one, and a class of its own. PubMedQA's script
does not take null."""


def predictions_json(predictions: Mapping[str, str | None]) -> str:
    """PubMedQA's form: one object, id to label."""
    return json.dumps({key: label or UNPARSED for key, label in predictions.items()}, indent=1)


def blue_table(labels: Mapping[str, str | None]) -> str:
    """The form of BLUE's ``eval_hoc.py``, which takes one such file of gold labels and one of
    predictions: an index of document and sentence, and labels joined by commas.

    The script unites a document's sentences, so each document is one here.
    """
    rows = [
        f"{pmid}_s0\t{'' if names in (None, NONE) else names.replace('|', ',')}\n"
        for pmid, names in labels.items()
    ]
    return "index\tlabels\n" + "".join(rows)
