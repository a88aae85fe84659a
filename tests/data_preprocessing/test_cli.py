import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import data_preprocessing.pack
from data_preprocessing.__main__ import EXAMPLE, main
from data_preprocessing.pmid_lists import pmid_file, read_pmids
from data_preprocessing.records import PUBMED_ABSTRACT, Record, write_parquet
from modelzoo_mediswift.data.hdf5 import open_sequences
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.pubmedqa import OFFICIAL_TEST_SHA256

STAGES = (
    "sample",
    "fetch",
    "fetch_pmc",
    "run",
    "parse",
    "merge",
    "tokenizer",
    "pack",
    "finetune",
    "inspect",
    "card",
)


@pytest.fixture
def packing(tmp_path: Path) -> list[str]:
    """Arguments of a `pack` that works."""
    (tmp_path / "records").mkdir()
    for split, count in (("train", 4), ("validation", 1)):
        records = [
            Record(pmid=i, title="cells", text="rise in mice", source=PUBMED_ABSTRACT)
            for i in range(count)
        ]
        write_parquet(tmp_path / "records" / f"{split}.parquet", records)
    vocab = {w: i for i, w in enumerate(["cells", "rise", "in", "mice", "<|endoftext|>"])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="in"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    out = ["-t", str(tmp_path / "tokenizer.json"), "-o", str(tmp_path / "out")]
    return ["pack", str(tmp_path / "records"), *out, "--max_sequence_length", "6"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_itself(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([stage, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"data_preprocessing {stage}" in text
    assert not any(f"(default: {empty}" in text for empty in ("None", "False", "["))


def test_help_is_there_without_loading_any_stage() -> None:
    program = (
        "import sys, data_preprocessing.__main__ as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'h5py', 'lxml', 'numpy', 'pyarrow', 'tokenizers', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(stage in done.stdout for stage in STAGES)


def test_torch_is_never_imported() -> None:
    modules = ["pack", "write_hdf5", "finetune", "inspect_hdf5"]
    program = (
        f"import sys; from data_preprocessing import {', '.join(modules)}\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_pack_and_inspect(packing: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(packing) == 0
    out = Path(packing[5])
    assert capsys.readouterr().out.splitlines()[:5] == [
        str(out / "train"),
        "  sequences: 4",
        "  tokens: 20",
        "  tokens in the loss: 19",
        "  documents: 4",
    ]
    assert len(open_sequences(out / "train")) == 4
    assert main(["inspect", str(out), "-t", packing[3], "-i", "3", "-n", "9"]) == 0
    shown = capsys.readouterr().out
    assert "sequence 3 of 4" in shown
    assert shown.rstrip().endswith("mice<|endoftext|>\n[-<|endoftext|> x 5-]")


def test_corpus_layout(packing: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*packing, "--layout", "corpus", "--compression", "gzip"]) == 0
    capsys.readouterr()
    assert main(["inspect", packing[5], "--max_sequence_length", "4"]) == 0
    assert "token 0 (corpus layout): sequence 0 of 4" in capsys.readouterr().out


def test_a_user_s_mistake_is_one_line(
    packing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    packing[1] = "no/such/folder"
    assert main(packing) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: no/such/folder/train.parquet")
    assert output.err.count("\n") == 1


def test_records_that_are_cut_short_are_one_line(
    packing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(packing[1]) / "train.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert main(packing) == 2
    assert "train.parquet: not a readable Parquet file" in capsys.readouterr().err


def test_nothing_to_validate_with_is_told(
    packing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_parquet(Path(packing[1]) / "validation.parquet", [])
    assert main(packing) == 0
    assert "validation: not written, there are no documents" in capsys.readouterr().out


def test_sequences_larger_than_memory_are_one_line(
    packing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    packing[-1] = "10000000000"
    assert main(packing) == 2
    error = capsys.readouterr().err
    assert "error: Unable to allocate" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: STAGE"),
        (["pak"], "invalid choice: 'pak'"),
        (["pack"], "required: DIR"),
        (["pack", "x", "-t", "t", "-o", "o", "--max_sequence_length", "0"], "positive number"),
        (["fetch", "x", "--interval", "nan"], "invalid number from 0 on value: 'nan'"),
        (["parse", "x", "-o", ""], 'argument -o/--out: expected a path, got ""'),
        (["parse", "", "-o", "x"], 'argument INPUT: expected a path, got ""'),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_tokenizer_takes_the_place_of_files_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path, tmp_path / "pipe"):
        assert main(["tokenizer", str(tmp_path / "records"), "-o", str(out)]) == 2
        assert capsys.readouterr().err == (
            f"error: {out}: expected a file to write, found something else\n"
        )
    assert (tmp_path / "pipe").is_fifo()


def test_nothing_to_check_a_tokenizer_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record(pmid=1, title="cells", text="rise in mice", source=PUBMED_ABSTRACT)
    write_parquet(tmp_path / "train.parquet", [record])
    write_parquet(tmp_path / "validation.parquet", [])
    out = ["-o", str(tmp_path / "t.json"), "--vocab_size", "300", "--check", "5"]
    assert main(["tokenizer", str(tmp_path), *out]) == 0
    shown = capsys.readouterr().out
    assert "nothing to check with: no validation documents" in shown
    assert "%" not in shown


def test_damaged_input_is_told_and_the_rest_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (
        "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID Version='1'>7</PMID><Article>"
        "<ArticleTitle>T.</ArticleTitle><Abstract><AbstractText>A.</AbstractText></Abstract>"
        "</Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"
    )
    (tmp_path / "a.xml").write_text(whole)
    (tmp_path / "b.xml").write_text("nothing of the kind")
    out = tmp_path / "parsed"
    assert main(["parse", str(tmp_path), "-o", str(out)]) == 2
    output = capsys.readouterr()
    assert "records: 1" in output.out
    first, second = output.err.splitlines()
    assert first.startswith("error: b.xml: neither PubMed XML nor JATS")
    assert second == (
        f"error: 1 of 2 files could not be read to the end; {out} holds what could be read"
    )


def test_interrupt_is_one_line(
    packing: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data_preprocessing.pack, "_cut", interrupted)
    assert main(packing) == 130
    assert capsys.readouterr().err == "interrupted; nothing half-written was kept\n"
    # The tokens made so far stay, out of sight, for the next time.
    assert {path.name for path in Path(packing[5]).iterdir()} == {".lock", ".train.tokens"}


@pytest.mark.parametrize(
    "content", ['{"12": "yes", "7": "no"}', '["12", 7]', "12\n7\n", " 7 12", "# 3\n7 #4\n12"]
)
def test_pmids_from_several_forms(tmp_path: Path, content: str) -> None:
    (tmp_path / "ids").write_text(content)
    assert read_pmids(tmp_path / "ids") == {7, 12}


@pytest.mark.parametrize(
    ("name", "digests"),
    [
        ("pubmedqa", {500: OFFICIAL_TEST_SHA256}),
        ("hoc", {315: "9fabb82be770dd5c231de6720ac5d89888e9e7e506105f168e07c8fd23bc2830"}),
    ],
)
def test_the_test_sets_that_come_with_the_project(name: str, digests: dict[int, str]) -> None:
    file = pmid_file(name)
    listed = [line.split() for line in file.read_text().splitlines() if line[0] != "#"]
    pmids = [pmid for line in listed for pmid in line]
    assert len(read_pmids(file)) == len(pmids)
    for count, digest in digests.items():  # the first so many
        assert hashlib.sha256("\n".join(sorted(pmids[:count])).encode()).hexdigest() == digest
        assert digest in file.read_text()
    assert pmid_file(file.name) == Path(file.name)


@pytest.mark.real_data
def test_no_training_document_of_hoc_is_taken_for_a_test(real_data: Path) -> None:
    listed = read_pmids(pmid_file("hoc"))
    for name in ("train.tsv", "dev.tsv"):
        lines = (real_data / "hoc" / name).read_text(encoding="utf-8").splitlines()[1:]
        assert not listed & {int(line.split("\t")[2].partition("_")[0]) for line in lines}


def test_a_file_that_is_no_list_of_pmids_is_named(tmp_path: Path) -> None:
    for content in ("12\nPMC7", '{"x": 1}', "[[1]]", "{", "[" * 100_000):
        (tmp_path / "ids").write_text(content)
        with pytest.raises(UserError, match="ids: not a list of PMIDs"):
            read_pmids(tmp_path / "ids")
    with pytest.raises(UserError, match=r"none: cannot be read .* are pubmedqa, hoc$"):
        read_pmids(tmp_path / "none")


def test_the_example_in_the_help_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = EXAMPLE.replace("\\\n", " ").partition("by stage:\n")[2].splitlines()
    assert len(commands) == 7
    for command in commands:
        python, dash_m, module, *arguments = shlex.split(command)
        assert (python, dash_m, module) == ("python", "-m", "data_preprocessing")
        if arguments[0] == "sample":
            arguments += ["--scale", "0.1"]  # the whole takes three times as long
        assert main(arguments) == 0, capsys.readouterr().err
    for split in ("train", "validation"):
        params = json.loads(Path(f"work/packed/{split}/data_params.json").read_text())
        assert params["n_examples"] == len(open_sequences(f"work/packed/{split}"))
    for split in ("train", "validation", "test"):
        assert open_sequences(f"work/pubmedqa/{split}").params["counts"]["truncated"] == 0


def test_a_reader_that_stops_reading_sees_no_traceback(packing: list[str]) -> None:
    """What `... inspect ... | head -1` does, with more text than a pipe holds."""
    assert main(packing) == 0
    command = [sys.executable, "-m", "data_preprocessing", "inspect", packing[5], "-n", "9"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
    process.stderr.close()


@pytest.mark.parametrize("text", ["123\n456 # a comment", '{"123": 0, "456": 1}', "[123, 456]"])
def test_pmids_after_a_byte_order_mark(tmp_path: Path, text: str) -> None:
    (tmp_path / "list").write_text(text, encoding="utf-8-sig")
    assert read_pmids(tmp_path / "list") == {123, 456}
