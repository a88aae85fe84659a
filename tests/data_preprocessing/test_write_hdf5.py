import json
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_preprocessing.write_hdf5 import (
    new_folder,
    write_corpus,
    write_params,
    write_samples,
    written_before,
)
from modelzoo_mediswift.data.hdf5 import open_sequences
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import file_sha256

MSL = 6


def samples(n: int) -> np.ndarray:
    data = np.random.default_rng(n).integers(0, 50, (n, 3, MSL), dtype=np.int32)
    data[:, 1] = data[:, 1] > 20
    return data


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_samples_come_back_in_model_zoo_s_layout(tmp_path: Path, compression: str | None) -> None:
    data = samples(7)
    listing = write_samples(
        tmp_path, iter(data), max_sequence_length=MSL, samples_per_file=3, compression=compression
    )
    files = sorted(tmp_path.glob("*.h5"))
    assert [path.name for path in files] == [f"data-{i:05d}.h5" for i in range(3)]
    with h5py.File(files[0]) as file:
        assert file["data"].shape == (3, 3, MSL)
        assert file["data"].dtype == np.int32
        assert file.attrs["n_examples"] == 3
        assert file["data"].chunks == ((1, 3, MSL) if compression else None)
    assert (open_sequences(tmp_path).read(range(7)) == data).all()
    assert listing["n_examples"] == 7
    assert listing["n_loss_tokens"] == data[:, 1].sum()
    assert [entry["n_examples"] for entry in listing["files"]] == [3, 3, 1]
    assert [entry["sha256"] for entry in listing["files"]] == [file_sha256(p) for p in files]


def test_a_full_last_file_is_not_followed_by_an_empty_one(tmp_path: Path) -> None:
    listing = write_samples(tmp_path, iter(samples(6)), max_sequence_length=MSL, samples_per_file=3)
    assert len(listing["files"]) == 2


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_corpus_comes_back_as_one_stream(tmp_path: Path, compression: str | None) -> None:
    tokens = np.arange(47, dtype=np.uint16)
    listing = write_corpus(
        tmp_path,
        np.split(tokens, [1, 2, 30]),
        max_sequence_length=5,
        dtype=np.uint16,
        samples_per_file=4,
        compression=compression,
    )
    stored = []
    for path in sorted(tmp_path.glob("*.h5")):
        with h5py.File(path) as file:
            assert file["data"].dtype == np.uint16
            stored.append(file["data"][:])
    assert [len(part) for part in stored] == [20, 20, 7]
    assert np.concatenate(stored).tolist() == tokens.tolist()
    assert listing["n_examples"] == len(open_sequences(tmp_path, 5)) == 9
    assert listing["n_loss_tokens"] == 45


def test_bytes_do_not_depend_on_the_time(tmp_path: Path) -> None:
    for name, wait in (("x", 0), ("y", 1.1)):  # HDF5 keeps times in seconds
        time.sleep(wait)
        (tmp_path / name).mkdir()
        write_samples(tmp_path / name, iter(samples(3)), max_sequence_length=MSL)
    x, y = ((tmp_path / name / "data-00000.h5").read_bytes() for name in ("x", "y"))
    assert x == y


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"

    def write(fail: bool) -> None:
        with new_folder(target) as folder:
            write_samples(folder, iter(samples(2)), max_sequence_length=MSL)
            assert not target.exists()
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(fail=True)
    assert list(target.parent.iterdir()) == []
    (target.parent / ".out.partial").mkdir()  # left by a killed process
    (target.parent / ".out.partial" / "data-00009.h5").write_bytes(b"")
    write(fail=False)
    assert [path.name for path in target.iterdir()] == ["data-00000.h5"]
    with pytest.raises(UserError, match="out: already there"):
        write(fail=False)


def test_an_empty_folder_may_be_there_before(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "out" / "file").read_text() == "x"


def test_a_folder_written_before_is_known_by_its_settings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    wanted = {"format": "sample", "max_sequence_length": MSL, "settings": {"a": 1, "b": None}}
    assert written_before(out, wanted) is None
    with new_folder(out) as folder:
        listing = write_samples(folder, iter(samples(2)), max_sequence_length=MSL)
        params = write_params(folder, {**wanted, **listing, "tokenizer_sha256": "ab"})
    assert params["created_by"].startswith("modelzoo-mediswift ")
    assert written_before(out, wanted) == params
    with pytest.raises(UserError, match=r"settings\.b was None, now it is gzip"):
        written_before(out, wanted | {"settings": {"a": 1, "b": "gzip"}})
    (out / "data-00000.h5").unlink()
    with pytest.raises(UserError, match=r"no \*\.h5 files"):
        written_before(out, wanted)
    (out / "data_params.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        written_before(out, wanted)
    (out / "data_params.json").unlink()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        written_before(out, wanted)


def test_params_are_json_with_a_newline_at_the_end(tmp_path: Path) -> None:
    write_params(tmp_path, {"b": 1, "a": None})
    text = (tmp_path / "data_params.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["b", "a", "created_by"]


def test_unknown_compression(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected gzip, lz4 or none, got 'zip'"):
        write_samples(tmp_path, iter(samples(1)), max_sequence_length=MSL, compression="zip")
