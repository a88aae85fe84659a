"""The tasks by the name that configuration and command line use."""

from collections.abc import Callable

from modelzoo_mediswift.tasks.base import Task
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA

TASKS: dict[str, Callable[..., Task]] = {
    "pubmedqa": PubMedQA,
}
