import json
import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from modelzoo_mediswift.data.hdf5 import open_file, open_sequences
from modelzoo_mediswift.errors import UserError

MSL = 4


def write(path: Path, data: np.ndarray, n_examples: int | None = None, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=data, **options)
        if n_examples is not None:
            file.attrs["n_examples"] = n_examples


def samples(n: int, first: int = 0) -> np.ndarray:
    """Sequence i holds 10 i, 10 i + 1, ... and everything counts."""
    tokens = 10 * np.arange(first, first + n)[:, None] + np.arange(MSL + 1)
    ones = np.ones((n, MSL))
    return np.stack([tokens[:, :-1], ones, tokens[:, 1:]], axis=1).astype(np.int32)


def params(folder: Path, **changes: object) -> dict:
    """A data_params.json that describes the *.h5 files of `folder`."""
    files = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            files.append({"name": path.name, "n_examples": len(file["data"]), "sha256": "00"})
    content = {"vocab_size": 50, "num_virtual_tokens": 0, "tokenizer_sha256": "ab", "files": files}
    content.update(changes)
    (folder / "data_params.json").write_text(json.dumps(content))
    return content


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (1, 3, MSL), "compression": "gzip"}],
    ids=["contiguous", "gzip"],
)
def test_sample_layout_by_index_across_files(tmp_path: Path, options: dict) -> None:
    # Written in another order than the names', because the names decide.
    write(tmp_path / "b.h5", samples(2, first=3), 2, **options)
    write(tmp_path / "a.h5", samples(3), 3, **options)
    source = open_sequences(tmp_path)
    assert (len(source), source.layout, source.max_sequence_length) == (5, "sample", MSL)
    block = source.read([4, 0, 3, 3])
    assert block.dtype == np.int32
    assert block[0].tolist() == [[40, 41, 42, 43], [1, 1, 1, 1], [41, 42, 43, 44]]
    assert block[:, 0, 0].tolist() == [40, 0, 30, 30]
    assert source.read([]).shape == (0, 3, MSL)


@pytest.mark.parametrize("dtype", ["<i4", "<u2", ">i4", "<i8"])
def test_corpus_windows_overlap_by_one_token_and_cross_files(tmp_path: Path, dtype: str) -> None:
    write(tmp_path / "a.h5", np.arange(0, 6).astype(dtype))
    write(tmp_path / "b.h5", np.arange(6, 7).astype(dtype))
    write(tmp_path / "c.h5", np.arange(7, 14).astype(dtype))
    source = open_sequences(tmp_path, MSL)
    assert len(source) == 3  # 14 tokens: 3 windows of 4, one token more for the last label
    assert source.read([1, 0, 2]).tolist() == [
        [[4, 5, 6, 7], [1, 1, 1, 1], [5, 6, 7, 8]],
        [[0, 1, 2, 3], [1, 1, 1, 1], [1, 2, 3, 4]],
        [[8, 9, 10, 11], [1, 1, 1, 1], [9, 10, 11, 12]],
    ]


@pytest.mark.parametrize("tokens", [5, 6, 8, 9, 12, 13])
def test_corpus_drops_only_what_cannot_be_a_sequence(tmp_path: Path, tokens: int) -> None:
    write(tmp_path / "a.h5", np.arange(tokens, dtype=np.uint16))
    source = open_sequences(tmp_path, MSL)
    assert len(source) == (tokens - 1) // MSL
    last = source.read([len(source) - 1])[0]
    assert last[2, -1] == len(source) * MSL


@pytest.mark.parametrize("cut", range(1, 13))
def test_corpus_windows_do_not_depend_on_where_files_end(tmp_path: Path, cut: int) -> None:
    tokens = np.arange(13, dtype=np.uint16)
    write(tmp_path / "a.h5", tokens[:cut])
    write(tmp_path / "b.h5", tokens[cut:])
    found = open_sequences(tmp_path, MSL).read([0, 1, 2])
    assert found[:, 0].ravel().tolist() == list(range(12))
    assert found[:, 2].ravel().tolist() == list(range(1, 13))


def test_a_user_block_before_the_data_is_passed_over(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["data"] = samples(2)
    source = open_sequences(tmp_path)
    assert source.files[0].offset is not None
    assert source.read([0, 1]).tolist() == samples(2).tolist()


def test_several_folders_are_one_source(tmp_path: Path) -> None:
    write(tmp_path / "x/a.h5", samples(2))
    write(tmp_path / "y/a.h5", samples(1, first=2))
    source = open_sequences([tmp_path / "y", str(tmp_path / "x")])
    assert source.read([0, 1, 2])[:, 0, 0].tolist() == [0, 10, 20]


def test_sample_layout_accepts_its_own_sequence_length(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(1))
    assert open_sequences(tmp_path, MSL).max_sequence_length == MSL


def _first_token(source: object) -> int:
    return int(source.read([1])[0, 0, 0])  # type: ignore[attr-defined]


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 3, MSL)}], ids=["contiguous", "chunked"])
def test_pickles_and_forks_after_it_was_opened(tmp_path: Path, options: dict) -> None:
    write(tmp_path / "a.h5", samples(2), **options)
    source = open_sequences(tmp_path)
    assert _first_token(source) == 10
    assert _first_token(pickle.loads(pickle.dumps(source))) == 10
    fork = multiprocessing.get_context("fork")
    found, handle = fork.SimpleQueue(), source._data(0)

    def child() -> None:  # inherits the source as it is, with its open file
        found.put((_first_token(source), source._data(0) is handle))

    process = fork.Process(target=child)
    process.start()
    process.join()
    assert found.get() == (10, False)
    assert source._data(0) is handle


def test_one_file_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(3))
    write(tmp_path / "b.h5", samples(2, first=3))
    content = params(tmp_path)
    source = open_file(tmp_path / "b.h5")
    assert source.read([0, 1])[:, 0, 0].tolist() == [30, 40]
    assert source.params == content | {"files": []}
    with pytest.raises(UserError, match="no such file"):
        open_file(tmp_path / "c.h5")


def test_index_out_of_range(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(2))
    source = open_sequences(tmp_path)
    for index in (2, -1):
        with pytest.raises(IndexError):
            source.read([index])


def test_fingerprint_tells_data_apart(tmp_path: Path) -> None:
    write(tmp_path / "x/a.h5", samples(2))
    write(tmp_path / "y/a.h5", samples(2))
    write(tmp_path / "z/a.h5", samples(3))
    prints = [open_sequences(tmp_path / name).fingerprint for name in "xyz"]
    assert prints[0] == prints[1] != prints[2]
    params(tmp_path / "y")
    assert open_sequences(tmp_path / "y").fingerprint != prints[0]


def refusal(path: Path, max_sequence_length: int | None = None) -> str:
    with pytest.raises(UserError) as caught:
        open_sequences(path, max_sequence_length)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_refuses_folders_without_data(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nothing")
    assert refusal(tmp_path).endswith("no *.h5 files in it")
    for split in ("validation", "train"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "data.h5").touch()
    assert refusal(tmp_path).endswith("in it; there are some in its folders train, validation")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (np.zeros((2, 4, MSL), np.int32), "shape [2, 4, 4] and type int32, expected [N, 3,"),
        (np.zeros((2, MSL), np.int32), "shape [2, 4]"),
        (np.zeros((2, 3, MSL), np.float32), "type float32, expected integers"),
        (np.zeros((0, 3, MSL), np.int32), "n_examples is 0"),
        (np.zeros((2, 3, 0), np.int32), "length 0"),
    ],
)
def test_refuses_wrong_shapes_and_types(tmp_path: Path, data: np.ndarray, expected: str) -> None:
    write(tmp_path / "a.h5", data)
    assert expected in refusal(tmp_path)


def test_refuses_files_that_differ(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(2))
    write(tmp_path / "b.h5", samples(2)[:, :, :3])
    message = refusal(tmp_path)
    assert "b.h5: data has shape [2, 3, 3]" in message
    assert "a.h5 has shape [2, 3, 4]" in message


def test_refuses_a_wrong_sequence_length(tmp_path: Path) -> None:
    write(tmp_path / "s/a.h5", samples(2))
    write(tmp_path / "c/a.h5", np.arange(8, dtype=np.uint16))
    assert "sequences of length 4, but max_sequence_length is 8" in refusal(tmp_path / "s", 8)
    assert "needs max_sequence_length" in refusal(tmp_path / "c")
    assert "8 tokens are too few" in refusal(tmp_path / "c", 8)
    assert len(open_sequences(tmp_path / "c", 7)) == 1


def test_refuses_damaged_files(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(1000))
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[:-500])
    assert "truncated" in refusal(tmp_path)
    (tmp_path / "a.h5").write_bytes(b"")
    assert "truncated or damaged" in refusal(tmp_path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tokens"] = [1]
    assert "no dataset named 'data'" in refusal(tmp_path)


def test_damage_inside_compressed_data_is_named_when_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (4, 3, 512), dtype=np.int32)
    write(tmp_path / "a.h5", noise, chunks=(4, 3, 512), compression="gzip")
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[-3000:-2000] = bytes(1000)
    (tmp_path / "a.h5").write_bytes(bytes(content))
    source = open_sequences(tmp_path)
    with pytest.raises(UserError, match=r"a\.h5: cannot be read, the file is damaged"):
        source.read([0])


def test_refuses_a_wrong_n_examples(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(2), n_examples=3)
    assert "n_examples says 3, but there are 2" in refusal(tmp_path)


def test_data_params_must_describe_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(2))
    write(tmp_path / "b.h5", samples(2))
    content = params(tmp_path)
    assert open_sequences(tmp_path).params == content
    (tmp_path / "b.h5").rename(tmp_path / "c.h5")
    assert "lists b.h5, which is not there" in refusal(tmp_path)
    write(tmp_path / "b.h5", samples(2))
    assert "does not list c.h5" in refusal(tmp_path)
    (tmp_path / "c.h5").unlink()
    write(tmp_path / "b.h5", samples(1))
    assert "b.h5 should hold 2 sequences, has 1" in refusal(tmp_path)
    (tmp_path / "data_params.json").write_text("{")
    assert "not JSON" in refusal(tmp_path)


def test_folders_of_different_tokenizers_do_not_mix(tmp_path: Path) -> None:
    for name, sha in (("x", "ab"), ("y", "cd")):
        write(tmp_path / name / "a.h5", samples(2))
        params(tmp_path / name, tokenizer_sha256=sha)
    with pytest.raises(UserError, match=r"tokenizer_sha256 is cd, but .* says ab"):
        open_sequences([tmp_path / "x", tmp_path / "y"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": 5}, "files: expected a list of objects with name and sha256"),
        ({"files": ["a.h5"]}, "files: expected a list of objects"),
        ({"files": [{"name": "a.h5", "n_examples": 2}]}, "files: expected a list of objects"),
        ({"vocab_size": "many"}, "vocab_size: expected a whole number, got 'many'"),
        ({"num_virtual_tokens": None}, "num_virtual_tokens: expected a whole number, got None"),
    ],
)
def test_data_params_of_other_types_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    write(tmp_path / "a.h5", samples(2))
    (tmp_path / "data_params.json").write_text(json.dumps(params(tmp_path) | change))
    assert message in refusal(tmp_path)


def test_foreign_data_params_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", samples(2))
    (tmp_path / "data_params.json").write_text('{"vocab_size": 3, "files": 7}')
    assert open_sequences(tmp_path).params == {}


@pytest.mark.parametrize("number", [2**32 + 3, -(2**63)])
def test_numbers_beyond_32_bits_do_not_wrap_into_range(tmp_path: Path, number: int) -> None:
    write(tmp_path / "a.h5", np.array([1, 2, number, 4, 5], dtype=np.int64))
    with pytest.raises(UserError, match="no token ids"):
        open_sequences(tmp_path, MSL).read([0])
