import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.multilabel import MultiLabelScores, multilabel_scores

LABELS = ("a", "b", "c")


def scores(said: list, true: list) -> MultiLabelScores:
    ids = [str(i) for i in range(len(true))]
    return multilabel_scores(
        dict(zip(ids, said, strict=True)), dict(zip(ids, true, strict=True)), LABELS, empty="none"
    )


def test_hand_computed() -> None:
    found = scores(["a", "a|b", "b|c", None], ["a|b", "a", "b|c", "c"])
    # a: 2 of 2 said, 2 true; b: 1 of 2 said, 2 true; c: 1 of 1 said, 2 true
    assert (found.micro_precision, found.micro_recall) == pytest.approx((4 / 5, 4 / 6))
    assert found.micro_f1 == pytest.approx(2 * 4 / (5 + 6))
    by_label = {k: (s.precision, s.recall, s.f1, s.support) for k, s in found.per_class.items()}
    assert by_label["a"] == pytest.approx((1, 1, 1, 2))
    assert by_label["b"] == pytest.approx((1 / 2, 1 / 2, 1 / 2, 2))
    assert by_label["c"] == pytest.approx((1, 1 / 2, 2 / 3, 2))
    assert found.macro_f1 == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    # Examples: precision 1, 1/2, 1, 0; recall 1/2, 1, 1, 0
    assert (found.example_precision, found.example_recall) == pytest.approx((2.5 / 4, 2.5 / 4))
    assert found.example_based_f1 == pytest.approx(2.5 / 4)
    assert found.exact_match == 1 / 4
    assert found.parse_failures == 1
    assert found.majority_label == "a"
    assert found.majority_micro_f1 == pytest.approx(2 * 2 / (4 + 6))


def test_the_two_averages_differ() -> None:
    """A long example weighs more in micro-F1 than in the example-based one."""
    found = scores(["a|b|c", "b"], ["a|b|c", "a"])
    assert found.micro_f1 == pytest.approx(3 / 4)
    assert found.example_based_f1 == pytest.approx(1 / 2)


def test_no_labels_at_all() -> None:
    found = scores(["none", "a", "none"], ["none", "none", "a"])
    assert (found.example_precision, found.example_recall) == pytest.approx((1 / 3, 1 / 3))
    assert found.exact_match == pytest.approx(1 / 3)
    assert found.micro_f1 == 0
    assert scores([None], ["none"]).exact_match == 0


LABEL_SETS = st.sets(st.sampled_from(LABELS)).map(lambda s: "|".join(sorted(s)) or "none")


@given(st.lists(st.tuples(LABEL_SETS, LABEL_SETS.filter(lambda t: t != "none")), min_size=1))
def test_against_the_definitions_of_the_published_scripts(pairs: list) -> None:
    """LinkBERT's and BLUE's computations over 0/1 matrices, written down again."""
    said = [[int(label in s.split("|")) for label in LABELS] for s, _ in pairs]
    true = [[int(label in t.split("|")) for label in LABELS] for _, t in pairs]
    found = scores([s for s, _ in pairs], [t for _, t in pairs])
    both = [[a * b for a, b in zip(s, t, strict=True)] for s, t in zip(said, true, strict=True)]
    hits, positive, relevant = (sum(map(sum, m)) for m in (both, said, true))
    p, r = hits / positive if positive else 0, hits / relevant
    assert found.micro_f1 == pytest.approx(2 * p * r / (p + r) if p + r else 0)
    rows = list(zip(map(sum, both), map(sum, said), map(sum, true), strict=True))
    p = sum(h / s if s else 0 for h, s, _ in rows) / len(rows)
    r = sum(h / t for h, _, t in rows) / len(rows)
    assert found.example_based_f1 == pytest.approx(2 * p * r / (p + r) if p + r else 0)


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match=r"exactly the 1 test ids: 1 missing \(1\)"):
        multilabel_scores({}, {"1": "a"}, LABELS)
    with pytest.raises(UserError, match=r"predictions: 1 has labels 'a\|d', expected some of a, b"):
        multilabel_scores({"1": "a|d"}, {"1": "a"}, LABELS)
    with pytest.raises(UserError, match="gold: 1 has labels None"):
        multilabel_scores({"1": "a"}, {"1": None}, LABELS)  # type: ignore[dict-item]
