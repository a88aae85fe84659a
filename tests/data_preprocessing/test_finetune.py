import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from data_preprocessing.finetune import finetune_task
from modelzoo_mediswift.data.checks import check_block
from modelzoo_mediswift.data.hdf5 import open_sequences
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA

WORDS = [
    "<|endoftext|>",
    *["question:", "Does", "it", "rise?", "context:", "It", "rose", "in", "3", "of", "4", "mice."],
    *["the", "answer", "to", "question", "given", "context", "is", "yes.", "no.", "maybe."],
]
VOCAB = {word: i for i, word in enumerate(WORDS)}
N_VIRTUAL = 9
# "question: Does it rise? context: It rose in 3 of 4 mice."
N_SOURCE = 5 + 7
# "the answer to the question given the context is yes."
N_TARGET = 10


def record(label: str, context: str = "It rose in 3 of 4 mice.") -> dict:
    return {
        "QUESTION": "Does it rise?",
        "CONTEXTS": [context],
        "LONG_ANSWER": "It rose.",
        "final_decision": label,
    }


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """Folder with PubMedQA files, tokenizer of one id per word."""
    fold = tmp_path / "pubmedqa" / "pqal_fold0"
    fold.mkdir(parents=True)
    splits = {
        "train": {"1": record("yes"), "2": record("no", "It rose in 3 of 4 mice. " * 9)},
        "dev": {"3": record("maybe")},
        "test": {"4": record("yes"), "5": record("no")},
    }
    for name, content in splits.items():
        (fold / f"{name}_set.json").write_text(json.dumps(content))
    tokenizer = Tokenizer(models.WordLevel(VOCAB, unk_token="mice."))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return fold.parent, tmp_path / "tokenizer.json"


def text(ids: np.ndarray) -> str:
    by_id = {i: word for word, i in VOCAB.items()}
    return " ".join(by_id.get(int(i), f"v{int(i) - len(VOCAB) + 1}") for i in ids)


def test_sequences_hold_source_prompt_and_target(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    done = finetune_task("pubmedqa", *inputs, tmp_path / "out", max_sequence_length=40)
    source = open_sequences(tmp_path / "out" / "train")
    rows, mask, labels = source.read([0])[0]
    prompt = " ".join(f"v{i + 1}" for i in range(N_VIRTUAL))
    assert text(rows[: 1 + N_SOURCE + N_VIRTUAL]) == (
        f"<|endoftext|> question: Does it rise? context: It rose in 3 of 4 mice. {prompt}"
    )
    target = "the answer to the question given the context is yes. <|endoftext|>"
    assert text(labels[mask == 1]) == target
    assert mask.sum() == N_TARGET + 1
    assert done["train"]["vocab_size"] == len(VOCAB)
    assert done["train"]["num_virtual_tokens"] == N_VIRTUAL
    assert done["train"]["n_loss_tokens"] == 2 * (N_TARGET + 1)
    every = list(range(len(source)))
    check_block(source.read(every), every, source, len(VOCAB), N_VIRTUAL)


def test_long_sources_are_cut_and_counted(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    done = finetune_task("pubmedqa", *inputs, tmp_path / "out", max_sequence_length=40)
    lines = (tmp_path / "out" / "train" / "examples.jsonl").read_text().splitlines()
    room = 40 - 1 - N_VIRTUAL - N_TARGET
    assert [json.loads(line) for line in lines] == [
        {"id": "1", "label": "yes", "n_source_tokens": N_SOURCE, "truncated": 0},
        {"id": "2", "label": "no", "n_source_tokens": room, "truncated": 5 + 7 * 9 - room},
    ]
    assert done["train"]["counts"] == {
        "truncated": 1,
        "tokens_cut": 5 + 7 * 9 - room,
        "labels": {"no": 1, "yes": 1},
    }
    source = open_sequences(tmp_path / "out" / "train")
    mask, labels = source.read([1])[0][1:]
    assert text(labels[mask == 1]).endswith("context is no. <|endoftext|>")


def test_options(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    done = finetune_task(
        "pubmedqa",
        *inputs,
        tmp_path / "out",
        max_sequence_length=64,
        num_virtual_tokens=2,
        vocab_size=100,
        include_long_answer=True,
    )
    rows, mask, labels = open_sequences(tmp_path / "out" / "validation").read([0])[0]
    assert rows[rows >= len(VOCAB)].tolist() == [100, 101]
    assert text(labels[mask == 1]).startswith("It mice. the answer")  # "rose." is unknown
    assert done["validation"]["vocab_size"] == 100


def test_done_work_is_kept_and_other_work_is_not_mixed_in(
    inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    def run(**options: int) -> dict:
        options = {"max_sequence_length": 40} | options
        return finetune_task("pubmedqa", *inputs, tmp_path / "out", **options)

    first = run()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert run() == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times
    with pytest.raises(UserError, match=r"train: holds .*num_virtual_tokens was 9, now it is 1"):
        run(num_virtual_tokens=1)
    with pytest.raises(UserError, match="include_long_answer was False, now it is True"):
        run(include_long_answer=True)


def test_refusals(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    def refusal(task: str = "pubmedqa", max_sequence_length: int = 40, **options: int) -> str:
        with pytest.raises(UserError) as caught:
            finetune_task(
                task, *inputs, tmp_path / "out", max_sequence_length=max_sequence_length, **options
            )
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    assert refusal(task="hoq") == "no task 'hoq', expected pubmedqa, hoc, hoc_sentence"
    assert (
        "example 1: max_sequence_length 19 has no room for 9 virtual tokens and a target of 10"
        in refusal(max_sequence_length=19)
    )
    assert f"vocab_size is 5, but {inputs[1]} has {len(VOCAB)}" == refusal(vocab_size=5)
    assert refusal(num_virtual_tokens=-3) == "num_virtual_tokens: expected 0 or more, got -3"


def test_every_label_has_the_same_source(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    """What scoring by likelihood relies on: only the target differs between labels."""
    task = PubMedQA()
    forms = {task.example("1", record(label)).source for label in task.labels}
    assert len(forms) == 1


def test_sentences_of_two_files_are_different_examples(
    inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "hoc").mkdir()
    for name, sentences in (("train", 20), ("test", 10)):
        lines = [f"the cells of {name} {i}\tempty\n" for i in range(sentences)]
        (tmp_path / "hoc" / f"{name}.tsv").write_text("".join(lines))
    done = finetune_task(
        "hoc_sentence", tmp_path / "hoc", inputs[1], tmp_path / "out", max_sequence_length=64
    )
    assert {split: params["n_examples"] for split, params in done.items()} == {
        "train": 18,
        "validation": 2,
        "test": 10,
    }


def test_layout_is_chosen_and_recorded(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    done = finetune_task(
        "pubmedqa",
        *inputs,
        tmp_path / "out",
        max_sequence_length=64,
        prompt_position="before",
        include_long_answer=True,
    )
    layout = {"prompt_position": "before", "include_long_answer": True}
    assert all(params["example_layout"] == layout for params in done.values())
    block = open_sequences(tmp_path / "out" / "test").read([0])[0]
    prompt = " ".join(f"v{i + 1}" for i in range(N_VIRTUAL))
    assert text(block[0]).startswith(f"<|endoftext|> {prompt} question: Does it rise?")
    assert text(block[2][block[1] == 1]).startswith("It mice. the answer")  # "rose." is not a word
    default = finetune_task("pubmedqa", *inputs, tmp_path / "as_ever", max_sequence_length=64)
    layout = {"prompt_position": "between", "include_long_answer": False}
    assert default["train"]["example_layout"] == layout
