import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.scoring import classification_scores, wilson_interval

LABELS = ("yes", "no", "maybe")


def scores(predicted: list, gold: list):
    def by_id(labels: list) -> dict:
        return {str(i): label for i, label in enumerate(labels)}

    return classification_scores(by_id(predicted), by_id(gold), LABELS)


def test_hand_computed() -> None:
    gold = ["yes", "yes", "yes", "no", "no", "maybe"]
    result = scores(["yes", "yes", "no", "no", "yes", "no"], gold)
    assert result.accuracy == pytest.approx(3 / 6)
    yes, no, maybe = (result.per_class[label] for label in LABELS)
    assert (yes.precision, yes.recall, yes.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (no.precision, no.recall, no.f1) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert (maybe.precision, maybe.recall, maybe.f1) == (0, 0, 0)
    assert [c.support for c in (yes, no, maybe)] == [3, 2, 1]
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 5 + 0) / 3)
    assert result.confusion == {
        "yes": {"yes": 2, "no": 1},
        "no": {"yes": 1, "no": 1},
        "maybe": {"no": 1},
    }
    assert result.majority_label == "yes"
    assert result.majority_accuracy == 0.5
    assert result.majority_macro_f1 == pytest.approx(2 / 3 / 3)  # P 1/2, R 1: F1 2/3


def test_macro_f1_leaves_out_labels_that_do_not_occur() -> None:
    result = scores(["yes", "no"], ["yes", "yes"])
    assert result.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert scores(["yes"], ["yes"]).macro_f1 == 1


def test_a_parse_failure_is_wrong_and_a_class_of_its_own() -> None:
    # scikit-learn gives (2/3 + 1 + 0) / 3 for the same lists with "failed" in place of None.
    result = scores(["yes", None, "no"], ["yes", "yes", "no"])
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.macro_f1 == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result.parse_failures == 1
    assert result.confusion["yes"] == {"yes": 1, None: 1}
    assert json.loads(json.dumps(result.as_dict()))["confusion"]["yes"]["(none)"] == 1


def test_majority_guess_of_the_official_test_set() -> None:
    gold = ["yes"] * 276 + ["no"] * 169 + ["maybe"] * 55
    result = scores(["yes"] * 500, gold)
    assert result.accuracy == result.majority_accuracy == 0.552
    assert result.macro_f1 == pytest.approx(result.majority_macro_f1)
    assert round(100 * result.macro_f1, 1) == 23.7


def test_wilson_interval_against_published_values() -> None:
    # Newcombe 1998, table I, method 3.
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    low, high = wilson_interval(384, 500)
    assert (high - low) / 2 == pytest.approx(0.037, abs=5e-4)


@given(st.lists(st.tuples(st.sampled_from([*LABELS, None]), st.sampled_from(LABELS)), min_size=1))
def test_against_definitions(pairs: list) -> None:
    result = scores([p for p, _ in pairs], [g for _, g in pairs])
    occurring = {label for pair in pairs for label in pair}
    f1 = []
    for label in occurring:
        hits = sum(p == g == label for p, g in pairs)
        wrong = sum((p == label) != (g == label) for p, g in pairs)
        f1.append(2 * hits / (2 * hits + wrong))
    assert result.macro_f1 == pytest.approx(sum(f1) / len(f1))
    assert result.accuracy == pytest.approx(sum(p == g for p, g in pairs) / len(pairs))
    low, high = result.accuracy_interval
    assert low - 1e-12 <= result.accuracy <= high + 1e-12
    assert sum(sum(row.values()) for row in result.confusion.values()) == len(pairs)


def test_ids_must_be_exactly_those_of_the_test_set() -> None:
    gold = {"1": "yes", "2": "no"}
    with pytest.raises(UserError, match=r"exactly the 2 test ids: 1 missing \(2\)$"):
        classification_scores({"1": "yes"}, gold, LABELS)
    with pytest.raises(UserError, match=r"1 not in the test set \(3\)"):
        classification_scores({"1": "yes", "2": "no", "3": "no"}, gold, LABELS)
    many = {str(i): "yes" for i in range(10, 30)}
    with pytest.raises(UserError, match=r"20 missing \(10, 11, 12, 13, 14, \.\.\.\)"):
        classification_scores({}, many, LABELS)
    with pytest.raises(UserError, match="no gold labels"):
        classification_scores({}, {}, LABELS)


def test_unknown_labels_are_named() -> None:
    with pytest.raises(UserError, match="predictions: 1 has label 'Yes', expected yes, no, maybe"):
        classification_scores({"1": "Yes"}, {"1": "yes"}, LABELS)
    with pytest.raises(UserError, match="gold: 1 has label None"):
        classification_scores({"1": "yes"}, {"1": None}, LABELS)  # type: ignore[dict-item]
