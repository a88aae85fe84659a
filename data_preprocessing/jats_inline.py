"""Text inside a line of a JATS article: styles, references, formulas."""

from abc import ABC, abstractmethod
from typing import Any

from data_preprocessing import jats_rules as rules
from data_preprocessing.citations import DROPPED, is_number_citation, without_marks
from data_preprocessing.formulas import FORMULA_MARKER, math_text, tex_text
from data_preprocessing.inline_text import collapse, local_name, needs_space, superscript
from data_preprocessing.jats_rules import Rules

_HREF = "{http://www.w3.org/1999/xlink}href"
_NOTE_REFERENCES = frozenset(("aff", "author-notes", "contrib", "corresp", "fn", "table-fn"))


def clean(text: str) -> str:
    """Return a line without white space to spare and without the marks of left-out references."""
    return collapse(without_marks(text) if DROPPED in text else text)


class InlineWriter(ABC):
    """Collects lines; the one below writes blocks.

    An article has a hundred thousand inline elements, so what follows asks little of each: one
    look-up of its tag, and nothing recursive where it has no children.
    """

    def __init__(self, its_rules: Rules, article: Any) -> None:
        self.lines: list[str] = []
        self.rules = its_rules
        self._article = article
        self._reference_ids: frozenset[str | None] | None = None

    @abstractmethod
    def block(self, element: Any) -> None:
        """Write an element that stands on lines of its own."""

    @abstractmethod
    def leave_out(self, element: Any, rule: str) -> None:
        """Account for the paragraphs of an element that is not written."""

    def line(self, element: Any) -> None:
        """Write an element's text as a line (several, if blocks interrupt it)."""
        if len(element) == 0:
            text = element.text or ""
        else:
            pieces: list[str] = []
            self._inline(element, pieces)
            text = "".join(pieces)
        if text and (text := clean(text)):
            self.lines.append(text)

    def formula_line(self, formula: Any) -> None:
        """Write a formula that stands between paragraphs as a line."""
        pieces: list[str] = []
        self._formula(formula, pieces)
        if text := clean("".join(pieces)):
            self.lines.append(text)

    def _inline(self, element: Any, pieces: list[str]) -> None:
        if text := element.text:
            pieces.append(text)
        if len(element) == 0:
            return
        how = self.rules.inline
        for child in element:
            tag = child.tag
            kind = how.get(tag)
            tail = child.tail
            if kind is None:
                if tag[0] == "{" and local_name(child) in rules.FORMULAS:
                    self._formula(child, pieces)
                else:
                    self._inline(child, pieces)
            elif kind is rules.REFERENCE:
                self._reference(child, pieces)
            elif kind is rules.STYLE:
                self._style(child, pieces, tail)
            elif kind is rules.RULE:
                self.leave_out(child, self.rules.left_out[tag])
            elif kind is rules.SUPERSCRIPT:
                self._superscript(child, pieces)
            elif kind is rules.FORMULA:
                self._formula(child, pieces)
            elif kind is rules.BREAK:
                pieces.append(" ")
            elif kind is rules.LINK:
                if len(child) == 0 and not child.text:
                    pieces.append(child.get(_HREF) or "")
                else:
                    self._inline(child, pieces)
            else:
                if text := clean("".join(pieces)):
                    self.lines.append(text)
                pieces.clear()
                self.block(child)
            if tail:
                pieces.append(tail)

    def _text(self, element: Any) -> str:
        if len(element) == 0:
            return element.text or ""
        inner: list[str] = []
        self._inline(element, inner)
        return "".join(inner)

    def _style(self, element: Any, pieces: list[str], tail: str | None) -> None:
        start = len(pieces)
        self._inline(element, pieces)
        after = tail or _styled_after(element)
        if after and "A" <= after[0] <= "Z" and needs_space("".join(pieces[start:]), after):
            pieces.append(" ")

    def _superscript(self, element: Any, pieces: list[str]) -> None:
        text = self._text(element)
        before = pieces[-1] if pieces else ""
        # It can be an exponent only after a 10.
        pieces.append(text if before and before[-1] != "0" else superscript(pieces, text))

    def _reference(self, xref: Any, pieces: list[str]) -> None:
        """Write a cross-reference; number citations and note marks leave a DROPPED mark instead."""
        text = self._text(xref)
        kind = xref.get("ref-type")
        if kind == "bibr" and len(text) < 4 and text.isdecimal():
            pieces.append(DROPPED)  # a shortcut: nearly all references are like this
            return
        if (
            kind in _NOTE_REFERENCES
            or not text.strip()
            or (self._cites(xref, kind) and is_number_citation(text))
        ):
            pieces.append(DROPPED)
        else:
            if pieces and pieces[-1].endswith((",", ";")):
                pieces.append(" ")
            pieces.append(text)

    def _cites(self, xref: Any, kind: str | None) -> bool:
        """Tell whether a reference leads to the reference list; without a type, by its target."""
        if kind:
            return kind in ("bibr", "ref")
        if self._reference_ids is None:
            elements = self._article.iter("ref") if self._article is not None else ()
            self._reference_ids = frozenset(element.get("id") for element in elements)
        targets = (xref.get("rid") or "").split()
        return bool(targets) and all(target in self._reference_ids for target in targets)

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
            before = pieces[-1] if pieces else ""
            text = math_text(math, before, formula.tail or "") if math is not None else ""
        if not text:
            plain: list[str] = []
            for child in formula.iterchildren("label"):
                formula.remove(child)
            self._inline_plain(formula, plain)
            text = collapse("".join(plain)) or FORMULA_MARKER
        if pieces and pieces[-1].endswith((",", ";")):
            pieces.append(" ")
        pieces.append(text)
        if display:
            pieces.append(" ")

    def _inline_plain(self, element: Any, pieces: list[str]) -> None:
        pieces.append(element.text or "")
        for child in element:
            tag = child.tag
            if tag not in self.rules.blocks:
                self._inline_plain(child, pieces)
            pieces.append(child.tail or "")


def _styled_after(element: Any) -> str:
    """Return the text of the styled run that follows an element directly, if one does."""
    following = element.getnext()
    return following.text or "" if following is not None and following.tag in rules.STYLES else ""
