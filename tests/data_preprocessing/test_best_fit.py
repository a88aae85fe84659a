import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_preprocessing.best_fit import best_fit, pack_best_fit

EOS = 0


def arrays(documents: list[list[int]]) -> list[np.ndarray]:
    return [np.array(tokens, np.uint16) for tokens in documents]


def groups(documents: list[list[int]], capacity: int, **options: int) -> list[list[list[int]]]:
    found = best_fit(arrays(documents), capacity, EOS, **options)
    return [[piece.tolist() for piece in group] for group in found]


def test_each_document_goes_where_it_fits_most_tightly() -> None:
    # With end-of-text 4, 3, 2, 2 and 1 + 2 of 5 tokens; capacity 5.
    documents = [[1, 1, 1], [2, 2], [3], [4], [5, 5, 5, 5, 5, 5]]
    assert groups(documents, 5) == [
        [[2, 2, 0], [3, 0]],  # 2 tokens fit exactly here, and not in the room of 1
        [[5, 5, 5, 5, 5]],
        [[1, 1, 1, 0]],
        [[4, 0], [5, 0]],
    ]


def test_the_fullest_is_closed_when_too_many_wait() -> None:
    documents = [[1], [2, 2], [3, 3, 3, 3], [4, 4]]
    # Two groups have room for one token left: the one that waits longer is closed.
    assert groups(documents, 6, open_sequences=2) == [
        [[1, 0], [2, 2, 0]],
        [[3, 3, 3, 3, 0]],
        [[4, 4, 0]],
    ]


def test_samples_by_hand() -> None:
    (sample,) = pack_best_fit(arrays([[7, 8], [9]]), 6, EOS)
    assert sample.tolist() == [[0, 7, 8, 0, 9, 0], [1, 1, 1, 1, 1, 0], [7, 8, 0, 9, 0, 0]]


@given(
    documents=st.lists(st.lists(st.integers(1, 60000), max_size=30), max_size=30),
    capacity=st.integers(1, 20),
    open_sequences=st.integers(1, 5),
)
def test_no_token_is_lost_and_none_cut_without_need(
    documents: list[list[int]], capacity: int, open_sequences: int
) -> None:
    found = groups(documents, capacity, open_sequences=open_sequences)
    assert all(0 < sum(map(len, group)) <= capacity for group in found)
    pieces = sorted(tuple(piece) for group in found for piece in group)
    whole = [[*tokens, EOS] for tokens in documents if tokens]
    cut = [
        tuple(tokens[i : i + capacity]) for tokens in whole for i in range(0, len(tokens), capacity)
    ]
    assert pieces == sorted(cut)
    samples = list(pack_best_fit(arrays(documents), capacity, EOS))
    labels = [token for s in samples for token in s[2][s[1] == 1].tolist()]
    assert sorted(labels) == sorted(token for tokens in whole for token in tokens)
    for ids, mask, label in samples:
        n = int(mask.sum())
        assert (ids[1:n] == label[: n - 1]).all()
        assert ids[0] == EOS
