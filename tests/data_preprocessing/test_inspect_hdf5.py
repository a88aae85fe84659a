from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from data_preprocessing.inspect_hdf5 import describe_sequence, open_any
from data_preprocessing.write_hdf5 import write_corpus, write_params, write_samples
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.layout import layout_example, layout_rows

WORDS = ["<|endoftext|>", "does", "it", "rise?", "yes."]
MSL = 12


@pytest.fixture
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="it")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([WORDS[0]])
    return tokenizer


def write_question(folder: Path) -> SequenceSource:
    folder.mkdir(parents=True)
    layout = layout_example([1, 2, 3], [4], 2, len(WORDS), 0, MSL)
    rows = layout_rows(layout, len(WORDS), 0, MSL)
    listing = write_samples(folder, [rows], max_sequence_length=MSL)
    known = {"vocab_size": len(WORDS), "eos_token_id": 0, "tokenizer_sha256": ""}
    write_params(folder, listing | known)
    return open_any(folder)


def test_boundaries_and_what_does_not_count(tmp_path: Path, tokenizer: Tokenizer) -> None:
    source = write_question(tmp_path / "out")
    assert describe_sequence(source, 0, tokenizer, colour=False) == (
        f"{tmp_path}/out/data-00000.h5, sequence 0 (sample layout): sequence 0 of 1\n"
        "2 of 12 positions count in the loss, 6 end-of-text, 2 virtual, "
        "labels are the inputs shifted by one\n"
        "\n"
        "[-<|endoftext|>-]\n"
        "[-does it rise?-][-<v1..v2>-]yes.<|endoftext|>\n"
        "[-<|endoftext|> x 5-]\n"
    )


def test_colours_take_the_place_of_brackets(tmp_path: Path, tokenizer: Tokenizer) -> None:
    shown = describe_sequence(write_question(tmp_path / "out"), 0, tokenizer, colour=True)
    assert shown.splitlines()[4] == (
        "\x1b[2mdoes it rise?\x1b[0m\x1b[35;2m<v1..v2>\x1b[0myes.\x1b[36m<|endoftext|>\x1b[0m"
    )


def test_numbers_without_a_tokenizer(tmp_path: Path) -> None:
    shown = describe_sequence(write_question(tmp_path / "out"), 0, None, colour=False)
    assert "[-1 2 3-][-<v1..v2>-]4<|endoftext|>" in shown


def test_the_training_split_of_a_folder(tmp_path: Path) -> None:
    write_question(tmp_path / "out" / "train")
    assert open_any(tmp_path / "out").files[0].path.parent.name == "train"


def test_corpus_layout(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokens = np.array([1, 2, 3, 0, 4, 0] * 50, np.uint16)
    write_corpus(tmp_path, [tokens], max_sequence_length=6, dtype=np.uint16)
    shown = describe_sequence(open_any(tmp_path, 6), 1, tokenizer, colour=False)
    assert "token 6 (corpus layout): sequence 1 of 49" in shown
    assert shown.endswith("does it rise?<|endoftext|>\nyes.<|endoftext|>\ndoes\n")
    assert open_any(tmp_path / "data-00000.h5").max_sequence_length == 128


def test_labels_that_are_not_shifted(tmp_path: Path) -> None:
    rows = np.ones((3, 4), np.int32)
    rows[0] = rows[2] = [5, 6, 7, 8]
    write_samples(tmp_path, [rows], max_sequence_length=4)
    shown = describe_sequence(open_any(tmp_path), 0, None, colour=False)
    assert "LABELS ARE NOT THE SHIFTED INPUTS at 3 positions" in shown


def test_no_such_sequence(tmp_path: Path, tokenizer: Tokenizer) -> None:
    source = write_question(tmp_path / "out")
    for index in (1, -1):
        with pytest.raises(UserError, match=f"sequence {index}: expected 0 to 0"):
            describe_sequence(source, index, tokenizer, colour=False)
