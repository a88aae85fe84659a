"""Tables cut out of an article's bytes before it is parsed.

A table of supplementary data can have millions of cells; parsed, each takes a hundred times the
memory of its bytes, and none of it becomes text.
"""

import re

LARGE = 2 << 20
"""Only articles of so many bytes are worth a look; nearly all are smaller."""
_TAG = re.compile(rb"<(/?)table(?=[\s>])")
_PARAGRAPH = re.compile(rb"<p(?=[\s>/])")


def without_tables(article: bytes) -> tuple[bytes, int]:
    """Return the article without its ``<table>`` elements, and how many `<p>` they held.

    The bytes are returned as they are where tags cannot be told from text (comments, CDATA) or do
    not match.
    """
    if b"<!--" in article or b"<![CDATA[" in article:
        return article, 0
    pieces: list[bytes] = []
    kept_to = depth = paragraphs = start = 0
    for tag in _TAG.finditer(article):
        if not tag[1]:
            start = start if depth else tag.start()
            depth += 1
        elif depth == 0:
            return article, 0
        else:
            depth -= 1
            if depth == 0:
                end = article.find(b">", tag.end()) + 1
                paragraphs += sum(1 for _ in _PARAGRAPH.finditer(article, start, end))
                pieces.append(article[kept_to:start])
                kept_to = end
    if depth:
        return article, 0
    return b"".join([*pieces, article[kept_to:]]), paragraphs
