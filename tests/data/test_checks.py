import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from modelzoo_mediswift.data.checks import check_block, check_vocabulary
from modelzoo_mediswift.data.hdf5 import SequenceSource, open_sequences
from modelzoo_mediswift.errors import UserError

MSL = 4


def make_source(
    folder: Path,
    *files: np.ndarray,
    max_sequence_length: int | None = None,
    **params: int,
) -> SequenceSource:
    """A folder with one file per array, and data_params.json if there are `params`."""
    folder.mkdir(exist_ok=True)
    for name, data in zip("abc", files, strict=False):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["data"] = data
    if params:
        (folder / "data_params.json").write_text(json.dumps(params | {"tokenizer_sha256": "ab"}))
    return open_sequences(folder, max_sequence_length)


def samples(n: int) -> np.ndarray:
    """Sequence i holds 10 i, 10 i + 1, ... and everything counts."""
    tokens = 10 * np.arange(n)[:, None] + np.arange(MSL + 1)
    return np.stack([tokens[:, :-1], np.ones((n, MSL)), tokens[:, 1:]], axis=1).astype(np.int32)


def check_all(source: SequenceSource, vocab_size: int, num_virtual_tokens: int = 0) -> None:
    every = list(range(len(source)))
    check_block(source.read(every), every, source, vocab_size, num_virtual_tokens)


def test_vocabulary_must_fit_the_model(tmp_path: Path) -> None:
    source = make_source(tmp_path, samples(2), vocab_size=50, num_virtual_tokens=0)
    check_vocabulary(source, 50, 0)
    check_vocabulary(source, 64, 9)  # a padded vocabulary is fine as long as nothing is virtual
    with pytest.raises(UserError, match="vocab_size is 50, but the model's is 49"):
        check_vocabulary(source, 49, 0)


def test_virtual_tokens_must_start_where_the_model_s_do(tmp_path: Path) -> None:
    source = make_source(tmp_path, samples(2), vocab_size=50, num_virtual_tokens=9)
    check_vocabulary(source, 50, 9)
    with pytest.raises(UserError, match="num_virtual_tokens is 9, but the model has 0"):
        check_vocabulary(source, 50, 0)
    with pytest.raises(UserError, match=r"start at id 50 .* model's start at 64"):
        check_vocabulary(source, 64, 9)


def test_data_that_says_nothing_passes(tmp_path: Path) -> None:
    check_vocabulary(make_source(tmp_path, samples(2)), 2, 0)


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (0, 52, "input_ids holds 52 at position 1, expected a number in [0, 52)"),
        (0, -1, "input_ids holds -1"),
        (1, 2, "loss mask holds 2 at position 1, expected a number in [0, 2)"),
        (2, 50, "labels holds 50 at position 1, expected a number in [0, 50)"),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path: Path, row: int, value: int, message: str) -> None:
    data = samples(4)
    check_all(make_source(tmp_path, data[:2], data[2:]), 50, 2)
    data[3, row, 1] = value
    with pytest.raises(UserError) as caught:
        check_all(make_source(tmp_path, data[:2], data[2:]), 50, 2)
    assert f"{tmp_path / 'b.h5'}, sequence 1: {message}" in str(caught.value)


def test_a_virtual_token_may_be_an_input_but_not_a_label(tmp_path: Path) -> None:
    data = samples(2)
    data[0, 0, 3] = data[1, 2, 3] = 50
    source = make_source(tmp_path, data)
    check_block(source.read([0]), [0], source, 50, 1)
    with pytest.raises(UserError, match="sequence 0: input_ids holds 50"):
        check_block(source.read([0]), [0], source, 50, 0)
    with pytest.raises(UserError, match="sequence 1: labels holds 50"):
        check_block(source.read([1]), [1], source, 50, 1)


def test_corpus_errors_name_the_token(tmp_path: Path) -> None:
    source = make_source(tmp_path, np.arange(30, dtype=np.uint16), max_sequence_length=MSL)
    with pytest.raises(UserError, match=r"a\.h5, token 8: input_ids holds 10 at position 2"):
        check_all(source, 10)
