"""Tokens on the disk: any order, any number of workers, continued after a kill, little memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peak_memory import megabytes
from test_pack import TEXTS, WORDS, contents, write_records, write_tokenizer
from tokenizers import Tokenizer

from data_preprocessing import records, token_store
from data_preprocessing.pack import pack_corpus, shuffled_order
from data_preprocessing.records import Record, write_parquet
from data_preprocessing.token_store import TokenStore, tokenize_file


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Records in 20 row groups, and the tokenizer."""
    monkeypatch.setattr(records, "ROW_GROUP_ROWS", 1)
    folder = tmp_path / "records"
    folder.mkdir()
    for split, count in (("train", 9000), ("validation", 600)):
        write_parquet(
            folder / f"{split}.parquet",
            (
                Record(pmid=i, title="", text=" ".join([WORDS[i % 11]] * (i % 7)), source="x")
                for i in range(count)
            ),
        )
    return folder, write_tokenizer(tmp_path / "tokenizer.json")


def store(many: tuple[Path, Path], folder: Path) -> TokenStore:
    return tokenize_file(many[0] / "train.parquet", many[1], folder, {"x": 1})


def test_documents_are_kept_apart(tmp_path: Path) -> None:
    write_records(tmp_path / "records", "train", TEXTS)
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json")
    path = tmp_path / "records" / "train.parquet"
    documents = tokenize_file(path, tokenizer, tmp_path / "tokens", {})
    assert documents.dtype == np.uint16
    assert documents.lengths.tolist() == [4, 2, 5, 1]
    third, first, *_ = documents.in_order(np.array([2, 0, 1, 3]))
    assert [WORDS[i] for i in third] == ["the", "a", "of", "men", "fall"]
    assert [WORDS[i] for i in first] == ["cells", "rise", "in", "mice"]


@pytest.mark.parametrize("bucket_bytes", [1 << 30, 5000, 300])
def test_any_order_through_any_number_of_buckets(
    many: tuple[Path, Path], tmp_path: Path, bucket_bytes: int
) -> None:
    documents = store(many, tmp_path / "tokens")
    order = shuffled_order(9000, 3)
    found = [tokens.tolist() for tokens in documents.in_order(order, bucket_bytes)]
    assert found == [[i % 11] * (i % 7) for i in order.tolist()]
    assert not list((tmp_path / "tokens").glob("bucket*"))


def test_the_number_of_workers_changes_no_byte(many: tuple[Path, Path], tmp_path: Path) -> None:
    for workers in (1, 2):
        pack_corpus(*many, tmp_path / str(workers), max_sequence_length=32, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert not list((tmp_path / "1").glob(".*"))


def test_chunks_of_an_interrupted_run_are_used(
    many: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    most = 5
    original = token_store._tokenize_chunk

    def counted(tokenizer: Tokenizer, path: Path, chunk: int, *rest: object) -> None:
        if len(done) == most:
            raise KeyboardInterrupt
        original(tokenizer, path, chunk, *rest)  # type: ignore[arg-type]
        done.append((path.stem, chunk))

    monkeypatch.setattr(token_store, "_tokenize_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        pack_corpus(*many, tmp_path / "out", max_sequence_length=32)
    assert done == [("train", chunk) for chunk in range(5)]
    most = 1000
    pack_corpus(*many, tmp_path / "out", max_sequence_length=32)
    assert len(done) == len(set(done)), "none twice"
    pack_corpus(*many, tmp_path / "fresh", max_sequence_length=32)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_chunks_made_from_something_else_are_not_used(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json")
    lengths = []
    for number, texts in enumerate((TEXTS, TEXTS[:2])):
        write_records(tmp_path / str(number), "train", texts)
        path = tmp_path / str(number) / "train.parquet"
        documents = tokenize_file(path, tokenizer, tmp_path / "tokens", {"made": number})
        lengths.append(documents.lengths.tolist())
    assert lengths == [[4, 2, 5, 1], [4, 2]]


def test_killed_while_packing(many: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "data_preprocessing", "pack", str(many[0])]
    command += ["-t", str(many[1]), "-o", str(tmp_path / "out"), "--max_sequence_length", "32"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list((tmp_path / "out").rglob("*.npy")):
            pass
        process.kill()
    pack_corpus(*many, tmp_path / "out", max_sequence_length=32)
    pack_corpus(*many, tmp_path / "fresh", max_sequence_length=32)
    (tmp_path / "out" / ".lock").unlink()
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_memory_does_not_hold_the_tokens(tmp_path: Path) -> None:
    """80 MB of tokens in chunks of 4 MB, in random order in buckets of 1 MB."""
    (tmp_path / "tokens").mkdir()
    for chunk in range(20):
        tokens = np.arange(2_000_000, dtype=np.uint16)
        np.save(tmp_path / "tokens" / f"{chunk:06d}.tokens.npy", tokens)
        np.save(tmp_path / "tokens" / f"{chunk:06d}.lengths.npy", np.full(500, 4000))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from data_preprocessing import pack, token_store\n"
        "store = token_store.TokenStore(Path(sys.argv[1]) / 'tokens', 'uint16', 20)\n"
        "before = peak()\n"
        "order = pack.shuffled_order(len(store), 0)\n"
        "size = sum(len(tokens) for tokens in store.in_order(order, 1 << 20))\n"
        "assert size == store.lengths.sum()\n"
        "print(peak() - before)\n"
    )
    assert megabytes(program, tmp_path) < 20
