from collections import Counter
from pathlib import Path

import pytest

from data_preprocessing.bpe import load_tokenizer, save_tokenizer, train_tokenizer
from data_preprocessing.finetune import finetune_task
from data_preprocessing.sample import write_sample
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.hallmarks import HALLMARKS
from modelzoo_mediswift.tasks.hoc import HocDocuments
from modelzoo_mediswift.tasks.hoc_sentence import HocSentences
from modelzoo_mediswift.tasks.registry import TASKS, make_task


def marks(*digits: int) -> str:
    return ",".join(f"{d}_{int(d in digits)}" for d in range(10))


def rows(*sentences: tuple[str, str, str], end: str = "\n") -> str:
    return end.join("\t".join(row) for row in (("labels", "sentence", "index"), *sentences)) + end


def write(folder: Path, **files: str) -> Path:
    """train, dev and test; those left out hold a document of their own."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(("train", "dev", "test")):
        plain = rows((marks(number), "Text .", f"{100 + number}_s0"))
        (folder / f"{name}.tsv").write_text(files.get(name, plain), newline="")
    return folder


def test_a_document_has_the_labels_of_all_its_sentences(tmp_path: Path) -> None:
    train = rows(
        (marks(8), 'They "grow" .', "7_s0"),
        (marks(), '"Second  sentence .', "7_s1"),  # no quoting: an odd mark swallows nothing
        (marks(0, 8), "Third .", "7_s2"),
        (marks(), "Nothing .", "9_s0"),
        end="\r\n",
    )
    first, second = HocDocuments().read(write(tmp_path, train=train), "train")
    assert first.id == "7"
    assert first.source == 'They "grow" . "Second sentence . Third . '
    assert first.label == "activating invasion and metastasis|sustaining proliferative signaling"
    assert first.target == f"the type of this document is {first.label}."
    assert (second.label, second.target) == ("none", "the type of this document is none.")


def test_a_document_without_text_is_named(tmp_path: Path) -> None:
    train = rows((marks(8), "Text .", "7_s0"), (marks(1), " ", "8_s0"), (marks(), "", "8_s1"))
    assert "train.tsv: document 8 is empty" in refusal(write(tmp_path, train=train))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path)
    expected = HocDocuments().read(path, "train")
    file = path / "train.tsv"
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert HocDocuments().read(path, "train") == expected


def test_sentences_are_put_in_their_order(tmp_path: Path) -> None:
    train = rows((marks(1), "B .", "7_s10"), (marks(), "A .", "7_s9"))
    assert HocDocuments().read(write(tmp_path, train=train), "train")[0].source == "A . B . "


@pytest.mark.parametrize(
    ("generated", "label"),
    [
        ("the type of this document is cellular energetics.", "cellular energetics"),
        (
            "the type of this document is resisting cell death | Cellular  energetics . and so",
            "cellular energetics|resisting cell death",
        ),
        (
            "the type of this document is resisting cell death|nonsense|resisting cell death.",
            "resisting cell death",
        ),
        ("the type of this document is none.", "none"),
        ("the type of this document is none|cellular energetics.", "cellular energetics"),
        ("the type of this document is nonsense.", None),
        ("the type of this document is.", None),
        ("cellular energetics.", None),
        ("", None),
    ],
)
def test_an_answer_is_parsed_into_labels(generated: str, label: str | None) -> None:
    assert HocDocuments().parse(generated) == label


@pytest.mark.parametrize("name", ["hoc", "hoc_sentence"])
def test_targets_survive_the_tokenizer(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    save_tokenizer(train_tokenizer(["a text"] * 2, 300, progress=False), tmp_path / "t.json")
    tokenizer = load_tokenizer(tmp_path / "t.json")
    for label in (*task.labels, "|".join(task.labels[2:6])):
        ids = tokenizer.encode(task.target_text(label)).ids
        assert task.parse(tokenizer.decode(ids)) == label


def refusal(path: Path, split: str = "train", task: type = HocDocuments) -> str:
    with pytest.raises(UserError) as caught:
        task().read(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((marks(1), "Text .", "7s0"), "2: expected an index such as 123_s0, got '7s0'"),
        (("0_1,1_0", "Text .", "7_s0"), "2: expected labels 0_*,1_*,...,9_*"),
        ((marks(1).replace("1_1", "1_2"), "Text .", "7_s0"), "2: expected each label to be _0"),
        ((marks(1), "Text\t.", "7_s0"), "2: expected labels / sentence / index, got 4 fields"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: tuple, message: str) -> None:
    assert f"train.tsv:{message}" in refusal(write(tmp_path, train=rows(row)))


def test_splits_that_share_anything_are_refused(tmp_path: Path) -> None:
    one = rows((marks(1), "Text .", "7_s0"))
    assert "dev.tsv: the same as test.tsv" in refusal(write(tmp_path, dev=one, test=one))
    more = rows((marks(1), "Text .", "7_s0"), (marks(1), "Other .", "8_s0"))
    path = write(tmp_path, train=more, test=one)
    for split in ("train", "validation"):  # whichever is asked for
        assert "test.tsv: document 7 is in train.tsv too" in refusal(path, split)
    twice = rows((marks(1), "Text .", "7_s0"), (marks(2), "Text .", "7_s0"))
    assert "train.tsv:3: 7_s0 is in the file twice" in refusal(write(tmp_path, train=twice))


def test_lists_of_pmids(tmp_path: Path) -> None:
    everything = rows(*((marks(d), f"Text {d} .", f"{d}_s0") for d in range(6)))
    (tmp_path / "all.tsv").write_text(everything)
    for name, pmids in (("train", "3\n1\n"), ("dev", "2"), ("test", "5\n4")):
        (tmp_path / f"{name}_pmid.tsv").write_text(pmids)
    task = HocDocuments()
    assert [e.id for e in task.read(tmp_path, "train")] == ["3", "1"]
    assert [e.id for e in task.read(tmp_path, "test")] == ["5", "4"]
    (tmp_path / "test_pmid.tsv").write_text("5 1")
    assert "test_pmid.tsv: document 1 is in train_pmid.tsv too" in refusal(tmp_path)
    (tmp_path / "test_pmid.tsv").write_text("5 99 98")
    assert "test_pmid.tsv: 2 of 3 documents are in no file (99, 98)" in refusal(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "test.tsv").unlink()
    assert HocDocuments().available(path) == ("train", "validation")
    assert "has neither test.tsv nor test_pmid.tsv" in refusal(path, "test")
    assert len(HocDocuments().read(path, "validation")) == 1
    assert "no such folder" in refusal(path / "none")
    assert "no split 'dev'" in refusal(path, "dev")


def test_sentences_have_ids_labels_and_a_validation_split(tmp_path: Path) -> None:
    lines = [f"Text {i} .\t{'empty' if i % 2 else HALLMARKS[i % 10]}" for i in range(20)]
    (tmp_path / "train.tsv").write_text("\n".join(lines))
    test = "A .\tresisting cell death|cellular energetics\n"
    (tmp_path / "test.tsv").write_text(test)
    task = HocSentences()
    (one,) = task.read(tmp_path, "test")
    assert (one.id, one.label) == ("test-000001", "cellular energetics|resisting cell death")
    validation, train = task.read(tmp_path, "validation"), task.read(tmp_path, "train")
    assert [e.id for e in validation] == ["train-000001", "train-000011"]
    assert len({e.id for e in train} | {e.id for e in validation}) == len(train) + 2 == 20
    assert {e.label for e in train} >= {"empty", "inducing angiogenesis"}
    (tmp_path / "valid.tsv").write_text(test)
    for split in ("train", "validation", "test"):
        message = refusal(tmp_path, split, HocSentences)
        assert "valid.tsv: the same as test.tsv" in message
        assert "remove valid.tsv" in message
    (tmp_path / "valid.tsv").write_text("B .\tempty\n")
    assert len(task.read(tmp_path, "train")) == 20
    (tmp_path / "valid.tsv").write_text("B .\tnothing\n")
    assert "valid.tsv:1: expected a sentence" in refusal(tmp_path, "validation", HocSentences)


def test_options_of_another_task_are_refused() -> None:
    assert make_task("hoc", fold=None).name == "hoc"
    with pytest.raises(UserError, match="hoc: has no option fold; it has source_form, target_form"):
        make_task("hoc", fold=3)


def test_from_the_sample_to_hdf5(tmp_path: Path) -> None:
    manifest = write_sample(tmp_path / "sample", scale=0.3)
    folder = tmp_path / "sample" / "hoc"
    task = HocDocuments()
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        examples = task.read(folder, split)
        assert all(task.parse(e.target) == e.label for e in examples)
        expected = manifest["expected"]["hoc"][name]
        assert len(examples) == expected["documents"]
        labels = Counter(name for e in examples for name in e.label.split("|"))
        assert [labels[name] for name in HALLMARKS] == expected["documents_per_label"]
    texts = [e.source for e in task.read(folder, "train")]
    save_tokenizer(train_tokenizer(texts, 400, progress=False), tmp_path / "t.json")
    done = finetune_task(
        "hoc", folder, tmp_path / "t.json", tmp_path / "out", max_sequence_length=512
    )
    assert done["train"]["num_virtual_tokens"] == 1
    assert sum(done["train"]["counts"]["labels"].values()) >= len(texts)
    (folder / "test.tsv").unlink()
    done = finetune_task(
        "hoc", folder, tmp_path / "t.json", tmp_path / "out2", max_sequence_length=512
    )
    assert list(done) == ["train", "validation"]


@pytest.mark.real_data
def test_real_documents(real_data: Path) -> None:
    task = HocDocuments()
    assert task.available(real_data / "hoc")[:2] == ("train", "validation")
    train = task.read(real_data / "hoc", "train")
    validation = task.read(real_data / "hoc", "validation")
    assert (len(train), len(validation)) == (1108, 157)
    assert {e.id for e in train}.isdisjoint(e.id for e in validation)
    sizes = Counter(e.label.count("|") + 1 for e in train if e.label != "none")
    assert sizes == {1: 636, 2: 336, 3: 111, 4: 20, 5: 5}
    assert all(task.parse(e.target) == e.label for e in (*train, *validation))


@pytest.mark.real_data
def test_real_sentences(real_data: Path, tmp_path: Path) -> None:
    sample = (real_data / "hoc" / "biogpt_sentence_sample.tsv").read_bytes()
    (tmp_path / "test.tsv").write_bytes(sample)
    examples = HocSentences().read(tmp_path, "test")
    assert Counter(e.label == "empty" for e in examples) == {True: 45, False: 15}


def test_every_set_of_labels_is_an_answer_and_is_read_back() -> None:
    task = HocDocuments()
    answers = task.answers()
    # 10 over 1, 2, 3, 4 and 5, and none at all.
    assert len(answers) == len(set(answers)) == 10 + 45 + 120 + 210 + 252 + 1
    assert all(task.parse(task.target_text(label)) == label for label in answers)
