"""Documents that share a long run of words with an evaluation's texts."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelzoo_mediswift.errors import UserError

NGRAM = 13
"""Words in a row that two texts share by accident hardly ever (GPT-3, appendix C)."""
_WORD = re.compile(r"[^\W_]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MAX_WORDS_REMEMBERED = 1 << 18

Hashes = NDArray[np.uint64]


class Shingler:
    """Hashes of the runs of `n` words in a text, without regard to case and punctuation."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._known: dict[str, int] = {}

    def words(self, text: str) -> list[str]:
        """The words that runs are made of."""
        return _WORD.findall(text.lower())

    def hashes(self, words: Sequence[str]) -> Hashes:
        """One 64-bit hash for each run; none if there are fewer than `n` words."""
        count = len(words) - self.n + 1
        if count < 1:
            return np.empty(0, np.uint64)
        known = self._known
        if len(known) > _MAX_WORDS_REMEMBERED:
            known.clear()
        numbers = np.fromiter(
            (known.get(w) or self._learn(w) for w in words), np.uint64, len(words)
        )
        result = np.zeros(count, np.uint64)
        with np.errstate(over="ignore"):
            for i in range(self.n):
                result = result * _MULTIPLIER + numbers[i : i + count]
        return result

    def _learn(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "little") | 1  # never 0, which `or` takes for unknown
        self._known[word] = number
        return number


class Contamination:
    """Tells which texts share a run of `ngram` words with the evaluation files."""

    def __init__(self, files: Iterable[Path], ngram: int = NGRAM) -> None:
        """Read the files (JSON, JSON lines, TSV, CSV or plain text); raises UserError."""
        self._shingler = Shingler(ngram)
        found = [np.empty(0, np.uint64)]
        for path in files:
            of_file = [self._hashes(text) for text in evaluation_texts(path)]
            if not any(len(hashes) for hashes in of_file):
                raise UserError(f"{path}: no text of {ngram} words or more in it")
            found += of_file
        self.hashes: Hashes = np.unique(np.concatenate(found))

    def touches(self, text: str) -> bool:
        """Whether `text` has one of the evaluation's runs of words."""
        if not len(self.hashes):
            return False
        hashes = self._hashes(text)
        at = np.searchsorted(self.hashes, hashes)
        at[at == len(self.hashes)] = 0
        return bool((self.hashes[at] == hashes).any())

    def _hashes(self, text: str) -> Hashes:
        return self._shingler.hashes(self._shingler.words(text))


def evaluation_texts(path: Path) -> Iterator[str]:
    """All strings in a JSON or JSON-lines file, the cells of a TSV or CSV, or the paragraphs.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            yield from _strings(json.loads(text))
        elif path.suffix == ".jsonl":
            for line in filter(str.strip, text.split("\n")):
                yield from _strings(json.loads(line))
        elif path.suffix == ".csv":
            for row in csv.reader(io.StringIO(text)):
                yield from row
        elif path.suffix == ".tsv":
            for line in text.split("\n"):
                yield from line.split("\t")
        else:
            yield from re.split(r"\n\s*\n", text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{path}: not a readable {path.suffix or 'text'} file ({error})") from None


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        # PubMedQA gives a context as a list of paragraphs: a run may go on in the next one.
        if value and all(isinstance(inner, str) for inner in value):
            yield " ".join(value)
        else:
            for inner in value:
                yield from _strings(inner)
