"""The tasks by the name that configuration and command line use."""

import inspect
from collections.abc import Callable
from typing import Any

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.base import Task
from modelzoo_mediswift.tasks.hoc import HocDocuments
from modelzoo_mediswift.tasks.hoc_sentence import HocSentences
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA

TASKS: dict[str, Callable[..., Task]] = {
    "pubmedqa": PubMedQA,
    "hoc": HocDocuments,
    "hoc_sentence": HocSentences,
}


def make_task(name: str, **options: Any) -> Task:
    """The task, with those options that are not None. Raises UserError for names it lacks."""
    if name not in TASKS:
        raise UserError(f"no task {name!r}, expected {', '.join(TASKS)}")
    known = inspect.signature(TASKS[name]).parameters
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in known:
            raise UserError(f"{name}: has no option {key}; it has {', '.join(known)}")
    return TASKS[name](**given)
