import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.normalizers import ByteLevel

from data_preprocessing import bpe
from data_preprocessing.bpe import (
    END_OF_TEXT,
    encode_documents,
    load_tokenizer,
    save_tokenizer,
    tokenizer_sha256,
    train_tokenizer,
    train_tokenizer_from_parquet,
)
from data_preprocessing.moses import moses_tokens
from data_preprocessing.records import PUBMED_ABSTRACT, Record, write_parquet
from modelzoo_mediswift.errors import UserError

SENTENCES = [
    "IL-6 inhibits the growth of tumour cells (p<0.05).",
    "The patients' IL-6 didn't change; TNF-α did.",
    "Does the inhibition of IL-6 change the growth of tumours?\nIt does, in patients.",
    "Tumour growth in 1,000 patients: the effect of inhibition [1].",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(SENTENCES * 3, 350, progress=False)


@pytest.fixture(scope="module")
def saved(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    return path


def test_vocabulary_is_end_of_text_then_the_bytes_then_merges(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 350
    assert tokenizer.token_to_id(END_OF_TEXT) == 0
    first = [tokenizer.id_to_token(i) for i in range(1, 257)]
    assert {len(token) for token in first} == {1}
    assert len(tokenizer.id_to_token(257)) == 2


def test_merges_by_hand() -> None:
    # Words: "Ġab" five times, "Ġabc" three times, "Ġcb" twice. Ġa and ab both occur 8 times; the
    # pair with the smaller ids wins (a < b < c < Ġ), so ab comes first.
    tokenizer = train_tokenizer(["ab ab ab ab ab abc abc abc cb cb"], 260, progress=False)
    assert [tokenizer.id_to_token(i) for i in (257, 258, 259)] == ["ab", "Ġab", "Ġabc"]
    assert tokenizer.encode("abc ab cb").tokens == ["Ġabc", "Ġab", "Ġ", "c", "b"]


def test_a_small_corpus_gives_a_small_vocabulary() -> None:
    tokenizer = train_tokenizer(["aa aa"], 1000, progress=False)
    assert tokenizer.get_vocab_size() == 257 + 2  # "aa" (or "Ġa") and "Ġaa"


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(UserError, match=r"expected at least 257 .*, got 256"):
        train_tokenizer(SENTENCES, 256, progress=False)


def test_too_large_a_vocabulary_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(UserError, match=r"expected at most 512000, got 99999999999"):
        train_tokenizer(SENTENCES, 99_999_999_999, progress=False)


def test_pieces_of_a_word_join_to_its_moses_form(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.encode("IL-6 <5\nα").tokens
    assert "".join(pieces) == "ĠILĠ@-@Ġ6Ġ&lt;Ġ5ĊĠÎ±"


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_every_text_can_be_encoded_and_decoded(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert 0 not in ids
    kept = [c for c in text if not (c.isspace() or c < " ")]
    assert "".join(tokenizer.decode(ids).split()) == "".join(kept)


def test_lines_survive(tokenizer: Tokenizer) -> None:
    text = SENTENCES[2] + "\n\nIL-6, too.\n"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_an_end_of_text_in_a_text_is_no_document_boundary(saved: Path) -> None:
    text = f"before {END_OF_TEXT} after"
    tokenizer = load_tokenizer(saved)
    assert 0 not in tokenizer.encode(text).ids
    assert 0 not in np.concatenate([*encode_documents(tokenizer, [text])])
    assert tokenizer.decode([0], skip_special_tokens=False) == END_OF_TEXT


def test_encode_documents_is_encode_one_by_one(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpe, "_BATCH_CHARACTERS", 100)
    texts = [*SENTENCES, "", *reversed(SENTENCES)]
    encoded = list(encode_documents(tokenizer, iter(texts)))
    assert [ids.tolist() for ids in encoded] == [tokenizer.encode(text).ids for text in texts]
    assert {ids.dtype for ids in encoded} == {np.dtype(np.int32)}


def test_transformers_reads_the_file_by_itself(saved: Path, tokenizer: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(saved), eos_token=END_OF_TEXT)
    for text in [*SENTENCES, "Unseen: 中文 😀 naïve 'quotes' \"too\"… <b>&amp;</b>"]:
        ids = tokenizer.encode(text).ids
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == tokenizer.decode(ids)
    assert theirs.eos_token_id == 0
    assert len(theirs) == tokenizer.get_vocab_size()


TRAIN = """
import sys
from pathlib import Path
from data_preprocessing.bpe import save_tokenizer, train_tokenizer
words = [f"{a}{b}-{a}{a}" for a in "abcdefghij" for b in "klmnopqrst"]
texts = [" ".join(words[i % 7 :: i % 5 + 1]) for i in range(3000)]
if sys.argv[2] == "reversed":
    texts.reverse()
save_tokenizer(train_tokenizer(texts, 700, progress=False), Path(sys.argv[1]))
"""


def test_training_depends_on_the_texts_alone(tmp_path: Path) -> None:
    written = set()
    for threads, order in [("1", "as is"), ("2", "reversed"), ("5", "as is")]:
        out = tmp_path / f"{threads}.json"
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"}
        command = [sys.executable, "-c", TRAIN, str(out), order]
        root = Path(bpe.__file__).parents[1]
        subprocess.run(command, env=environment, cwd=root, check=True)
        written.add(out.read_bytes())
    assert len(written) == 1


def test_saved_and_loaded_again_it_is_the_same(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "new" / "folder" / "copy.json"
    save_tokenizer(load_tokenizer(saved), copy)
    assert copy.read_bytes() == saved.read_bytes()
    assert [path.name for path in copy.parent.iterdir()] == ["copy.json"]
    assert tokenizer_sha256(copy) == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_a_failed_save_leaves_the_old_file(
    saved: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_tokenizer(tokenizer, saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a tokenizer.json, or a damaged one"),
        (b'{"version": "1.0"}', "not a tokenizer.json, or a damaged one"),
        (b"[1, 2]", "not a tokenizer.json, or a damaged one"),
        (b"\x80\xff", "not a tokenizer.json, or a damaged one"),
        (None, "not a tokenizer.json, or a damaged one"),
    ],
    ids=["empty", "no model", "list", "binary", "truncated"],
)
def test_damage_is_named(content: bytes | None, message: str, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(saved.read_bytes()[:-200] if content is None else content)
    with pytest.raises(UserError, match=message) as error:
        load_tokenizer(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_tokenizer_without_end_of_text_is_refused(saved: Path, tmp_path: Path) -> None:
    content = json.loads(saved.read_text(encoding="utf-8"))
    content["added_tokens"] = []
    vocabulary = content["model"]["vocab"]
    vocabulary["<other>"] = vocabulary.pop(END_OF_TEXT)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"expected a tokenizer with <\|endoftext\|>"):
        load_tokenizer(path)


@pytest.mark.parametrize("function", [load_tokenizer, tokenizer_sha256])
def test_a_missing_file_is_named(function: object, tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        function(path)  # type: ignore[operator]
    with pytest.raises(UserError, match="cannot be read"):
        function(tmp_path)  # type: ignore[operator]


def record(title: str, text: str, pmid: int = 1) -> Record:
    return Record(pmid=pmid, title=title, text=text, source=PUBMED_ABSTRACT)


def test_training_from_parquet(tmp_path: Path) -> None:
    rows = [record(f"Title {i}", text, i) for i, text in enumerate(SENTENCES * 3)]
    write_parquet(tmp_path / "train.parquet", [*rows, record("", "no title")])
    out = tmp_path / "tokenizer.json"
    counts = train_tokenizer_from_parquet(tmp_path, out, 300)
    assert counts == {"documents": 13, "sources": {PUBMED_ABSTRACT: 13}, "vocab_size": 300}
    texts = [f"Title {i}\n{text}" for i, text in enumerate(SENTENCES * 3)]
    expected = train_tokenizer([*texts, "no title"], 300, progress=False)
    assert out.read_text(encoding="utf-8") == expected.to_str(pretty=True)


def test_too_few_documents_for_the_vocabulary_are_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [record("", "aa aa")])
    counts = train_tokenizer_from_parquet(tmp_path, tmp_path / "tokenizer.json", 1000)
    assert counts["vocab_size"] == 259
    assert counts["note"].startswith("259 entries, not the 1,000 asked for")


def test_no_documents_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.parquet: no such file"):
        train_tokenizer_from_parquet(tmp_path, tmp_path / "t.json", 300)
    write_parquet(tmp_path / "train.parquet", [])
    with pytest.raises(UserError, match="no documents to train a tokenizer on"):
        train_tokenizer_from_parquet(tmp_path, tmp_path / "t.json", 300)
    assert not (tmp_path / "t.json").exists()


def test_ids_are_those_of_bpe_on_the_moses_tokens(tokenizer: Tokenizer) -> None:
    """BPE word by word on `moses_tokens` (what a two-step pipeline does) gives the same ids."""
    for text in SENTENCES:
        words = [word if word == "\n" else f" {word}" for word in moses_tokens(text)]
        in_bytes = [ByteLevel().normalize_str(word) for word in words]
        pieces = [token.value for word in in_bytes for token in tokenizer.model.tokenize(word)]
        assert tokenizer.encode(text).tokens == pieces
