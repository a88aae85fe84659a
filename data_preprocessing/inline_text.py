"""Running text out of inline markup: white space, styles, superscripts."""

import re
import unicodedata
from typing import Any

# Soft hyphens, marks of writing direction, zero-width spaces and byte-order marks: they say how a
# page is set, and would cut a word into tokens of their own.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")


def collapse(text: str) -> str:
    """Return `text` in NFC with every run of white space (also no-break and thin) as one space,
    and without invisible marks."""
    text = text.strip()
    if text.isascii():  # most lines; to search for what XML allows is faster than to look at all
        if "  " in text or "\n" in text or "\t" in text or "\r" in text:
            text = " ".join(text.split())
        return text
    if not text.isprintable():  # no white space but the blank is printable
        text = text.replace("\xa0", " ").replace("\u2009", " ").replace("\n", " ")
        if not text.isprintable():
            text = " ".join(_INVISIBLE.sub("", text).split())
    if "  " in text:
        text = " ".join(text.split())
    return unicodedata.normalize("NFC", text)


def first_child(element: Any, name: str) -> Any:
    """Return an element's first child of this name, or None: `find` without reading a path."""
    return next(element.iterchildren(name), None)


def local_name(element: Any) -> str:
    """Return an element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


_TEN = re.compile(r"(?<![\d.,])10$")
_EXPONENT = re.compile(r"[-−–+]?\d+$")


def superscript(before: list[str], text: str) -> str:
    """Return a superscript's text as it continues `before`.

    A power of ten keeps a caret ("10^6"): "106" would be another number. All else is set as it
    is in PubMed's own plain text ("cm2", "Ca2+").
    """
    if _EXPONENT.match(text.strip()) and _TEN.search("".join(before[-2:])[-8:]):
        return "^" + text.strip()
    return text


_RUN_IN = re.compile(r"[.:]\s*$|\w \w+$")
_NEXT_SENTENCE = re.compile(r"[A-Z][a-z]")


def needs_space(styled: str, after: str) -> bool:
    """Tell whether a run-in heading and the text after it are set without a space.

    "<bold>Key words:</bold>Aphthous", but not "<italic>ez</italic>Parent".
    """
    return bool(_NEXT_SENTENCE.match(after) and _RUN_IN.search(styled))
