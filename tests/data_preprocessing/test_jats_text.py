import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from data_preprocessing.jats_text import EMPTY, KEPT, NOTHING_LEFT, article_text, line_text

NAMESPACES = (
    'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"'
)


def article(body: str = "", front: str = "", back: str = "", rest: str = "") -> etree._Element:
    return etree.fromstring(
        f"<article {NAMESPACES}><front><article-meta>{front}</article-meta></front>"
        f"<body>{body}</body><back>{back}</back>{rest}</article>"
    )


def lines(body: str) -> list[str]:
    return article_text(article(body))[0].split("\n")


def ledger(**parts: str) -> dict[str, int]:
    return dict(article_text(article(**parts))[1])


# -- reading order -------------------------------------------------------------------------------


def test_sections_paragraphs_and_paragraphs_outside_sections() -> None:
    body = """
      <p>Before.</p>
      <sec><label>1</label><title>Methods</title><p>One.</p>
        <sec><title>Animals <italic>in vivo</italic></title><p>Two.</p><p>Three.</p></sec>
      </sec>
      <p>After.</p>"""
    assert lines(body) == [
        "Before.",
        "1 Methods",
        "One.",
        "Animals in vivo",
        "Two.",
        "Three.",
        "After.",
    ]


def test_abstracts_come_first_with_their_section_titles() -> None:
    front = (
        "<abstract><sec><title>Aim</title><p>A1.</p></sec></abstract>"
        '<abstract abstract-type="summary"><title>Author Summary</title><p>A2.</p></abstract>'
        '<abstract abstract-type="executive-summary"><p>A3.</p></abstract>'
        '<abstract abstract-type="graphical"><p>No.</p></abstract>'
        '<abstract abstract-type="toc"><p>No.</p><p>No.</p></abstract>'
        '<abstract abstract-type="Teaser"><p>No.</p></abstract>'
        '<trans-abstract xml:lang="fr"><p>Non.</p></trans-abstract>'
    )
    text, counts = article_text(article("<p>B.</p>", front))
    assert text.split("\n") == ["Aim", "A1.", "Author Summary", "A2.", "A3.", "B."]
    assert counts == {
        KEPT: 4,
        "abstract_graphical": 1,
        "abstract_toc": 2,
        "abstract_teaser": 1,
        "abstract_translated": 1,
    }


def test_lists_definitions_quotations_and_boxes() -> None:
    body = """<sec><title>T</title>
      <p>Two kinds: <list list-type="bullet">
        <list-item><p>red</p></list-item>
        <list-item><label>b)</label><p>blue</p><p>or green</p></list-item>
        <list-item>bare <bold>text</bold></list-item></list> and no more.</p>
      <def-list><title>Words</title><def-item><term>CO<sub>2</sub></term><def><p>a gas</p></def>
        </def-item><def-item><term>lone</term></def-item></def-list>
      <disp-quote><p>Quoted.</p><attrib>A poet</attrib></disp-quote>
      <boxed-text><label>Box 1.</label><caption><title>Key points</title></caption>
        <p>Point.</p></boxed-text></sec>"""
    assert lines(body) == [
        "T",
        "Two kinds:",
        "red",
        "b) blue",
        "or green",
        "bare",
        "text",
        "and no more.",
        "Words",
        "CO2: a gas",
        "lone",
        "Quoted.",
        "A poet",
        "Box 1.",
        "Key points",
        "Point.",
    ]


def test_a_section_with_nothing_left_leaves_no_title() -> None:
    body = "<sec><title>Kept</title><p>x</p></sec><sec><title>Tables</title><table-wrap/></sec>"
    assert lines(body) == ["Kept", "x"]


def test_blocks_inside_a_paragraph_do_not_glue_words() -> None:
    figure = "<fig><caption><p>no</p></caption></fig>"
    body = f"<p>one{figure} two<disp-quote><p>three</p></disp-quote>four</p>"
    assert lines(body) == ["one two", "three", "four"]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("the <italic>BRCA1</italic> gene, H<sub>2</sub>O", "the BRCA1 gene, H2O"),
        ("10<sup>6</sup> cells/cm<sup>2</sup>", "10^6 cells/cm2"),
        ("one<break/>two", "one two"),
        ("see <ext-link xlink:href='http://a.org'>the site</ext-link>.", "see the site."),
        ("see <ext-link xlink:href='http://a.org'/>.", "see http://a.org."),
        ("<bold>Design:</bold>Trial of", "Design: Trial of"),
        ("<italic>ez</italic>Parent", "ezParent"),
        ("a note<fn><p>Its text.</p></fn> here", "a note here"),
        ("thin\u2009space &amp; no-break\u00a0space", "thin space & no-break space"),
        ("<named-content content-type='gene'>p53</named-content>", "p53"),
        ("<inline-graphic xlink:href='a.gif'/>icon", "icon"),
    ],
)
def test_inline_markup(markup: str, text: str) -> None:
    assert lines(f"<p>{markup}</p>") == [text]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("known [<xref ref-type='bibr' rid='b1'>1</xref>,<xref ref-type='bibr' rid='b2'>2</xref>].",
         "known."),
        ("known.<sup><xref ref-type='bibr' rid='b1'>1</xref>–<xref ref-type='bibr' rid='b2'>3"
         "</xref></sup> More", "known. More"),
        ("known <xref ref-type='bibr' rid='b1'>[1]</xref> so", "known so"),
        ("by <xref ref-type='bibr' rid='b1'>Lee, 2004</xref>;<xref ref-type='bibr' rid='b2'>Kim, "
         "2005</xref>", "by Lee, 2004; Kim, 2005"),
        ("Lee (<xref ref-type='bibr' rid='b1'>2004</xref>)", "Lee (2004)"),
        ("(<xref ref-type='fig' rid='f1'>Fig. 1</xref>)", "(Fig. 1)"),
        ("Table <xref ref-type='table' rid='t1'>2</xref>", "Table 2"),
        ("a note<xref ref-type='fn' rid='n1'><sup>*</sup></xref>, b", "a note, b"),
        ("no type [<xref rid='b1'>1</xref>] but Eq. <xref rid='e1'>1</xref>", "no type but Eq. 1"),
    ],
)  # fmt: skip
def test_cross_references(markup: str, text: str) -> None:
    references = "<ref-list><ref id='b1'/><ref id='b2'/></ref-list>"
    assert article_text(article(f"<p>{markup}</p>", back=references))[0] == text


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<tex-math>\\begin{document}$$x^2$$\\end{document}</tex-math>", "$x^2$"),
        ("<mml:math><mml:mi>x</mml:mi></mml:math>", "x"),
        (
            "<alternatives><graphic/><mml:math><mml:mi>x</mml:mi></mml:math>"
            "<tex-math>y</tex-math></alternatives>",
            "$y$",
        ),
        ("<label>(1)</label><graphic xlink:href='f.gif'/>", "[formula]"),
        ("<inline-graphic xlink:href='f.gif'/>", "[formula]"),
        ("a<sub>1</sub> + b", "a1 + b"),
    ],
)
def test_formulas(formula: str, text: str) -> None:
    assert lines(f"<p>where <inline-formula>{formula}</inline-formula> holds</p>") == [
        f"where {text} holds"
    ]
    assert lines(f"<p>where<disp-formula>{formula}</disp-formula>holds</p>") == [
        f"where {text} holds"
    ]


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<label>(1)</label><mml:math><mml:mi>x</mml:mi></mml:math>", "x"),
        ("<label>(1)</label><graphic xlink:href='f.gif'/>", "[formula]"),
        ("<tex-math>x^2</tex-math><label>(1)</label>", "$x^2$"),
    ],
)
def test_a_formula_between_paragraphs_is_a_line(formula: str, text: str) -> None:
    markup = f"<p>The model is:</p><disp-formula>{formula}</disp-formula><p>where</p>"
    assert lines(markup) == ["The model is:", text, "where"]


def test_blanks_around_formulas() -> None:
    eta = "<inline-formula><mml:math><mml:mi>η</mml:mi><mml:mspace/></mml:math></inline-formula>"
    assert lines(f"<p>0.04, {eta}= 0.1, {eta}, ({eta}) and {eta}.</p>") == [
        "0.04, η = 0.1, η, (η) and η."
    ]
    tex = "<inline-formula><tex-math>x</tex-math></inline-formula>"
    assert lines(f"<p>P = 0.03,{tex} = 0.2; V{tex}O2</p>") == ["P = 0.03, $x$ = 0.2; V$x$O2"]


def test_formula_without_wrapper() -> None:
    assert lines("<p>a <mml:math><mml:mi>x</mml:mi></mml:math> b</p>") == ["a x b"]


def test_text_where_the_document_type_allows_none_is_kept() -> None:
    assert lines("loose <sec>words <p>x</p> here</sec><unknown>also</unknown>") == [
        "loose",
        "words",
        "x",
        "here",
        "also",
    ]


def test_title_line_has_no_note_marks() -> None:
    title = etree.fromstring(
        "<article-title>On <italic>E. coli</italic><xref ref-type='fn' rid='a'>*</xref>"
        "<break/>and others<fn><p>Funded.</p></fn></article-title>"
    )
    assert line_text(title) == "On E. coli and others"


# -- the ledger ----------------------------------------------------------------------------------


def test_every_rule_is_named() -> None:
    counts = ledger(
        front="<author-notes><fn><p>a</p></fn></author-notes><permissions><license><p>b</p>"
        "</license></permissions><abstract><p>kept</p></abstract>",
        body="<p>kept</p><p/><p> </p><p><fig><caption><p>c</p></caption></fig></p>"
        "<p>[<xref ref-type='bibr'>1</xref>]</p>"
        "<table-wrap><caption><p>d</p></caption><table><tr><td><p>e</p></td></tr></table>"
        "<table-wrap-foot><fn><p>f</p></fn></table-wrap-foot></table-wrap>"
        "<supplementary-material><media><caption><p>g</p></caption></media>"
        "</supplementary-material><p>kept<fn><p>h</p></fn></p>",
        back="<ack><p>i</p></ack><app-group><app><p>j</p></app></app-group><sec><p>k</p></sec>"
        "<fn-group><fn><p>l</p></fn></fn-group><glossary><def-list><def-item><def><p>m</p></def>"
        "</def-item></def-list></glossary><notes><p>n</p></notes><bio><p>o</p></bio>"
        "<ref-list><p>p</p></ref-list><strange><p>q</p></strange>",
        rest="<floats-group><fig><caption><p>r</p></caption></fig></floats-group>"
        "<sub-article><body><p>s</p></body></sub-article><response><body><p>t</p></body>"
        "</response><strange><p>u</p></strange>",
    )
    assert counts == {
        KEPT: 3,
        EMPTY: 2,
        NOTHING_LEFT: 2,
        "front_matter": 2,
        "figure": 1,
        "table": 3,
        "supplement": 1,
        "footnote": 2,
        "acknowledgements": 1,
        "appendix": 1,
        "back_section": 1,
        "glossary": 1,
        "notes": 1,
        "biography": 1,
        "references": 1,
        "back_matter": 1,
        "floats": 1,
        "sub_article": 1,
        "response": 1,
        "other": 1,
    }


def test_paragraphs_in_odd_places_are_accounted_for() -> None:
    """article_text itself raises LedgerError if one is not."""
    body = (
        "<p>a <xref><p>b</p></xref> <inline-formula><p>c</p></inline-formula><bold><p>d</p></bold>"
        "<sup><p>e</p></sup></p><sec><title>t<p>f</p></title></sec><p><p>g</p></p>"
        "<list><p>h</p><list-item><label><p>i</p></label></list-item></list>"
    )
    text, counts = article_text(article(body))
    assert counts.total() == 10
    assert counts["formula"] == 1
    for word in "abdefghi":
        assert word in text.split()


_TAGS = ["p", "sec", "title", "label", "list", "list-item", "xref", "sup", "bold", "fig", "fn"]
_TAGS += ["caption", "table-wrap", "def-list", "def-item", "term", "def", "inline-formula"]
_TAGS += ["disp-quote", "boxed-text", "sub-article", "abstract", "media", "unknown", "alternatives"]
_trees = st.recursive(
    st.just(""),
    lambda inner: st.builds(
        lambda tag, children, text: f"<{tag}>{text}{' tail '.join(children)}</{tag}>",
        st.sampled_from(_TAGS),
        st.lists(inner, max_size=3),
        st.sampled_from(["", "word", "12"]),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(front=_trees, body=_trees, back=_trees, rest=_trees)
def test_ledger_is_true_on_any_tree(front: str, body: str, back: str, rest: str) -> None:
    """Each paragraph has a word of its own: it is kept exactly if that word is in the text."""
    document = article(body, front, back, rest)
    paragraphs = list(document.iter("p"))
    for number, paragraph in enumerate(paragraphs):
        paragraph.text = f"paragraph{number} {paragraph.text or ''}"
    text, counts = article_text(document)
    assert counts.total() == len(paragraphs)
    assert len(re.findall(r"paragraph\d+", text)) == counts[KEPT]
    assert "\x01" not in text
    assert all(line == " ".join(line.split()) and line for line in text.split("\n") if text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abc ", min_size=1, max_size=8).filter(str.strip), max_size=8))
def test_paragraphs_come_out_as_they_went_in(paragraphs: list[str]) -> None:
    text, counts = article_text(article("".join(f"<p>{p}</p>" for p in paragraphs)))
    assert text == "\n".join(" ".join(p.split()) for p in paragraphs)
    assert counts == Counter({KEPT: len(paragraphs)} if paragraphs else {})
