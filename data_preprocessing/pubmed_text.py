"""The text of PubMed's titles and abstracts."""

import re
from collections import Counter
from typing import Any

from lxml import etree

from data_preprocessing.formulas import math_text
from data_preprocessing.inline_text import collapse, local_name, superscript
from data_preprocessing.notices import without_notice

_TRUNCATED = re.compile(r"\s*\(\s*ABSTRACT TRUNCATED(?: AT \d+ WORDS)?\s*\)\s*$", re.IGNORECASE)
# What NLM writes where a title is missing.
_NO_TITLE = frozenset(("not available", "in process citation", "no title available", "untitled"))


def abstract_text(abstract: Any, counts: Counter[str]) -> str:
    """Return the paragraphs of an `Abstract`, one in a line, with their labels."""
    paragraphs = []
    labelled = False
    for part in _abstract_parts(abstract, counts):
        said = _plain_text(part)
        text = without_notice(said)
        counts["copyright_notice"] += text is not said
        if not text:
            continue
        label = collapse(part.get("Label") or "").rstrip(":").rstrip()
        if label and label.upper() != "UNLABELLED":
            labelled = True
            if not text.upper().startswith(label.upper() + ":"):
                text = f"{label}: {text}"
        paragraphs.append(text)
    if labelled:
        counts["structured_abstract"] += 1
    if paragraphs and paragraphs[-1].endswith(")") and _TRUNCATED.search(paragraphs[-1]):
        counts["truncated_abstract"] += 1
        paragraphs[-1] = _TRUNCATED.sub("", paragraphs[-1])
    return "\n".join(filter(None, paragraphs))


def _abstract_parts(abstract: Any, counts: Counter[str]) -> list[Any]:
    """The AbstractText elements. Files made by hand have text beside or instead of them, which
    NLM's DTD has no place for: each stretch of it stands in an element of its own."""
    parts: list[Any] = abstract.findall("AbstractText")
    if parts and not any(map(_says, [abstract.text, *[part.tail for part in parts]])):
        return parts
    found = [_stretch(abstract.text)]
    for child in list(abstract):
        if child.tag in ("AbstractText", "CopyrightInformation"):
            found += [child, _stretch(child.tail)]
        else:
            found[-1].append(child)  # with what follows it
    counts["loose_abstract_text"] += any(_plain_text(stretch) for stretch in found[::2])
    return [part for part in found if part.tag == "AbstractText"]


def _says(text: str | None) -> bool:
    return text is not None and not text.isspace()


def _stretch(text: str | None) -> Any:
    part = etree.Element("AbstractText")
    part.text = text
    return part


def _plain_text(element: Any) -> str:
    """Return the text of an element with inline markup: styles, sub- and superscripts, MathML."""
    if len(element) == 0:
        return collapse(element.text or "")
    pieces: list[str] = []
    _gather(element, pieces)
    return collapse("".join(pieces))


def _gather(element: Any, pieces: list[str]) -> None:
    pieces.append(element.text or "")
    for child in element:
        name = local_name(child)
        if name == "math":
            pieces.append(math_text(child, pieces[-1], child.tail or ""))
        elif name == "sup":
            inner: list[str] = []
            _gather(child, inner)
            pieces.append(superscript(pieces, "".join(inner)))
        elif name in ("br", "break"):
            pieces.append(" ")
        else:
            _gather(child, pieces)
        pieces.append(child.tail or "")


def title_text(element: Any) -> str:
    """Return a title, or nothing where NLM says that there is none."""
    title = _without_brackets(_plain_text(element))
    return "" if title.rstrip(".").lower() in _NO_TITLE else title


def _without_brackets(title: str) -> str:
    """Return "Title." for "[Title.]" or "[Title].", NLM's mark of a translated title."""
    inside = title.removesuffix(".")
    if not (inside.startswith("[") and inside.endswith("]")):
        return title
    depth = 0
    for position, character in enumerate(inside):
        depth += (character == "[") - (character == "]")
        if depth == 0 and position < len(inside) - 1:
            return title  # "[3H]dopamine ... [abstract]": two brackets, not one around all
    inner = inside[1:-1].strip()
    return inner if not inner or inner[-1] in ".?!" else inner + "."
