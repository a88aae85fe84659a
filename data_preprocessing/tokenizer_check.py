"""How far our Moses agrees with the reference, and what survives encoding and decoding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import takewhile

from tokenizers import Tokenizer
from tqdm import tqdm

from data_preprocessing.moses import LONGEST_ABBREVIATION, REACH, moses_tokens
from modelzoo_mediswift.errors import UserError

_KINDS: dict[str, re.Pattern[str]] = {
    # The reference replaces `...` by DOTDOTDOTMULTI and back, and takes the text's own for it.
    "the text holds Moses' placeholder for periods": re.compile(r"(?:DOT)+MULTI"),
    f"more than {REACH} apostrophes or commas in a chain": re.compile(
        rf"(?:'.?){{{REACH},}}|,{{{REACH},}}"
    ),
    f"a word of more than {LONGEST_ABBREVIATION} characters with periods": re.compile(
        rf"[^\s.]\S{{{LONGEST_ABBREVIATION - 1},}}\.(?!\S)"
    ),
}
_OTHER = "not explained"


@dataclass
class Difference:
    """One kind of difference."""

    lines: int
    ours: list[str]
    """Our tokens around the first difference of the first such line."""
    reference: list[str]


@dataclass
class Comparison:
    """Our pre-tokens against sacremoses', line by line."""

    lines: int = 0
    tokens: int = 0
    """The reference's."""
    differing_lines: int = 0
    differing_tokens: int = 0
    """Those of the reference that have no counterpart among ours."""
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def share_of_equal_lines(self) -> float:
        return 1 - self.differing_lines / self.lines if self.lines else 1.0


def compare_with_sacremoses(lines: Iterable[str]) -> Comparison:
    """Compare `moses_tokens` with `tokenizer.perl -l en -a` as sacremoses has it, escapes included.

    Empty lines do not count. Raises UserError if sacremoses is not installed.
    """
    reference = _sacremoses()
    comparison = Comparison()
    for line in tqdm(lines, desc="compare", unit="line", disable=None):
        for part in line.split("\n"):
            if part.strip():
                _add(comparison, part, moses_tokens(part), reference(part))
    return comparison


def _sacremoses() -> Callable[[str], list[str]]:
    try:
        from sacremoses import MosesTokenizer
    except ImportError:
        raise UserError(
            "the comparison needs sacremoses; install it with: pip install sacremoses"
        ) from None
    tokenizer = MosesTokenizer("en")
    return lambda line: tokenizer.tokenize(line, aggressive_dash_splits=True, escape=True)


def _add(comparison: Comparison, line: str, ours: list[str], reference: list[str]) -> None:
    comparison.lines += 1
    comparison.tokens += len(reference)
    if ours == reference:
        return
    comparison.differing_lines += 1
    blocks = SequenceMatcher(None, ours, reference, autojunk=False).get_matching_blocks()
    comparison.differing_tokens += len(reference) - sum(block.size for block in blocks)
    kind = next((kind for kind, pattern in _KINDS.items() if pattern.search(line)), _OTHER)
    if kind in comparison.differences:
        comparison.differences[kind].lines += 1
    else:
        pairs = zip(ours, reference, strict=False)
        start = max(0, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) - 2)
        comparison.differences[kind] = Difference(
            1, ours[start : start + 8], reference[start : start + 8]
        )


def format_comparison(comparison: Comparison) -> str:
    """The comparison as lines of text, with an example for each kind of difference."""
    c = comparison
    rows = [
        f"lines compared with sacremoses: {c.lines:,} ({c.tokens:,} tokens)",
        f"lines with equal tokens: {c.lines - c.differing_lines:,} ({c.share_of_equal_lines:.4%})",
        f"tokens that differ: {c.differing_tokens:,}",
    ]
    for kind, difference in c.differences.items():
        rows += [
            f"  {kind}: {difference.lines:,} lines, such as",
            f"    ours       {' '.join(difference.ours)}",
            f"    sacremoses {' '.join(difference.reference)}",
        ]
    return "\n".join(rows)


@dataclass
class RoundTrip:
    """What `decode(encode(text))` gives back."""

    texts: int = 0
    same_characters: int = 0
    """Texts that come back unchanged if white space is left out of account."""
    same_words: int = 0
    """Texts that come back unchanged if runs of white space count as one blank."""
    words: int = 0
    wrong_spacing: Counter[str] = field(default_factory=Counter)
    """How often a blank was added ("a_b": between a and b) or lost ("ab")."""


def measure_round_trip(tokenizer: Tokenizer, texts: Iterable[str]) -> RoundTrip:
    """Encode and decode each text, and count what does not come back."""
    result = RoundTrip()
    for text in tqdm(texts, desc="round trip", unit="text", disable=None):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        before, after = text.split(), tokenizer.decode(ids).split()
        result.texts += 1
        result.words += len(before)
        result.same_words += before == after
        if "".join(before) == "".join(after):
            result.same_characters += 1
            result.wrong_spacing.update(_wrong_spacing(" ".join(before), " ".join(after)))
    return result


def _wrong_spacing(before: str, after: str) -> Iterable[str]:
    """Places where two texts, equal but for blanks, differ: "a_b" added, "ab" lost."""
    i = 0
    for j, character in enumerate(after):
        if before[i] == character:
            i += 1
        elif character == " ":
            yield f"{after[j - 1]}_{after[j + 1]}"
        else:
            yield f"{before[i - 1]}{before[i + 1]}"
            i += 2


def format_round_trip(result: RoundTrip) -> str:
    """The round trip as lines of text."""
    texts, words = max(1, result.texts), max(1, result.words)
    wrong = result.wrong_spacing.total()
    frequent = ", ".join(f"{pair} {count:,}" for pair, count in result.wrong_spacing.most_common(8))
    return "\n".join(
        [
            f"texts encoded and decoded: {result.texts:,}",
            f"same but for white space: {result.same_characters:,} "
            f"({result.same_characters / texts:.4%})",
            f"same, white space included: {result.same_words:,} ({result.same_words / texts:.1%})",
            f"blanks added or lost: {wrong:,} ({1000 * wrong / words:.1f} in 1,000 words)"
            + (f"; most frequent: {frequent}" if frequent else ""),
        ]
    )
