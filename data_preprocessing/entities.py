"""Named character entities that only a DTD defines, resolved without the DTD."""

import re
from collections.abc import Mapping
from html.entities import html5
from types import MappingProxyType

# HTML 5 took over the ISO entity sets that the NLM and JATS document types use, except the
# Greek letters of ISO 8879 (isogrk1, "&agr;") and the bold ones of ISO 9573-13 ("&b.alpha;").
_GREEK_NAMES = "a b g d e z ee th i k l m n x o p r s sf t u ph kh ps oh"
_GREEK = dict(zip(_GREEK_NAMES.split(), "αβγδεζηθικλμνξοπρσςτυφχψω", strict=True))
_GREEK_CAPITALS = {
    name[0].upper() + name[1:]: letter.upper() for name, letter in _GREEK.items() if name != "sf"
}
_GREEK_CAPITALS |= {name.upper(): letter for name, letter in _GREEK_CAPITALS.items()}

_XML = frozenset((b"lt", b"gt", b"amp", b"quot", b"apos"))
_SPECIAL = str.maketrans({"&": "&#38;", "<": "&#60;", ">": "&#62;"})
# Inside CDATA and comments an ampersand is only an ampersand.
_REFERENCE = re.compile(
    rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->|&([A-Za-z][\w.-]*);", re.DOTALL | re.ASCII
)


_DECLARATION = re.compile(
    rb"""<!ENTITY\s+([A-Za-z][\w.-]*)\s+"""
    rb"""(?:"((?:[^"<&%]|&#x?[0-9A-Fa-f]+;){1,64})"|'((?:[^'<&%]|&#x?[0-9A-Fa-f]+;){1,64})')\s*>""",
    re.ASCII,
)
LONGEST_DECLARED = 64 * len(b"&#x10FFFF;")
"""Bytes of the longest text that `declared` takes."""


def declared(prolog: bytes) -> dict[bytes, bytes]:
    """Return {name: text} of the entities that a document type declares itself.

    Only short plain text: what holds markup or other entities is how bombs are built.
    """
    if b"<!ENTITY" not in prolog:
        return {}
    found: dict[bytes, bytes] = {}
    for name, double, single in _DECLARATION.findall(prolog):
        found.setdefault(name, double or single)  # XML: the first declaration binds
    return found


def character(name: str) -> str | None:
    """Return the text that `&name;` stands for, or None for a name in no known entity set."""
    text = html5.get(f"{name};")
    if text is None and name.startswith("b."):
        text = html5.get(f"{name[2:]};")
    if text is None and name.endswith("gr"):
        text = _GREEK.get(name[:-2]) or _GREEK_CAPITALS.get(name[:-2])
    return text


def resolve(
    document: bytes, known: Mapping[bytes, bytes] = MappingProxyType({})
) -> tuple[bytes, int]:
    """Replace the named entities in a UTF-8 document by their characters; `known` come first.

    Returns the document and the number of references with an unknown name, which are removed.
    XML's own five stay as they are.
    """
    unknown = 0

    def replacement(match: re.Match[bytes]) -> bytes:
        nonlocal unknown
        name = match[1]
        if name is None or name in _XML:
            return match[0]
        if name in known:
            return known[name]
        text = character(name.decode())
        if text is None:
            unknown += 1
            return b""
        return text.translate(_SPECIAL).encode()

    return _REFERENCE.sub(replacement, document), unknown
