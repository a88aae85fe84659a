"""The Hallmarks of Cancer and their targets: what the task's two forms share."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from modelzoo_mediswift.errors import UserError

HALLMARKS = (  # the digits 0 to 9 of the files, in this order
    "activating invasion and metastasis",
    "avoiding immune destruction",
    "cellular energetics",
    "enabling replicative immortality",
    "evading growth suppressors",
    "genomic instability and mutation",
    "inducing angiogenesis",
    "resisting cell death",
    "sustaining proliferative signaling",
    "tumor promoting inflammation",
)


class HallmarkTask:
    """Examples with several hallmarks each, told in one sentence."""

    labels: tuple[str, ...]
    nothing: str
    """What stands for no hallmark at all."""
    room_labels: int
    """Hallmarks that a generated target has room for."""
    exclusive = False
    num_virtual_tokens = 1
    free_tokens = 0

    def __init__(
        self,
        *,
        source_form: str = "{text} ",
        target_form: str = "the type of this document is {label}.",
    ) -> None:
        """`{label}` becomes the labels joined by `|`, always in the order of `labels`."""
        self.source_form, self.target_form = source_form, target_form
        self._parser = LabelParser(target_form, (*HALLMARKS, self.nothing))

    def target_text(self, label: str) -> str:
        """The target for one or more labels joined by `|`."""
        return self.target_form.format(label=label)

    def longest_target(self) -> str:
        longest = sorted(HALLMARKS, key=len, reverse=True)[: self.room_labels]
        return self.target_text("|".join(longest))

    def answers(self) -> tuple[str, ...]:
        """All sets of up to `room_labels` hallmarks, and none."""
        return (*label_sets(HALLMARKS, self.room_labels), self.nothing)

    def said(self, generated: str) -> tuple[str, ...] | None:
        """The labels in a generated target, `nothing` among them, in the fixed order."""
        return self._parser.labels(generated)


def label_sets(labels: Sequence[str], most: int) -> tuple[str, ...]:
    """All sets of 1 to `most` labels, each in the order of `labels` and joined by `|`."""
    return tuple(
        "|".join(chosen) for size in range(1, most + 1) for chosen in combinations(labels, size)
    )


class LabelParser:
    """Reads `a|b` off a generated sentence that says it as `target_form` does."""

    def __init__(self, target_form: str, labels: Iterable[str]) -> None:
        before, found, _ = target_form.partition("{label}")
        if not found:
            raise UserError(f"target_form has no {{label}} in it: {target_form!r}")
        self._labels = tuple(labels)
        lead_in = r"\s+".join(map(re.escape, before.split()[-2:]))
        self._answer = re.compile(rf"{lead_in}\s*([^.]+)", re.IGNORECASE)

    def labels(self, generated: str) -> tuple[str, ...] | None:
        """The known labels in the first such sentence, in their fixed order; None if none."""
        found = self._answer.search(generated)
        said = {" ".join(name.lower().split()) for name in found[1].split("|")} if found else set()
        return tuple(label for label in self._labels if label in said) or None


def refuse_same_file(files: Mapping[str, Path]) -> None:
    """Raises UserError if validation and test hold the same bytes: nothing could be chosen on the
    one without choosing on the other."""
    one, other = files.get("validation"), files.get("test")
    if one and other and one.read_bytes() == other.read_bytes():
        raise UserError(
            f"{one}: the same as {other.name}, so there is nothing to choose a model on; remove "
            f"{one.name} to have {files['train'].name} divided where the task can, or give another"
        )


def read_text(file: Path) -> str:
    """The whole of a UTF-8 file; raises UserError."""
    try:
        return file.read_text(encoding="utf-8-sig")  # a byte-order mark is no text
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 ({error})") from None
