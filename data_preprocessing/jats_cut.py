"""Tables and reference lists cut out of an article's bytes before it is parsed.

They are half of the bytes of all articles and most of their elements, and none of it becomes
text. And a table of supplementary data can have millions of cells: parsed, each takes a hundred
times the memory of its bytes.
"""

import re
from collections.abc import Iterator
from operator import itemgetter

_PARAGRAPH = re.compile(rb"<p[\s>/]")
_REFERENCE = re.compile(rb"<ref(?:\s[^<>]*?)?\sid\s*=\s*(?:\"[^\"<]*\"|'[^'<]*')")
_AFTER_NAME = (b">", b" ", b"\t", b"\r", b"\n", b"/")


def without_unread(
    document: bytes, start: int = 0, end: int | None = None, *, tables: bool = True
) -> bytes:
    """Return a slice, an article, with its reference lists and `tables` reduced to what is counted.

    That is an empty `<p/>` for each paragraph, and each reference's id. What holds comments or
    does not match (an end tag is missing) stays as it is.
    """
    end = len(document) if end is None else end
    names = (b"ref-list", b"table") if tables else (b"ref-list",)
    view = memoryview(document)
    pieces: list[bytes | memoryview] = []
    kept_to = start
    for name, begin, after in _elements(document, names, start, end):
        if not (_has(document, b"!", begin, after) or _has(document, b"?", begin, after)):
            pieces += [view[kept_to:begin], _reduced(document, name, begin, after)]
            kept_to = after
    return b"".join([*pieces, view[kept_to:end]])


def _reduced(document: bytes, name: bytes, start: int, end: int) -> bytes:
    references = _REFERENCE.findall(document, start, end) if name == b"ref-list" else []
    paragraphs = len(_PARAGRAPH.findall(document, start, end))
    inside = b"".join([reference + b"/>" for reference in references]) + b"<p/>" * paragraphs
    return b"<%s>%s</%s>" % (name, inside, name)


def _elements(
    document: bytes, names: tuple[bytes, ...], start: int, end: int
) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of the elements of these names in a slice, none inside another.

    Of a name, those after one whose end cannot be told are left out.
    """
    ahead = {name: _find_tag(document, b"<" + name, start, end) for name in names}
    while ahead := {name: begin for name, begin in ahead.items() if begin >= 0}:
        name, begin = min(ahead.items(), key=itemgetter(1))
        after = _end(document, name, begin, end)
        if after < 0:
            del ahead[name]
            continue
        yield name, begin, after
        for other, position in ahead.items():
            if position < after:
                ahead[other] = _find_tag(document, b"<" + other, after, end)


def _has(article: bytes, sign: bytes, start: int, end: int) -> bool:
    """Tell whether a tag with this sign begins in a slice: a comment, CDATA, an instruction."""
    position = article.find(sign, start, end)  # of one byte: many times as fast as of two
    while position >= 0:
        if article[position - 1 : position] == b"<":
            return True
        position = article.find(sign, position + 1, end)
    return False


def _find_tag(article: bytes, tag: bytes, start: int, end: int) -> int:
    """Return where `tag`, as a whole name, begins, or -1."""
    position = article.find(tag, start, end)
    while position >= 0:
        after = position + len(tag)
        if article[after : after + 1] in _AFTER_NAME:
            return position
        position = article.find(tag, after, end)
    return -1


def _end(article: bytes, name: bytes, start: int, limit: int) -> int:
    """Return where the element that begins at `start` ends, or -1 if that cannot be told."""
    opening, closing = b"<" + name, b"</" + name
    close = article.find(b">", start)
    if close < 0 or article[close - 1 : close] == b"/":
        return close + 1 or -1
    depth, position = 1, close
    while depth:
        end = _find_tag(article, closing, position, limit)
        if end < 0:
            return -1
        inner = _find_tag(article, opening, position, end)
        while inner >= 0:
            close = article.find(b">", inner)
            depth += article[close - 1 : close] != b"/"
            inner = _find_tag(article, opening, close, end)
        depth -= 1
        position = article.find(b">", end)
        if position < 0:
            return -1
    return position + 1
