import pytest

from data_preprocessing.inline_text import collapse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ob\u00adjec\u00adti\u00adve: sleep", "Objective: sleep"),
        (
            "no change in either group\ufeff when measured",
            "no change in either group when measured",
        ),
        ("use a \ufeff chi-squared test", "use a chi-squared test"),
        ("emotion \u200eregulation\u200b", "emotion regulation"),
        ("\ufeff", ""),
        ("a\u00a0b\u2009 c\u2003d\ne", "a b c d e"),
        ("Ra\u0308 of 5\u2009\u00b1\u20091", "R\u00e4 of 5 \u00b1 1"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # a non-joiner is part of a word
    ],
)
def test_what_only_sets_a_page_is_not_text(text: str, expected: str) -> None:
    assert collapse(text) == expected
