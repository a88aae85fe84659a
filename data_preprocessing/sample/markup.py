"""Writing XML: small element trees with exact control of line breaks."""

import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from data_preprocessing.sample.words import GENES

MATHML = "http://www.w3.org/1998/Math/MathML"
NOTICE = "Invented text: no fact, name or number in this file is real."


@dataclass
class Element:
    """An element with child elements, or with `text`: XML content that is already escaped."""

    tag: str
    children: list["Element"] = field(default_factory=list)
    text: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def element(tag: str, *children: Element | None, **attributes: str) -> Element:
    """An element with children; those that are None are left out."""
    return Element(tag, [c for c in children if c is not None], None, _names(attributes))


def leaf(tag: str, text: str, **attributes: str) -> Element:
    """An element with character content."""
    return Element(tag, [], escape(text), _names(attributes))


def mixed(tag: str, content: str, **attributes: str) -> Element:
    """An element whose content is XML already."""
    return Element(tag, [], content, _names(attributes))


def _names(attributes: dict[str, str]) -> dict[str, str]:
    """Python keywords to XML names: `xml__lang` is xml:lang, `article_type` is article-type."""
    return {k.replace("__", ":").replace("_", "-"): v for k, v in attributes.items()}


def render(node: Element, indent: int | None = None, level: int = 0) -> str:
    """XML text of a tree; `indent` None writes no line breaks at all."""
    pad = "" if indent is None else "\n" + " " * (indent * level)
    head = "".join(f" {name}={quoteattr(value)}" for name, value in node.attributes.items())
    if not node.children and not node.text:
        return f"{pad}<{node.tag}{head}/>"
    if not node.children:
        return f"{pad}<{node.tag}{head}>{node.text}</{node.tag}>"
    inner = "".join(render(child, indent, level + 1) for child in node.children)
    return f"{pad}<{node.tag}{head}>{inner}{pad}</{node.tag}>"


_GENE = re.compile(r"\b(" + "|".join(GENES) + r")\b")
_COEFFICIENT = re.compile(r"β=([\d.]+)")


def inline(text: str) -> str:
    """Escape a text and mark it up as publishers do; the characters stay the same."""
    text = re.sub(r"\b([pP])( ?)(=|&lt;)", r"<i>\1</i>\2\3", escape(text))
    text = _GENE.sub(r"<i>\1</i>", text)
    text = text.replace("kg/m2", "kg/m<sup>2</sup>").replace("K7", "K<sub>7</sub>")
    return text.replace("CD61+", "CD61<sup>+</sup>")


def with_mathml(text: str) -> str:
    """Escape a text and write its coefficients (β=0.42) as MathML."""
    return _COEFFICIENT.sub(
        rf'<mml:math xmlns:mml="{MATHML}"><mml:mrow><mml:mi>β</mml:mi><mml:mo>=</mml:mo>'
        r"<mml:mn>\1</mml:mn></mml:mrow></mml:math>",
        escape(text),
    )
