"""The running text of a JATS (or NLM DTD) article, with a ledger of its paragraphs.

In the text: the abstracts (not the graphical, contents-page and teaser ones) and the body in
reading order; section titles, list items, definitions and quotations on lines of their own.
Left out, each under its own name: figures, tables, supplements, references, back matter,
sub-articles and so on (jats_rules; the first two and the last by option). Every `<p>` of the
article is either kept or counted under the one rule that left it out.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from lxml import etree

from data_preprocessing import jats_rules as rules
from data_preprocessing.inline_text import collapse, first_child
from data_preprocessing.jats_inline import InlineWriter, clean
from data_preprocessing.jats_rules import JatsOptions, rules_for
from data_preprocessing.notices import without_notice

KEPT = "kept"
# Kept too, but only because an option asks for it.
KEPT_CAPTION = "kept.captions"
KEPT_TABLE = "kept.table_text"
KEPT_SUB_ARTICLE = "kept.sub_articles"
ALL_KEPT = (KEPT, KEPT_CAPTION, KEPT_TABLE, KEPT_SUB_ARTICLE)
EMPTY = "empty"
NOTHING_LEFT = "nothing_left"  # a paragraph that held only things which another rule left out
NOTICE = "copyright_notice"

CELLS = " | "
"""Between the cells of a table's row."""

_HEADINGS = ("label", "title")
_count_paragraphs = etree.XPath("count(descendant-or-self::p)")


class LedgerError(AssertionError):
    """The paragraphs kept and left out are not the paragraphs of the article: our own mistake."""


def article_text(article: Any, options: JatsOptions | None = None) -> tuple[str, Counter[str]]:
    """Return the text of an `<article>`, one paragraph or title per line, and its ledger.

    The ledger counts the article's `<p>` elements by what became of them; its values add up to
    their number (checked here).
    """
    writer = _Writer(options or JatsOptions(), article)
    writer.article(article)
    paragraphs = int(_count_paragraphs(article))
    if paragraphs != writer.ledger.total():
        raise LedgerError(f"{paragraphs} paragraphs in, {dict(writer.ledger)} accounted for")
    return "\n".join(writer.lines), writer.ledger


def line_text(element: Any) -> str:
    """Return the text of a title or similar element on one line, without reference marks."""
    if len(element) == 0:
        return clean(element.text or "")
    writer = _Writer(JatsOptions(), None)
    writer.line(element)
    return " ".join(writer.lines)


def _tag(element: Any) -> str:
    return str(element.tag)


class _Writer(InlineWriter):
    """Collects lines of text and accounts for the paragraphs they come from."""

    def __init__(self, options: JatsOptions, article: Any) -> None:
        super().__init__(rules_for(options), article)
        self.ledger: Counter[str] = Counter()
        self._options = options
        self._place = KEPT  # what a paragraph that is kept counts as
        self._in_abstract = False
        self._kept = 0

    # -- articles --------------------------------------------------------------------------------

    def article(self, article: Any) -> None:
        """Write an article, a sub-article or a response."""
        for child in article:
            tag = child.tag
            if tag in ("front", "front-stub"):
                self._front(child)
            elif tag == "body":
                self.block(child)
            elif tag == "back":
                for part in child:
                    self.leave_out(part, rules.BACK_RULES.get(part.tag, "back_matter"))
            elif tag in ("floats-group", "floats-wrap") and self._options.captions:
                self._floats(child)
            elif tag in ("sub-article", "response") and self._options.sub_articles:
                self._sub_article(child)
            else:
                self.leave_out(child, rules.ARTICLE_RULES.get(tag, "other"))

    def _front(self, front: Any) -> None:
        before = self.ledger.total()
        meta = front if front.tag == "front-stub" else first_child(front, "article-meta")
        for part in meta if meta is not None else ():
            if part.tag == "abstract":
                kind = (part.get("abstract-type") or "").strip().lower()
                if rule := rules.ABSTRACT_RULES.get(kind):
                    self.leave_out(part, rule)
                else:
                    self._in_abstract = True
                    self.block(part)
                    self._in_abstract = False
            elif part.tag == "trans-abstract":
                self.leave_out(part, "abstract_translated")
        seen = self.ledger.total() - before
        if rest := int(_count_paragraphs(front)) - seen:
            self.ledger["front_matter"] += rest

    def _sub_article(self, element: Any) -> None:
        """Write a sub-article under its title; a translation is left out."""
        if element.get("article-type") == rules.TRANSLATION:
            self.leave_out(element, "sub_article_translated")
            return
        place, self._place = self._place, KEPT_SUB_ARTICLE
        start, kept = len(self.lines), self._kept
        for path in ("front-stub/title-group", "front/article-meta/title-group"):
            for title in element.iterfind(f"{path}/article-title"):
                self.line_without_paragraphs(title)
        content = len(self.lines)
        self.article(element)
        if len(self.lines) == content and self._kept == kept:
            del self.lines[start:]
        self._place = place

    def _floats(self, element: Any) -> None:
        for child in element:
            if child.tag in rules.FLOATS:
                self._float(child)
            else:
                self.leave_out(child, "floats")

    # -- blocks ----------------------------------------------------------------------------------

    def block(self, element: Any) -> None:
        """Write an element that stands on lines of its own."""
        kind = self.rules.blocks.get(element.tag)
        if kind is not None:
            _WRITE[kind](self, element)
        elif element.tag in rules.DISPLAYED:
            self.formula_line(element)
        else:
            self.line(element)

    def leave_out(self, element: Any, rule: str) -> None:
        """Account for the paragraphs of an element that is not written."""
        if len(element) == 0:
            paragraphs = int(element.tag == "p")
        else:
            paragraphs = int(_count_paragraphs(element))
        if paragraphs:
            self.ledger[rule] += paragraphs

    def _by_rule(self, element: Any) -> None:
        self.leave_out(element, self.rules.left_out[element.tag])

    def _paragraph(self, element: Any) -> None:
        before = len(self.lines)
        self.line(element)
        if self._in_abstract and len(self.lines) > before:
            text = without_notice(self.lines.pop())
            if not text:
                self.ledger[NOTICE] += 1
                return
            self.lines.append(text)
        if len(self.lines) > before:
            self.ledger[self._place] += 1
            self._kept += 1
        elif len(element) or (element.text or "").strip():
            self.ledger[NOTHING_LEFT] += 1
        else:
            self.ledger[EMPTY] += 1

    def _children(self, element: Any, skip: tuple[str, ...] = ()) -> None:
        text = element.text
        if text and not text.isspace():
            self.loose_text(text)
        for child in element:
            if child.tag not in skip:
                self.block(child)
            text = child.tail
            if text and not text.isspace():
                self.loose_text(text)

    def _section(self, element: Any) -> None:
        """Write label and title as one line, then the content; nothing if there is no content."""
        start, kept = len(self.lines), self._kept
        children = list(element)  # held, so that lxml need not make them again for _children
        headings = [child for child in children if child.tag in _HEADINGS]
        for heading in sorted(headings, key=_tag) if len(headings) > 1 else headings:
            self.line(heading)
        self._join(start)
        content = len(self.lines)
        self._children(element, skip=_HEADINGS)
        if len(self.lines) == content and self._kept == kept:
            del self.lines[start:]

    def _list_item(self, element: Any) -> None:
        self._item(element, "label", "")

    def _definition(self, element: Any) -> None:
        self._item(element, "term", ":")

    def _item(self, element: Any, head: str, mark: str) -> None:
        """Write a list item or definition with its label or term in front of its first line."""
        start, kept = len(self.lines), self._kept
        for part in element.iterchildren(head):
            self.line(part)
        prefix = ", ".join(self.lines[start:])
        del self.lines[start:]
        self._children(element, skip=(head,))
        if prefix and len(self.lines) > start:
            prefix = prefix if prefix.endswith(mark) else prefix + mark
            self.lines[start] = f"{prefix} {self.lines[start]}"
        elif prefix and (head == "term" or self._kept > kept):
            self.lines.append(prefix)

    def _join(self, start: int, separator: str = " ") -> None:
        """Make one line of the lines from `start` on."""
        if len(self.lines) > start + 1:
            self.lines[start:] = [separator.join(self.lines[start:])]

    # -- figures and tables, by option -----------------------------------------------------------

    def _float(self, element: Any) -> None:
        """Write a figure's or a table's label and caption, and a table's text, as the options say.

        What else it holds is left out: pictures, descriptions, notes.
        """
        rule = rules.TABLE if element.tag.startswith("table") else rules.FIGURE
        start = len(self.lines)
        for child in element:
            tag = child.tag
            if tag in ("label", "caption"):
                if self._options.captions:
                    self._captioned(child, start)
                else:
                    self.leave_out(child, rule)
            elif tag in rules.FLOATS:
                self.block(child)
            elif rule == rules.TABLE and tag in ("table", "array", "alternatives"):
                self._in_place(KEPT_TABLE, child)
            else:
                self.leave_out(child, rule)

    def _captioned(self, element: Any, start: int) -> None:
        """Write a label on one line with the caption's title or first paragraph after it."""
        labelled = element.tag == "caption" and len(self.lines) == start + 1
        before = len(self.lines)
        self._in_place(KEPT_CAPTION, element)
        if labelled and len(self.lines) > before:
            self.lines[start : start + 2] = [" ".join(self.lines[start : start + 2])]

    def _in_place(self, place: str, element: Any) -> None:
        before, self._place = self._place, place
        if before == KEPT_SUB_ARTICLE:
            self._place = before
        self.block(element)
        self._place = before

    def _table(self, element: Any) -> None:
        for child in element:
            if child.tag in ("thead", "tbody", "tfoot"):
                self._table(child)
            elif child.tag == "tr":
                self._row(child)
            else:
                self.block(child)

    def _row(self, row: Any) -> None:
        """Write a row's cells on one line; a row without text leaves none."""
        cells = []
        start = len(self.lines)
        for cell in row:
            self.line(cell)
            cells.append(" ".join(self.lines[start:]))
            del self.lines[start:]
        if any(cells):
            self.lines.append(collapse(CELLS.join(cells)))

    # -- lines -----------------------------------------------------------------------------------

    def loose_text(self, text: str) -> None:
        """Write text that stands between blocks as a line."""
        if line := clean(text):
            self.lines.append(line)

    def line_without_paragraphs(self, element: Any) -> None:
        """Write an element's text as a line, without accounting for what is in it."""
        if text := line_text(element):
            self.lines.append(text)


_WRITE: dict[str, Callable[[_Writer, Any], None]] = {
    rules.PARAGRAPH: _Writer._paragraph,
    rules.SECTION: _Writer._section,
    rules.CONTAINER: _Writer._children,
    rules.LIST_ITEM: _Writer._list_item,
    rules.DEFINITION: _Writer._definition,
    rules.RULE: _Writer._by_rule,
    rules.FLOAT: _Writer._float,
    rules.TABLE_TEXT: _Writer._table,
}
