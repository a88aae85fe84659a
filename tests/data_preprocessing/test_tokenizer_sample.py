"""The documents a tokenizer is trained on: some of every source and year."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_preprocessing.bpe import load_tokenizer, train_tokenizer_from_parquet
from data_preprocessing.records import PMC_FULLTEXT, PUBMED_ABSTRACT, Record, write_parquet
from data_preprocessing.tokenizer_sample import chosen_rows, shares, texts_of

SIZES = {("a", 2000): 60, ("a", 2001): 30, ("a", 0): 10, ("b", 2000): 4, ("b", 1990): 6}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (10, [3, 2, 0, 2, 3]),  # five each; of a's, year by year, up to 0.5, 3.5 and 5: 0, 3, 5
        (16, [5, 3, 0, 4, 4]),  # eight each
        (40, [18, 9, 3, 4, 6]),  # all of b, the rest of a
        (1, [0, 1, 0, 0, 0]),
        (999, [60, 30, 10, 4, 6]),
    ],
)
def test_shares_by_hand(wanted: int, expected: list[int]) -> None:
    taken = shares(SIZES, wanted)
    assert [taken[stratum] for stratum in SIZES] == expected


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.integers(0, 5)), st.integers(1, 50), min_size=1
    ),
    st.integers(1, 300),
)
def test_shares_add_up_and_are_there(sizes: dict[tuple[str, int], int], wanted: int) -> None:
    taken = shares(sizes, wanted)
    assert sum(taken.values()) == min(wanted, sum(sizes.values()))
    assert all(0 <= taken[stratum] <= size for stratum, size in sizes.items())
    of = {s: sum(n for (name, _), n in taken.items() if name == s) for s, _ in sizes}
    full = {s: sum(n for (name, _), n in sizes.items() if name == s) for s, _ in sizes}
    short = [of[s] for s in of if of[s] < full[s]]
    assert not short or max(of.values()) - min(short) <= 1


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """300 abstracts of two years, and 20 full texts."""
    rows = [
        Record(pmid=i, title="", text=f"a{i}", source=PUBMED_ABSTRACT, year=2000 + i % 2)
        for i in range(300)
    ]
    rows += [
        Record(pmid=i, title="", text=f"f{i}", source=PMC_FULLTEXT, year=None) for i in range(20)
    ]
    write_parquet(tmp_path / "train.parquet", rows)
    return tmp_path


def test_the_seed_chooses(corpus: Path) -> None:
    path = corpus / "train.parquet"
    first, by_source = chosen_rows(path, 40, 0)
    assert by_source == {PMC_FULLTEXT: 20, PUBMED_ABSTRACT: 20}
    again, _ = chosen_rows(path, 40, 0)
    other, _ = chosen_rows(path, 40, 1)
    assert np.array_equal(first, again)
    assert other.sum() == 40
    assert not np.array_equal(first, other)
    texts = [text for _, text in texts_of(path, first)]
    assert texts == [f"a{i}" for i in np.flatnonzero(first[:300])] + [f"f{i}" for i in range(20)]
    # ten of each year, and not the first of them
    assert [int(first[:300][year::2].sum()) for year in (0, 1)] == [10, 10]
    assert first[150:300].any()


def test_only_the_sample_is_learnt_from(corpus: Path) -> None:
    counts = train_tokenizer_from_parquet(corpus, corpus / "t.json", 1000, 30, seed=3)
    assert counts["sources"] == {PMC_FULLTEXT: 15, PUBMED_ABSTRACT: 15}
    everything, _ = chosen_rows(corpus / "train.parquet", None, 3)
    assert everything.all()
    whole = train_tokenizer_from_parquet(corpus, corpus / "all.json", 1000)
    assert whole["documents"] == 320
    sizes = [load_tokenizer(corpus / name).get_vocab_size() for name in ("t.json", "all.json")]
    assert sizes[0] < sizes[1]
