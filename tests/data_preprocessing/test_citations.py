import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_preprocessing.citations import (
    DROPPED,
    _all_marks,
    _simple_marks,
    is_number_citation,
    without_marks,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shown before [*].", "shown before."),
        ("shown before [*,*].", "shown before."),
        ("shown before [*, *-*, *].", "shown before."),
        ("shown before [*], [*].", "shown before."),
        ("shown before [*],[*],[*].", "shown before."),
        ("shown before (*).", "shown before."),
        ("shown before (* and *).", "shown before."),
        ("shown before *.", "shown before."),
        ("shown before.*,* The next", "shown before. The next"),
        ("shown before.*The next", "shown before. The next"),
        ("shown before [*].The next", "shown before. The next"),
        ("shown by Li et al. [*]. The next", "shown by Li et al. The next"),
        ("shown by Li et al. [*].The next", "shown by Li et al. The next"),
        ("shown by Li et al.* [*, *].", "shown by Li et al."),
        ("by Li et al. [*], and Bo et al. (see *).", "by Li et al., and Bo et al."),
        ("and so on... [*].", "and so on..."),
        ("in frogs [*] and toads [*], but", "in frogs and toads, but"),
        ("in frogs*, toads*; and", "in frogs, toads; and"),
        ("in frogs (*; see Fig. 1).", "in frogs (see Fig. 1)."),
        ("in frogs (Fig. 1; *).", "in frogs (Fig. 1)."),
        ("in frogs (e.g., [*], [*]).", "in frogs."),
        ("in frogs (see * for a list)", "in frogs (see for a list)"),
        ("in frogs (for a review, see *)", "in frogs"),
        ("in frogs (reviewed in *).", "in frogs."),
        ("in frogs [[*,*], and [*]], and toads", "in frogs, and toads"),
        ("in frogs (toads, newts; [*])", "in frogs (toads, newts)"),
        ("Smith [*], Bland, [*], and Jones [*]", "Smith, Bland, and Jones"),
        ("f(x) = () and [] stay [*]", "f(x) = () and [] stay"),
        ("the (-) isomer [*]", "the (-) isomer"),
    ],
)
def test_sentences_close_up(text: str, expected: str) -> None:
    marked = text.replace("*", DROPPED)
    assert " ".join(without_marks(marked).split()) == expected


@given(st.text(st.characters(exclude_characters=DROPPED)))
def test_text_without_marks_is_untouched(text: str) -> None:
    assert without_marks(text) == text


@given(st.lists(st.sampled_from(["cell", " ", "[", "]", "(", ")", ",", "-", ".", "*", "and"])))
def test_no_word_is_lost_outside_brackets_and_no_mark_stays(parts: list[str]) -> None:
    text = "".join(parts)
    closed = without_marks(text.replace("*", DROPPED))
    assert DROPPED not in closed
    assert closed.count("cell") == text.count("cell")


def test_deeply_nested_brackets_end_soon() -> None:
    text = "(" * 20000 + DROPPED + ")" * 20000
    assert DROPPED not in without_marks(text)


@pytest.mark.parametrize("text", ["1", "12", "[3-5]", "(1, 2 and 3)", "7a", "*", "†", "S1", " ▶"])
def test_number_citations(text: str) -> None:
    assert is_number_citation(text)


@pytest.mark.parametrize(
    "text", ["Smith et al.", "2004", "2004b", "Smith, 2004", "b", "Smith (12)", "(1998)"]
)
def test_citations_that_read(text: str) -> None:
    assert not is_number_citation(text)


_PIECES = "cell| |  |[*]|[*, *]| (*)|*|,|;|.|-|. The|and| to |(|)|]|[|see|2|\n| & |[*–*]| in frogs"


@given(st.lists(st.sampled_from([*_PIECES.split("|"), ", but"])))
def test_the_short_way_is_the_long_way(parts: list[str]) -> None:
    text = "".join(parts).replace("*", DROPPED)
    if (closed := _simple_marks(text)) is not None:
        assert " ".join(closed.split()) == " ".join(_all_marks(text).split())
