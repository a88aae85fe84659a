"""What of a JATS article is text and what is left out, under which name, by which option."""

from dataclasses import asdict, dataclass
from functools import cache

FIGURE = "figure"
TABLE = "table"
TRANSLATION = "translation"
"""An @article-type of sub-articles: never text."""


@dataclass(frozen=True, slots=True)
class JatsOptions:
    """What is part of an article's text beside its abstracts and body."""

    captions: bool = False
    """Figures' and tables' labels, titles and captions."""
    table_text: bool = False
    """The cells of tables, a row to a line."""
    sub_articles: bool = False
    """Decision letters, responses and the like, after the article; translations never."""

    def as_dict(self) -> dict[str, bool]:
        return asdict(self)


# Children of <article> other than front and body -> rule.
ARTICLE_RULES = {
    "floats-group": "floats",
    "floats-wrap": "floats",
    "sub-article": "sub_article",
    "response": "response",
}
# Children of <back> -> rule; what is not here is "back_matter".
BACK_RULES = {
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
# Summaries by the author or editor stay; these only advertise the article or repeat it in bullets.
ABSTRACT_RULES = {
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
# Anywhere in an abstract or the body -> rule.
_RULES = {
    "ack": "acknowledgements",
    "array": TABLE,
    "bio": "biography",
    "chem-struct-wrap": FIGURE,
    "chem-struct-wrapper": FIGURE,
    "citation": "references",
    "element-citation": "references",
    "fig": FIGURE,
    "fig-group": FIGURE,
    "fn": "footnote",
    "fn-group": "footnote",
    "glossary": "glossary",
    "graphic": FIGURE,
    "inline-graphic": FIGURE,
    "media": "supplement",
    "nlm-citation": "references",
    "notes": "notes",
    "ref-list": "references",
    "supplementary-material": "supplement",
    "table": TABLE,
    "table-wrap": TABLE,
    "table-wrap-foot": TABLE,
    "table-wrap-group": TABLE,
    # Not text of the article but about it.
    "alt-text": "description",
    "index-term": "description",
    "kwd-group": "description",
    "long-desc": "description",
    "object-id": "description",
    "permissions": "description",
    "sec-meta": "description",
}
FLOATS = frozenset(("fig", "fig-group", "table-wrap", "table-wrap-group"))
"""What holds captions; `table-wrap` tables, too."""

SECTIONS = frozenset(("sec", "boxed-text", "list", "def-list", "statement", "abstract", "app"))
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
FORMULAS = frozenset(
    ("alternatives", "chem-struct", "disp-formula", "inline-formula", "math", "tex-math")
)
DISPLAYED = frozenset(("disp-formula", "{http://www.w3.org/1998/Math/MathML}math"))
"""Formulas that stand between paragraphs."""
STYLES = frozenset(("bold", "italic", "underline", "sc"))

# How an element is written: the names of the writer's methods.
RULE, PARAGRAPH, SECTION, LIST_ITEM, DEFINITION = "rule", "paragraph", "section", "item", "def"
CONTAINER, FLOAT, TABLE_TEXT = "container", "float", "table_text"
REFERENCE, STYLE, SUPERSCRIPT, FORMULA = "reference", "style", "superscript", "formula"
BREAK, LINK = "break", "link"

_BLOCKS = {
    **dict.fromkeys(SECTIONS, SECTION),
    **dict.fromkeys(_CONTAINERS, CONTAINER),
    "p": PARAGRAPH,
    "list-item": LIST_ITEM,
    "def-item": DEFINITION,
}
_INLINE = {
    "xref": REFERENCE,
    "sup": SUPERSCRIPT,
    "break": BREAK,
    "ext-link": LINK,
    "uri": LINK,
    **dict.fromkeys(STYLES, STYLE),
    **dict.fromkeys(FORMULAS, FORMULA),
    **{f"{{http://www.w3.org/1998/Math/MathML}}{name}": FORMULA for name in FORMULAS},
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The options as tables to look tags up in."""

    left_out: dict[str, str]
    """Tag -> rule."""
    blocks: dict[str, str]
    """Tag -> how an element that stands on lines of its own is written; `RULE` if it is not."""
    inline: dict[str, str]
    """Tag -> how an element inside a line is written; what is not here, as its text."""


@cache
def rules_for(options: JatsOptions) -> Rules:
    """Return the rules that the options amount to."""
    left_out = dict(_RULES)
    blocks = dict(_BLOCKS)
    if options.captions or options.table_text:
        tables = {"table-wrap", "table-wrap-group"}
        for tag in FLOATS if options.captions else tables:
            del left_out[tag]
            blocks[tag] = FLOAT
    if options.table_text:
        for tag in ("table", "array"):
            del left_out[tag]
            blocks[tag] = TABLE_TEXT
    blocks |= dict.fromkeys(left_out, RULE)
    return Rules(left_out, blocks, {**_INLINE, **blocks})
