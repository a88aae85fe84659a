"""Moses' rules against tokens written by hand, and against sacremoses on hostile text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacremoses import MosesTokenizer
from sacremoses.corpus import NonbreakingPrefixes

from data_preprocessing import moses_characters
from data_preprocessing.moses import (
    ESCAPES,
    moses_decoder,
    moses_normalizer,
    moses_pre_tokenizer,
    moses_tokens,
)
from data_preprocessing.moses_prefixes import NON_BREAKING, NON_BREAKING_BEFORE_DIGITS

_REFERENCE = MosesTokenizer("en")


def reference(line: str) -> list[str]:
    return _REFERENCE.tokenize(line, aggressive_dash_splits=True, escape=True)


def decoded(text: str) -> str:
    pieces = moses_pre_tokenizer().pre_tokenize_str(moses_normalizer().normalize_str(text))
    return moses_decoder().decode([piece for piece, _ in pieces])


# Tokens are separated by one blank here; written by hand from the behaviour of tokenizer.perl.
BY_HAND = {
    # symbols
    "TNF(alpha)/50%": "TNF ( alpha ) / 50 %",
    "p=0.05; n:12?": "p = 0.05 ; n : 12 ?",
    "α±β µg 5°C ½": "α ± β µg 5 ° C ½",
    "snake_case a+b": "snake _ case a + b",
    "中文 and 한국": "中 文 and 한 국",
    "e\u0301": "e \u0301",  # a combining accent is no letter
    # white space and control characters
    " a\t\tb \u00a0\u2003c\u2028d\r": "a b c d",
    "a\x01b \x02 c\x7fd": "ab c \x7f d",
    # hyphens
    "IL-6": "IL @-@ 6",
    "anti-TNF-alpha": "anti @-@ TNF @-@ alpha",
    "5-HT(1A)-like -5 a- b -- c--d": "5 @-@ HT ( 1A ) -like -5 a- b -- c--d",
    "a @-@ b": "a @ - @ b",
    # commas
    "1,000 and a,b, c": "1,000 and a , b , c",
    "1,a a,1 ,5": "1 , a a , 1 , 5",
    ",5": ",5",
    "5,": "5 ,",
    "a,,5 1,,5 a,,,5": "a , ,5 1 , , 5 a , , , 5",
    "Ⅳ,5 ²,5": "Ⅳ,5 ² , 5",
    # apostrophes
    "don't it's I'M": "don &apos;t it &apos;s I &apos;M",
    "patients' data": "patients &apos; data",
    "patients'": "patients&apos;",
    "'tis": "&apos;tis",
    "(a 'b c')": "( a &apos; b c &apos; )",
    "the 1990's 5'a": "the 1990 &apos;s 5&apos;a",
    "5'-ACG-3'.": "5 &apos; -ACG @-@ 3 &apos; .",
    "2'3'-x": "2 &apos; 3&apos;-x",
    "3''-x": "3 &apos; &apos;-x",
    "rock'n'roll": "rock &apos;n&apos;roll",
    # several periods
    "wait... and. . . so..": "wait ... and . . . so ..",
    "a..b": "a .. b",
    # periods
    "The end.": "The end .",
    "see Fig. 5. It. is": "see Fig . 5 . It. is",
    "J. Smith of St. John. And": "J. Smith of St. John . And",
    "e.g. This i.e. That U.S. 1.5. 2.": "e.g. This i.e. That U.S. 1.5 . 2 .",
    "No. 5, No. I said No.": "No. 5 , No . I said No .",
    "pp. 7 Art. x": "pp. 7 Art. x",
    "a.b .5 x.": "a.b .5 x .",
    "he said 'e.g.'": "he said &apos; e.g . &apos;",
    "et al. α et al. Α": "et al. α et al . Α",
    # escapes
    "a&b <5> [x|y] \"z\"": "a &amp; b &lt; 5 &gt; &#91; x &#124; y &#93; &quot; z &quot;",
    "&lt;": "&amp; lt ;",
    "": "",
    " \t ": "",
}  # fmt: skip


@pytest.mark.parametrize(("text", "tokens"), BY_HAND.items())
def test_tokens_by_hand(text: str, tokens: str) -> None:
    assert moses_tokens(text) == tokens.split()
    assert reference(text) == tokens.split()


@pytest.mark.parametrize("link", [",", "'", "'a", "'1", "a'", "1'", ",'"])
def test_chains_are_followed_as_far_as_is_said(link: str) -> None:
    ends = [(start, end) for start in ("", "a", "1", " b ") for end in ("", "a", "5", " c")]
    for count in range(1, 17):
        for start, end in ends:
            line = f"{start}{link * count}{end}"
            assert moses_tokens(line) == reference(line), line


def test_each_line_is_tokenized_by_itself_and_a_newline_is_a_token() -> None:
    text = "'A title.\nIt's ,5\n\n, No.\n5 patients'\n"
    assert moses_tokens(text) == [
        *["&apos;A", "title", ".", "\n", "It", "&apos;s", ",", "5", "\n", "\n"],
        *[",", "No", ".", "\n", "5", "patients&apos;", "\n"],
    ]


@pytest.mark.parametrize("prefix", NON_BREAKING)
def test_prefix_keeps_its_period(prefix: str) -> None:
    assert moses_tokens(f"{prefix}. X x{prefix}. X") == [f"{prefix}.", "X", f"x{prefix}", ".", "X"]


def test_prefixes_are_those_of_the_reference() -> None:
    listed = {word for word in NonbreakingPrefixes().words("en") if "." not in word}
    before_digits = {f"{word} #NUMERIC_ONLY#" for word in NON_BREAKING_BEFORE_DIGITS}
    assert listed == {*NON_BREAKING} | before_digits


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (("LETTERS",), _REFERENCE.IsAlpha),
        (("LETTERS", "DIGITS"), _REFERENCE.IsAlnum),
        (("LOWER_CASE",), _REFERENCE.IsLower),
    ],
)
def test_characters_are_those_of_the_reference(tables: tuple[str, ...], expected: str) -> None:
    ranges = [span for table in tables for span in getattr(moses_characters, table)]
    assert {chr(point) for start, end in ranges for point in range(start, end + 1)} == {*expected}


def test_letters_that_are_numbers() -> None:
    found = {
        chr(point)
        for start, end in moses_characters.LETTER_NUMBERS
        for point in range(start, end + 1)
    }
    assert found == {*_REFERENCE.IsN} & {*_REFERENCE.IsAlpha}


NASTY = st.text("aBsNo15²Ⅳα中𝐚\u0301 ',.`-\"&|<>[](/@\t\x01\x1c\u00a0\x85\u2028\r_", max_size=40)
QUOTES = st.text("a1' .,-`", max_size=40)  # chains in which one match eats what the next needs
_WORDS = """
IL-6 p53 TNF-α 5'-GTG-3' 2'3'-cAMP 3''- don't cells' 1,000 ,5 .5 0.05 1.5. No. pp. Dr. vs. Fig. e.g.
U.S. al. St. ... .. '' ` `` ' " ( ) [ ] / - -- % , . : ; < > & | @-@ a A α Α 中 Ca2+ Na+/K+ H2O
10(-6) ±SD °C www.x.org et and 5 patients. patients.' (n=5).
"""
WORDS = st.sampled_from(_WORDS.split())
BIOMEDICAL = st.lists(WORDS | st.sampled_from([" ", "  ", ", "]), max_size=14)


@settings(max_examples=600, deadline=None)
@given(NASTY | QUOTES | BIOMEDICAL.map(" ".join) | BIOMEDICAL.map("".join))
def test_same_tokens_as_sacremoses(line: str) -> None:
    assert moses_tokens(line) == reference(line)


@settings(max_examples=100, deadline=None)
@given(st.lists(NASTY | QUOTES, min_size=1, max_size=4))
def test_lines_do_not_touch_each_other(lines: list[str]) -> None:
    expected = reference(lines[0])
    for line in lines[1:]:
        expected += ["\n", *reference(line)]
    assert moses_tokens("\n".join(lines)) == expected


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_decoding_gives_back_all_but_white_space_and_control_characters(text: str) -> None:
    kept = "".join(c for c in text if not (c.isspace() or c < " "))
    assert "".join(decoded(text).split()) == kept


@pytest.mark.parametrize(
    "text",
    [
        "Interleukin-6 (IL-6), TNF-alpha and CD4+ T cells: a study.",
        "The 5'-end of patients' DNA isn't [1,2] cut; P = 0.05 (n = 12).",
        'He said "it works" and "so do I" (as "we" do).',
        "At 37°C and/or 5–10% of Na+/K+-ATPase… £5 and it’s “new”.",
        "Tom & Jerry | 1,000.5 +/- 2 + 3, e.g. this... No. 5!",
        "Title in one line.\nFirst paragraph.\n\nSecond paragraph.",
    ],
)
def test_decoding_gives_back_ordinary_text(text: str) -> None:
    assert decoded(text) == text


def test_escaped_text_is_escaped_once_more_and_comes_back() -> None:
    text = "".join(entity for _, entity in ESCAPES)
    assert "".join(decoded(text).split()) == text


@pytest.mark.parametrize(
    "unit", ["'", "','", "1'", "a'", ",", ".", "a.", "a. ", " \x01", "\n", '"', '" ', "(", "x"]
)
def test_time_does_not_explode_on_repetition(unit: str) -> None:
    # Quadratic time would be minutes here; a second is already a lot.
    text = unit * (150_000 // len(unit))
    assert "".join(decoded(text).split()) == "".join(text.replace("\x01", "").split())
