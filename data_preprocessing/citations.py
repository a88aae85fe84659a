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
_AFTER_ABBREVIATION = re.compile(rf"(?<=\.){DROPPED}\s*\.(?!\.)")
_ONE_STOP = re.compile(r"\.(?!\.)")
_BEFORE_SENTENCE = re.compile(rf"{DROPPED}\s*([.,;:?!])(?=[^\W\d_])")
_BEFORE_STOP = re.compile(rf"{DROPPED}\s*(?=[.,;:?!]|$)")
_BETWEEN_WORDS = re.compile(rf"{DROPPED}(?<=[\w.,;:?!)\]]{DROPPED})(?=[\w(\[“‘])")


def without_marks(text: str) -> str:
    """Remove the DROPPED marks with the brackets, commas and dashes that served only them.

    With * for the mark: "shown [*, *]." and "shown [*], [*]." become "shown."; "(*; see Fig. 1)"
    becomes "(see Fig. 1)"; "shown.*The next" becomes "shown. The next"; "Li et al. [*]." has one
    stop at its end.
    """
    if DROPPED not in text:
        return text
    closed = _simple_marks(text)
    return _all_marks(text) if closed is None else closed


# A group of marks, the bracket that closes around it, and what may follow: a stop, a word, the end.
# Repetitions are possessive (*+): nothing is scanned twice.
_GROUP = rf"{DROPPED}(?:{_SEPARATOR}*+{DROPPED})*+"
_WORD_NEXT = r"\s++(?:(?:and|to)\s++)?(?!(?:and|to)\b)\(?[^\W\d_]"
_SIMPLE_AFTER = (
    rf"(?:\s*+(?=[.:?!](?![^\W\d_{DROPPED}]))|\s*+(?=[,;]{_WORD_NEXT})|(?={_WORD_NEXT})|\s*+\Z)"
)
_BARE = re.compile(_GROUP + _SIMPLE_AFTER)
_BRACKETED = re.compile(rf"{_GROUP}{_SEPARATOR}*+[\])]{_SIMPLE_AFTER}")
_NOT_BEFORE = " ,;–—‒−-[(&"


def _simple_marks(text: str) -> str | None:
    """Do the same where each group of marks stands by itself between words; None where not.

    Nearly all paragraphs with citations are such, and no expression need search them through.
    """
    pieces: list[str] = []
    kept_to = 0
    mark = text.find(DROPPED)
    while mark >= 0:
        left = text[kept_to:mark].rstrip()
        last = left[-1:]
        if last == "[" or last == "(":
            left = left[:-1].rstrip()
            last = left[-1:]
            group = _BRACKETED.match(text, mark)
        else:
            group = _BARE.match(text, mark)
        if group is None or not last or last in _NOT_BEFORE:
            return None
        pieces.append(left)
        kept_to = group.end()
        if last == "." and _ONE_STOP.match(text, kept_to):
            kept_to += 1  # "et al. [*]."
        mark = text.find(DROPPED, kept_to)
    pieces.append(text[kept_to:])
    return "".join(pieces)


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
    text = _AFTER_ABBREVIATION.sub(DROPPED, text)
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
