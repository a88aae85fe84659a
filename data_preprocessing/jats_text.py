"""The running text of a JATS (or NLM DTD) article, with a ledger of its paragraphs.

In the text: the abstracts (not the graphical, contents-page and teaser ones) and the body in
reading order; section titles, list items, definitions and quotations on lines of their own.
Left out, each under its own name: figures, tables, supplements, references, back matter,
sub-articles and so on (the tables below). Every `<p>` of the article is either `kept` or
counted under the one rule that left it out.
"""

from collections import Counter
from typing import Any

from data_preprocessing.citations import DROPPED, is_number_citation, without_marks
from data_preprocessing.formulas import FORMULA_MARKER, math_text, tex_text
from data_preprocessing.inline_text import collapse, local_name, needs_space, superscript

KEPT = "kept"
EMPTY = "empty"
NOTHING_LEFT = "nothing_left"  # a paragraph that held only things which another rule left out

# Children of <article> other than front and body -> rule.
_ARTICLE_RULES = {
    "floats-group": "floats",
    "floats-wrap": "floats",
    "sub-article": "sub_article",
    "response": "response",
}
# Children of <back> -> rule; what is not here is "back_matter".
_BACK_RULES = {
    "ack": "acknowledgements",
    "app": "appendix",
    "app-group": "appendix",
    "bio": "biography",
    "fn-group": "footnote",
    "glossary": "glossary",
    "notes": "notes",
    "ref-list": "references",
    "sec": "back_section",
}
# Anywhere in an abstract or the body -> rule.
_RULES = {
    "ack": "acknowledgements",
    "array": "table",
    "bio": "biography",
    "chem-struct-wrap": "figure",
    "chem-struct-wrapper": "figure",
    "citation": "references",
    "element-citation": "references",
    "fig": "figure",
    "fig-group": "figure",
    "fn": "footnote",
    "fn-group": "footnote",
    "glossary": "glossary",
    "graphic": "figure",
    "inline-graphic": "figure",
    "media": "supplement",
    "nlm-citation": "references",
    "notes": "notes",
    "ref-list": "references",
    "supplementary-material": "supplement",
    "table": "table",
    "table-wrap": "table",
    "table-wrap-group": "table",
    # Not text of the article but about it.
    "alt-text": "description",
    "index-term": "description",
    "kwd-group": "description",
    "long-desc": "description",
    "object-id": "description",
    "permissions": "description",
    "sec-meta": "description",
}
# Summaries by the author or editor stay; these only advertise the article or repeat it in bullets.
_ABSTRACT_RULES = {
    "author-highlights": "abstract_highlights",
    "graphical": "abstract_graphical",
    "graphical-abstract": "abstract_graphical",
    "highlights": "abstract_highlights",
    "key-points": "abstract_highlights",
    "precis": "abstract_teaser",
    "short": "abstract_teaser",
    "teaser": "abstract_teaser",
    "toc": "abstract_toc",
    "video": "abstract_graphical",
    "web-summary": "abstract_teaser",
}

_SECTIONS = frozenset(("sec", "boxed-text", "list", "def-list", "statement", "abstract", "app"))
_CONTAINERS = frozenset(
    (
        "answer",
        "answer-set",
        "body",
        "caption",
        "def",
        "disp-formula-group",
        "disp-quote",
        "explanation",
        "gloss-group",
        "question",
        "question-wrap",
        "question-wrap-group",
        "speech",
        "verse-group",
    )
)
_BLOCKS = _SECTIONS | _CONTAINERS | {"p", "list-item", "def-item"}
_FORMULAS = frozenset(
    ("alternatives", "chem-struct", "disp-formula", "inline-formula", "math", "tex-math")
)
_STYLES = frozenset(("bold", "italic", "underline", "sc"))
_LINKS = frozenset(("ext-link", "uri"))
_HREF = "{http://www.w3.org/1999/xlink}href"
_NOTE_REFERENCES = frozenset(("aff", "author-notes", "contrib", "corresp", "fn", "table-fn"))


class LedgerError(AssertionError):
    """The paragraphs kept and left out are not the paragraphs of the article: our own mistake."""


def article_text(article: Any) -> tuple[str, Counter[str]]:
    """Return the text of an `<article>`, one paragraph or title per line, and its ledger.

    The ledger counts the article's `<p>` elements by what became of them; its values add up to
    their number (checked here).
    """
    references = {reference.get("id") for reference in article.iter("ref")}
    writer = _Writer(references)
    for child in article:
        if child.tag == "front":
            _front(child, writer)
        elif child.tag == "body":
            writer.block(child)
        elif child.tag == "back":
            for part in child:
                writer.leave_out(part, _BACK_RULES.get(part.tag, "back_matter"))
        else:
            writer.leave_out(child, _ARTICLE_RULES.get(child.tag, "other"))
    paragraphs = sum(1 for _ in article.iter("p"))
    if paragraphs != writer.ledger.total():
        raise LedgerError(f"{paragraphs} paragraphs in, {dict(writer.ledger)} accounted for")
    return "\n".join(writer.lines), writer.ledger


def _front(front: Any, writer: "_Writer") -> None:
    before = writer.ledger.total()
    for abstract in front.iterfind("article-meta/abstract"):
        kind = (abstract.get("abstract-type") or "").strip().lower()
        if rule := _ABSTRACT_RULES.get(kind):
            writer.leave_out(abstract, rule)
        else:
            writer.block(abstract)
    for abstract in front.iterfind("article-meta/trans-abstract"):
        writer.leave_out(abstract, "abstract_translated")
    seen = writer.ledger.total() - before
    if rest := sum(1 for _ in front.iter("p")) - seen:
        writer.ledger["front_matter"] += rest


def line_text(element: Any) -> str:
    """Return the text of a title or similar element on one line, without reference marks."""
    writer = _Writer(set())
    writer.line(element)
    return " ".join(writer.lines)


class _Writer:
    """Collects lines of text and accounts for the paragraphs they come from."""

    def __init__(self, references: set[str | None]) -> None:
        self.lines: list[str] = []
        self.ledger: Counter[str] = Counter()
        self._references = references

    # -- blocks ----------------------------------------------------------------------------------

    def block(self, element: Any) -> None:
        """Write an element that stands on lines of its own."""
        tag = element.tag
        if tag == "p":
            self._paragraph(element)
        elif tag in _RULES:
            self.leave_out(element, _RULES[tag])
        elif tag in _SECTIONS:
            self._section(element)
        elif tag == "list-item":
            self._item(element, "label", "")
        elif tag == "def-item":
            self._item(element, "term", ":")
        elif tag in _CONTAINERS:
            self._children(element)
        else:
            self.line(element)

    def leave_out(self, element: Any, rule: str) -> None:
        """Account for the paragraphs of an element that is not written."""
        if paragraphs := sum(1 for _ in element.iter("p")):
            self.ledger[rule] += paragraphs

    def line(self, element: Any) -> None:
        """Write an element's text as a line (several, if blocks interrupt it)."""
        pieces: list[str] = []
        self._inline(element, pieces)
        self._end_line(pieces)

    def _paragraph(self, element: Any) -> None:
        before = len(self.lines)
        self.line(element)
        if len(self.lines) > before:
            self.ledger[KEPT] += 1
        elif len(element) or (element.text or "").strip():
            self.ledger[NOTHING_LEFT] += 1
        else:
            self.ledger[EMPTY] += 1

    def _children(self, element: Any, skip: tuple[str, ...] = ()) -> None:
        self._end_line([element.text or ""])
        for child in element:
            if child.tag not in skip:
                self.block(child)
            self._end_line([child.tail or ""])

    def _section(self, element: Any) -> None:
        """Write label and title as one line, then the content; nothing if there is no content."""
        start, kept = len(self.lines), self.ledger[KEPT]
        for name in ("label", "title"):
            for heading in element.iterchildren(name):
                self.line(heading)
        heading_text = " ".join(self.lines[start:])
        self.lines[start:] = [heading_text] if heading_text else []
        content = len(self.lines)
        self._children(element, skip=("label", "title"))
        if len(self.lines) == content and self.ledger[KEPT] == kept:
            del self.lines[start:]

    def _item(self, element: Any, head: str, mark: str) -> None:
        """Write a list item or definition with its label or term in front of its first line."""
        start, kept = len(self.lines), self.ledger[KEPT]
        for part in element.iterchildren(head):
            self.line(part)
        prefix = ", ".join(self.lines[start:])
        del self.lines[start:]
        self._children(element, skip=(head,))
        if prefix and len(self.lines) > start:
            prefix = prefix if prefix.endswith(mark) else prefix + mark
            self.lines[start] = f"{prefix} {self.lines[start]}"
        elif prefix and (head == "term" or self.ledger[KEPT] > kept):
            self.lines.append(prefix)

    def _end_line(self, pieces: list[str]) -> None:
        text = "".join(pieces)
        pieces.clear()
        if text and (text := collapse(without_marks(text))):
            self.lines.append(text)

    # -- inside a line ---------------------------------------------------------------------------

    def _inline(self, element: Any, pieces: list[str]) -> None:
        if element.text:
            pieces.append(element.text)
        for child in element:
            tag = child.tag
            if tag in _RULES:
                self.leave_out(child, _RULES[tag])
            elif tag == "xref":
                self._reference(child, pieces)
            elif tag == "sup":
                inner: list[str] = []
                self._inline(child, inner)
                pieces.append(superscript(pieces, "".join(inner)))
            elif tag in _BLOCKS:
                self._end_line(pieces)
                self.block(child)
            elif local_name(child) in _FORMULAS:
                self._formula(child, pieces)
            elif tag == "break":
                pieces.append(" ")
            elif tag in _LINKS and len(child) == 0 and not child.text:
                pieces.append(child.get(_HREF) or "")
            else:
                start = len(pieces)
                self._inline(child, pieces)
                if tag in _STYLES and needs_space("".join(pieces[start:]), _text_after(child)):
                    pieces.append(" ")
            if child.tail:
                pieces.append(child.tail)

    def _reference(self, xref: Any, pieces: list[str]) -> None:
        """Write a cross-reference; number citations and note marks leave a DROPPED mark instead."""
        inner: list[str] = []
        self._inline(xref, inner)
        text = "".join(inner)
        kind = xref.get("ref-type")
        targets = (xref.get("rid") or "").split()
        cites = kind in ("bibr", "ref") or (
            not kind and bool(targets) and all(target in self._references for target in targets)
        )
        mark = kind in _NOTE_REFERENCES or (cites and is_number_citation(text))
        if mark or not text.strip():
            pieces.append(DROPPED)
            return
        if pieces and pieces[-1].endswith((",", ";")):
            pieces.append(" ")
        pieces.append(text)

    def _formula(self, formula: Any, pieces: list[str]) -> None:
        """Write a formula as TeX, else as MathML's own text, else as plain text or a marker."""
        self.leave_out(formula, "formula")  # no paragraphs inside, as a rule
        display = formula.tag == "disp-formula"
        if display:
            pieces.append(" ")
        tex = formula if formula.tag == "tex-math" else next(formula.iter("tex-math"), None)
        text = tex_text("".join(tex.itertext())) if tex is not None else ""
        if not text:
            math = next((e for e in formula.iter() if local_name(e) == "math"), None)
            text = math_text(math) if math is not None else ""
        if not text:
            plain: list[str] = []
            for child in formula.iterchildren("label"):
                formula.remove(child)
            self._inline_plain(formula, plain)
            text = collapse("".join(plain)) or FORMULA_MARKER
        pieces.append(text)
        if display:
            pieces.append(" ")

    def _inline_plain(self, element: Any, pieces: list[str]) -> None:
        pieces.append(element.text or "")
        for child in element:
            if child.tag not in _RULES and child.tag not in _BLOCKS:
                self._inline_plain(child, pieces)
            pieces.append(child.tail or "")


def _text_after(element: Any) -> str:
    """Return the text that follows an element directly, also if it is a styled run itself."""
    if element.tail:
        return str(element.tail)
    following = element.getnext()
    return following.text or "" if following is not None and following.tag in _STYLES else ""
