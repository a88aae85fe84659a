"""Tables and reference lists cut out of an article's bytes before it is parsed.

They are half of the bytes of all articles and most of their elements, and none of it becomes
text. And a table of supplementary data can have millions of cells: parsed, each takes a hundred
times the memory of its bytes.
"""

import re

_PARAGRAPH = re.compile(rb"<p[\s>/]")
_REFERENCE = re.compile(rb"<ref(?:\s[^<>]*?)?\sid\s*=\s*(?:\"[^\"<]*\"|'[^'<]*')")
_AFTER_NAME = (b">", b" ", b"\t", b"\r", b"\n", b"/")


def without_unread(article: bytes, *, tables: bool = True) -> bytes:
    """Return the article with its reference lists, and `tables`, reduced to what is counted.

    That is an empty `<p/>` for each paragraph, and each reference's id. What holds comments or
    does not match (an end tag is missing) stays as it is.
    """
    article = _reduced(article, b"ref-list", references=True)
    return _reduced(article, b"table", references=False) if tables else article


def _reduced(article: bytes, name: bytes, *, references: bool) -> bytes:
    opening = b"<" + name
    pieces: list[bytes] = []
    kept_to = 0
    start = _find_tag(article, opening, 0, len(article))
    while start >= 0:
        end = _end(article, name, start)
        if end < 0:
            break
        if not (_has(article, b"!", start, end) or _has(article, b"?", start, end)):
            pieces.append(article[kept_to:start])
            pieces.append(opening + b">")
            if references:
                pieces += [ref + b"/>" for ref in _REFERENCE.findall(article, start, end)]
            paragraphs = len(_PARAGRAPH.findall(article, start, end))
            pieces.append(b"<p/>" * paragraphs + b"</" + name + b">")
            kept_to = end
        start = _find_tag(article, opening, end, len(article))
    return b"".join([*pieces, article[kept_to:]]) if pieces else article


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


def _end(article: bytes, name: bytes, start: int) -> int:
    """Return where the element that begins at `start` ends, or -1 if that cannot be told."""
    opening, closing = b"<" + name, b"</" + name
    close = article.find(b">", start)
    if close < 0 or article[close - 1 : close] == b"/":
        return close + 1 or -1
    depth, position = 1, close
    while depth:
        end = _find_tag(article, closing, position, len(article))
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
