"""Number citations: which they are, and how a sentence closes up where one is left out."""

import re

DROPPED = "\x01"
"""Marks, while a paragraph is put together, where a reference mark was left out.

XML cannot contain this character.
"""

_SEPARATOR = r"[\s,;–—‒−\-]"
_LEAD_IN = (
    r"(?:(?:for [\w\s]{1,40},? )?see(?: also)?|e\.g\.,?|eg,?|i\.e\.,?|cf\.?|reviewed (?:in|by)"
    r"|refs?\.?|references?|and|in|from|by|also|as in|ibid\.?)"
)
_BRACKET_DEPTH = 4  # brackets in brackets: "(e.g. [*], [*])"
_BESIDE = re.compile(rf"{DROPPED}(?:{_SEPARATOR}|and\b|&|to\b)*(?={DROPPED})")
_IN_BRACKETS = re.compile(
    rf"[\[(](?:{_SEPARATOR}|\b{_LEAD_IN}(?=[\s{DROPPED}]))*"
    rf"{DROPPED}(?:{_SEPARATOR}|\d|{DROPPED})*[\])]",
    re.IGNORECASE,
)
_OPENING = re.compile(rf"([\[(]){DROPPED}\s*[,;:]?\s*")
_CLOSING = re.compile(rf"[,;:]?{DROPPED}\s*([\])])")
_BETWEEN_STOPS = re.compile(rf"[,;]{DROPPED}(?=\s*[.,;:?!])")
_BEFORE_SENTENCE = re.compile(rf"{DROPPED}\s*([.,;:?!])(?=[^\W\d_])")
_BEFORE_STOP = re.compile(rf"{DROPPED}\s*(?=[.,;:?!]|$)")
_BETWEEN_WORDS = re.compile(rf"{DROPPED}(?<=[\w.,;:?!)\]]{DROPPED})(?=[\w(\[“‘])")


def without_marks(text: str) -> str:
    """Remove the DROPPED marks with the brackets, commas and dashes that served only them.

    With * for the mark: "shown [*, *]." and "shown [*], [*]." become "shown."; "(*; see Fig. 1)"
    becomes "(see Fig. 1)"; "shown.*The next" becomes "shown. The next".
    """
    if DROPPED not in text:
        return text
    closed = _simple_marks(text)
    return _all_marks(text) if closed is None else closed


# What may follow the marks (or the bracket that closes around them) for `_simple_marks`.
_SIMPLE_AFTER = re.compile(
    r"\s*[.:?!](?![^\W\d_])|(?:\s*[,;])?\s+(?!(?:and|to)\b)(?=[^\W\d_])|\s*\Z"
)
_SEPARATORS = " ,;–—‒−-\t\n\r\xa0\u2009"
_NOT_BEFORE = _SEPARATORS + "[(&"


def _simple_marks(text: str) -> str | None:
    """Do the same where each group of marks stands by itself between words; None where not.

    Nine of ten paragraphs with citations are such, and no expression need search them through.
    """
    parts = text.split(DROPPED)
    last = len(parts) - 1
    left, position = parts[0], 0  # a mark stands after each part but the last
    pieces: list[str] = []
    while position < last:
        left = left.rstrip()
        bracket = left[-1:] in ("[", "(")
        if bracket:
            left = left[:-1].rstrip()
        if not left or left[-1] in _NOT_BEFORE:
            return None
        pieces.append(left)
        position += 1
        while position < last and not parts[position].strip(_SEPARATORS):
            position += 1
        right = parts[position]
        if bracket:
            right = right.lstrip(_SEPARATORS)
            if right[:1] not in ("]", ")"):
                return None
            right = right[1:]
        after = _SIMPLE_AFTER.match(right)
        if after is None or (position < last and after.end() == len(right)):
            return None
        left = right.lstrip() if after[0].strip() else right
    return "".join([*pieces, left])


def _all_marks(text: str) -> str:
    for _ in range(_BRACKET_DEPTH):
        # Without the space before each mark no pattern starts with a space: several times faster.
        *parts, last = text.split(DROPPED)
        text = DROPPED.join([part.rstrip() for part in parts] + [last])
        before = _BESIDE.sub("", text)
        text = _IN_BRACKETS.sub(DROPPED, before)
        if text == before:
            break
    text = _OPENING.sub(r"\1", text)
    text = _CLOSING.sub(r"\1", text)
    text = _BETWEEN_STOPS.sub("", text)
    text = _BEFORE_SENTENCE.sub(r"\1 ", text)
    text = _BEFORE_STOP.sub("", text)
    text = _BETWEEN_WORDS.sub(" ", text)
    return text.replace(DROPPED, "")


_YEAR = re.compile(r"(?<!\d)(?:1[89]|20)\d\d(?!\d)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LETTER_ALONE = re.compile(r"\s*[a-z]\s*$")


def is_number_citation(text: str) -> bool:
    """Tell "12", "[3-5]", "7a" or "*" from a citation that reads: "Smith et al.", "2004", "b"."""
    if len(text) < 4 and text.isdecimal():
        return True
    words = [word for word in _WORD.findall(text) if word.lower() not in ("and", "to", "ref")]
    return not words and not _YEAR.search(text) and not _LETTER_ALONE.match(text)
