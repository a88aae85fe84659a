import pytest
from lxml import etree

from data_preprocessing.formulas import math_text, tex_text


def test_latex_document_around_a_formula_is_removed() -> None:
    source = r"""\documentclass[12pt]{minimal}
        \usepackage{amsmath} \setlength{\oddsidemargin}{-69pt}
        \begin{document}$$ \theta = \frac{a}{b} $$\end{document}"""
    assert tex_text(source) == r"$\theta = \frac{a}{b}$"


@pytest.mark.parametrize("source", [r"x_1", r"$x_1$", r"$$x_1$$", r"\(x_1\)", r" \[ x_1 \] "])
def test_delimiters_become_one_dollar_sign(source: str) -> None:
    assert tex_text(source) == "$x_1$"


def test_no_formula_is_no_text() -> None:
    assert tex_text(r"\documentclass{minimal}\begin{document}$$ $$\end{document}") == ""


MATHML = {
    "<mi>x</mi><mo>=</mo><mn>2</mn>": "x=2",
    "<mfrac><mn>1</mn><mn>2</mn></mfrac>": "1/2",
    "<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>": "(a+b)/c",
    "<msup><mi>x</mi><mn>2</mn></msup>": "x^2",
    "<msup><mi>x</mi><mrow><mi>n</mi><mo>-</mo><mn>1</mn></mrow></msup>": "x^(n-1)",
    "<msup><mi>x</mi><mo>′</mo></msup>": "x′",
    "<msub><mi>CO</mi><mn>2</mn></msub>": "CO2",
    "<msubsup><mi>s</mi><mn>1</mn><mn>2</mn></msubsup>": "s1^2",
    "<msqrt><mi>n</mi><mo>-</mo><mn>1</mn></msqrt>": "√(n-1)",
    "<mroot><mi>n</mi><mn>3</mn></mroot>": "3√(n)",
    "<mfenced><mi>a</mi><mi>b</mi></mfenced>": "(a,b)",
    '<mfenced open="[" close="]" separators=";"><mi>a</mi><mi>b</mi></mfenced>': "[a;b]",
    "<mi>a</mi><mo>\u2062</mo><mi>b</mi>": "ab",
    "<mi>Peak</mi><mi>Flow</mi>": "Peak Flow",
    "<mi>f</mi><mi>l</mi><mi>o</mi><mi>w</mi>": "flow",
    "<mn>5</mn><mtext> per day</mtext>": "5 per day",
    "<mn>5</mn><mspace width='1em'/><mi>mg</mi>": "5 mg",
    "<mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr></mtable>": "a b",
    "<semantics><mi>x</mi><annotation>\\alpha</annotation></semantics>": "x",
    "\n  <mi>\n x </mi>\n  <mo> = </mo>\n": "x=",
    # Blanks as tokens of their own, some of which a file has lost.
    "<mtext>test</mtext><mi>\u2009\u2009</mi><mtext>food</mtext>": "test food",
    "<mi>Number</mi><mo>\u2003</mo><mi>of</mi><mo>\u2003</mo><mi>Tests</mi>": "Number of Tests",
    "<mi>r</mi><mi>a</mi><mi>w</mi><mi>\n</mi><mi>t</mi><mi>i</mi>": "raw ti",
    "<mi>Case</mi><mtext/><mi>total</mi>": "Case total",
    "<mn>5</mn><mtext>\xa0\xa0kg</mtext>": "5 kg",
    "<msubsup><mrow/><mn>3</mn><mo>-</mo></msubsup>": "3^(-)",
    "<mi>HCO</mi><msub><mi/><mn>3</mn></msub>": "HCO3",
    "<mi>f</mi><mo>\u2061</mo><mi>x</mi>": "fx",
    "<msubsup><mi>η</mi><mrow><mi>p</mi><mspace/></mrow><mn>2</mn></msubsup>": "ηp^2",
    # A base of one letter is no word, whatever its index is.
    "<mtext>ICE</mtext><msub><mi>R</mi><mi>AP</mi></msub>": "ICERAP",
    "<mtext>Net</mtext><msub><mi>rate</mi><mi>i</mi></msub>": "Net ratei",
}


@pytest.mark.parametrize(("markup", "text"), MATHML.items())
@pytest.mark.parametrize("namespace", ["", ' xmlns="http://www.w3.org/1998/Math/MathML"'])
def test_mathml(markup: str, text: str, namespace: str) -> None:
    assert math_text(etree.fromstring(f"<math{namespace}>{markup}</math>")) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("of", "in", " x "),
        ("(", ")", "x"),
        ("of", ".", " x"),
        ("", " in", "x "),
        ("of ", "", " x"),
    ],
)
def test_a_blank_at_the_ends_counts_between_words(before: str, after: str, text: str) -> None:
    math = etree.fromstring("<math><mspace/><mi>x</mi><mtext> </mtext></math>")
    assert math_text(math, before, after) == text


def test_only_blanks_are_no_formula() -> None:
    assert math_text(etree.fromstring("<math><mspace/><mtext/></math>"), "of", "in") == ""


def test_formulas_in_formulas_take_no_longer_than_their_length() -> None:
    depth = 100
    start, end = "<mrow><mtext>ab</mtext><msub>", "<mi>i</mi></msub></mrow>"
    text = math_text(etree.fromstring(f"<math>{start * depth}<mi>cd</mi>{end * depth}</math>"))
    assert text == "ab " * depth + "cd" + "i" * depth
