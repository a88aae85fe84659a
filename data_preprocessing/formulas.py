"""Formulas as text on one line: TeX without its document, MathML by its own text."""

import re
from collections.abc import Callable
from typing import Any

from data_preprocessing.inline_text import collapse, local_name

FORMULA_MARKER = "[formula]"
"""Stands for a formula that is given only as a picture."""

_TEX_DOCUMENT = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)
_TEX_DELIMITERS = re.compile(r"^(?:\$+|\\\[|\\\()|(?:\$+|\\\]|\\\))$")


def tex_text(source: str) -> str:
    """Return a TeX formula between dollar signs, without the LaTeX document around it."""
    document = _TEX_DOCUMENT.search(source)
    formula = collapse(document[1] if document else source)
    formula = _TEX_DELIMITERS.sub("", formula).strip()
    return f"${formula}$" if formula else ""


_WORD_END = re.compile(r"[A-Za-z]{2}$")
_WORD_START = re.compile(r"[A-Za-z]{2}")
_SIMPLE = re.compile(r"[\w.]*$")
_INVISIBLE = dict.fromkeys(map(ord, "\u2061\u2062\u2063\u2064\u200b"))
_WHITE_SPACE = " \t\r\n\xa0" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
_OPENING = "([{"
_CLOSING = ".,;:!?)]}"
_TOKENS = frozenset(("mi", "mn", "mo", "ms", "mtext"))
_SCRIPTED = frozenset(("msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts"))


def _grouped(text: str) -> str:
    return text if _SIMPLE.match(text) else f"({text})"


def math_text(element: Any, before: str = "", after: str = "") -> str:
    """Return a MathML element on one line: its own text, with / and ^ where position was meaning.

    Layout white space in the source is ignored; `mtext`, `mspace` and tokens of nothing but a
    blank keep theirs. At the ends it counts too, where the text `before` and `after` goes on with
    more than a bracket or a stop.
    """
    text = re.sub(r"\s+", " ", _math(element))
    if not before or before[-1] in _OPENING:
        text = text.lstrip()
    if not after or after[0] in _CLOSING:
        text = text.rstrip()
    return text if text.strip() else ""


def _math(element: Any) -> str:
    return _MATH_RULES.get(local_name(element), _row)(element)


def _row(element: Any) -> str:
    return _joined(element, " ")


def _scripts(element: Any) -> str:
    return _joined(element, "")  # an empty token is what a script without a base stands beside


def _joined(element: Any, blank: str) -> str:
    joined = previous = ""
    for child in element:
        part = _math(child) or (blank if _is_blank_token(child) else "")
        if _WORD_END.search(previous) and _WORD_START.match(_base(child, part)):
            joined += " "  # two names in a row: "Peak Diameter"
        joined += part
        previous = part
    return joined


def _is_blank_token(element: Any) -> bool:
    """Tell whether a token is there only for its blank, which the file may have lost since."""
    is_token = local_name(element) in _TOKENS and len(element) == 0
    return is_token and not (element.text or "").strip(_WHITE_SPACE)


def _base(element: Any, text: str) -> str:
    """Return what a part of a row begins with: of R with an index, not more than R."""
    has_script = local_name(element) in _SCRIPTED and len(element) > 0
    # Its plain text: to write it a second time at each level would take for ever.
    return "".join(element[0].itertext()).lstrip() if has_script else text


def _parts(element: Any) -> list[str]:
    return [_math(child) for child in element]


def _token(element: Any) -> str:
    text = "".join(element.itertext()) if len(element) else element.text or ""
    return collapse(text.translate(_INVISIBLE))


def _words(element: Any) -> str:
    return re.sub(r"\s+", " ", "".join(element.itertext()).translate(_INVISIBLE))


def _fraction(element: Any) -> str:
    return "/".join(_grouped(part.strip()) for part in _parts(element))


def _power(element: Any) -> str:
    base, *rest = _parts(element) or [""]
    exponent = "".join(rest).strip()
    if not any(character.isalnum() for character in exponent):
        return base + exponent  # a prime, an asterisk, a charge
    return f"{base}^{_grouped(exponent)}"


def _sub_and_power(element: Any) -> str:
    base, *rest = _parts(element) or [""]
    if len(rest) < 2:
        return base
    return base + rest[0].strip() + "^" + _grouped("".join(rest[1:]).strip())


def _root(element: Any) -> str:
    parts = _parts(element)
    if local_name(element) == "mroot" and len(parts) > 1:
        return f"{parts[1]}√({parts[0]})"
    return "√(" + "".join(parts) + ")"


def _fenced(element: Any) -> str:
    separators = element.get("separators", ",").split()
    inside = (separators[0] if separators else "").join(_parts(element))
    return element.get("open", "(") + inside + element.get("close", ")")


def _table_part(element: Any) -> str:
    return " ".join(_parts(element))


def _first_child(element: Any) -> str:
    return _math(element[0]) if len(element) else ""


def _nothing(_: Any) -> str:
    return ""


def _space(_: Any) -> str:
    return " "


_MATH_RULES: dict[str, Callable[[Any], str]] = {
    "mi": _token,
    "mn": _token,
    "mo": _token,
    "ms": _token,
    "mtext": _words,
    **dict.fromkeys(("msub", "munder", "mover", "munderover", "mmultiscripts"), _scripts),
    "mspace": _space,
    "mfrac": _fraction,
    "msup": _power,
    "msubsup": _sub_and_power,
    "msqrt": _root,
    "mroot": _root,
    "mfenced": _fenced,
    "mtable": _table_part,
    "mtr": _table_part,
    "semantics": _first_child,
    "annotation": _nothing,
    "annotation-xml": _nothing,
}
