"""`run`: one configuration, every stage once, from wherever it was stopped."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pmc_bucket
import pytest

from data_preprocessing import run_config
from data_preprocessing.__main__ import main
from data_preprocessing.bpe import MAX_VOCAB_SIZE
from data_preprocessing.file_sets import NLM, PMC_BUCKET, PUBMED
from data_preprocessing.only_one import only_one
from data_preprocessing.run import run_stages
from data_preprocessing.run_config import load_run_config
from data_preprocessing.sample.corpus import write_sample
from modelzoo_mediswift.errors import UserError

CONFIGS = Path(run_config.__file__).parent / "configs"
SMALL = """\
out: {out}
sample: {{scale: 0.1}}
merge:
  exclude_pmids: [{out}/sample/pubmedqa/test_ground_truth.json]
tokenizer: {{vocab_size: 400}}
pack: {{max_sequence_length: 64}}
finetune:
  - {{task: pubmedqa, input: {out}/sample/pubmedqa, max_sequence_length: 256}}
  - {{task: hoc, input: {out}/sample/hoc, max_sequence_length: 256}}
"""


def config_file(tmp_path: Path, name: str = "out", text: str = SMALL) -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text.format(out=tmp_path / name))
    return path


def products(folder: Path) -> dict[str, str]:
    """SHA-256 of what the stages made; data_params.json names no path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "run.json")
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert main(["run", str(config_file(folder))]) == 0
    return folder / "out"


def test_everything_is_there(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir() if path.name[0] != ".") == [
        "card",
        "finetune",
        "merged",
        "packed",
        "parsed",
        "run.json",
        "sample",
        "tokenizer",
    ]
    for split in ("train", "validation"):
        assert (finished / "packed" / split / "data_params.json").exists()
        for task in ("pubmedqa", "hoc"):
            assert (finished / "finetune" / task / split / "data_params.json").exists()


def test_the_second_time_nothing_is_made(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.h5")}
    assert main(["run", str(finished.parent / "out.yaml")]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.h5")} == before
    shown = capsys.readouterr().out
    for stage in ("sample", "merge", "tokenizer", "pack", "finetune pubmedqa", "finetune hoc"):
        assert f"{stage} (done before)" in shown


def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    finished: Path, tmp_path: Path
) -> None:
    config = config_file(tmp_path)
    command = [sys.executable, "-m", "data_preprocessing", "run", str(config)]
    moments = random.Random(0)
    for _ in range(4):
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(moments.uniform(0.3, 1.6))
            process.send_signal(signal.SIGKILL)
    assert main(["run", str(config)]) == 0
    assert products(tmp_path / "out") == products(finished)


def test_a_changed_setting_remakes_its_stage_and_what_follows(tmp_path: Path) -> None:
    config = config_file(tmp_path)
    assert main(["run", str(config)]) == 0
    first = products(tmp_path / "out")
    config.write_text(config.read_text().replace("pack: {", "pack: {seed: 1, "))
    assert main(["run", str(config)]) == 0
    second = products(tmp_path / "out")
    changed = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert changed
    assert {name.partition("/")[0] for name in changed} == {"packed", "card"}
    # Somebody's change to a result is noticed, and the result made again.
    (tmp_path / "out" / "packed" / "train" / "data-00000.h5").write_bytes(b"")
    assert main(["run", str(config)]) == 0
    assert products(tmp_path / "out") == second


def test_what_run_did_not_make_is_not_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "sample").mkdir(parents=True)
    (tmp_path / "out" / "sample" / "precious").write_text("work")
    assert main(["run", str(config_file(tmp_path))]) == 2
    assert "sample: was not made by `run`; remove it" in capsys.readouterr().err
    assert (tmp_path / "out" / "sample" / "precious").read_text() == "work"


def test_the_second_of_two_runs_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_file(tmp_path)
    with only_one(tmp_path / "out"):
        assert main(["run", str(config)]) == 2
    assert "another run (process" in capsys.readouterr().err
    with only_one(tmp_path / "sample"):
        assert main(["sample", str(tmp_path / "sample")]) == 2
    assert "another run (process" in capsys.readouterr().err
    with only_one(tmp_path / "t.json", is_file=True):
        assert main(["tokenizer", str(tmp_path), "-o", str(tmp_path / "t.json")]) == 2
    assert "t.json: another run (process" in capsys.readouterr().err
    for stage in ("parse", "merge"):
        with only_one(tmp_path / stage):
            assert main([stage, str(config), "-o", str(tmp_path / stage)]) == 2
        assert "another run (process" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_shipped_are_valid(path: Path) -> None:
    assert load_run_config(path).pack.max_sequence_length in (256, 1024)


def test_the_shipped_configurations_are_these_three(tmp_path: Path) -> None:
    assert {path.stem for path in CONFIGS.iterdir()} == {"paper", "laptop", "sample"}
    paper = load_run_config(CONFIGS / "paper.yaml")
    assert paper.merge.validation_share == 0.03
    assert paper.tokenizer.vocab_size == 42384
    for config in (paper, load_run_config(CONFIGS / "laptop.yaml")):
        assert config.merge.exclude_pmids == ("pubmedqa", "hoc")
        assert config.fetch is not None
        assert config.fetch.base_url == NLM
        assert config.fetch_pmc is not None
        assert config.fetch_pmc.base_url == PMC_BUCKET
    assert paper.fetch is not None
    assert paper.fetch.sets == PUBMED
    assert paper.fetch_pmc is not None
    assert paper.fetch_pmc.groups == ("comm", "noncomm", "other")


def test_the_laptop_configuration_from_copies_of_both_servers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlm, bucket = tmp_path / "nlm" / "pubmed" / "baseline", tmp_path / "bucket"
    assert main(["sample", str(tmp_path / "sample"), "--scale", "0.1"]) == 0
    nlm.mkdir(parents=True)
    for path in sorted((tmp_path / "sample" / "pubmed").glob("*.xml.gz"))[:1]:
        content = path.read_bytes()
        (nlm / "pubmed26n0001.xml.gz").write_bytes(content)
        (nlm / "pubmed26n0001.xml.gz.md5").write_text(hashlib.md5(content).hexdigest())
    for pmcid in (10_000, 11_000_000, 11_000_001, 11_020_000, 11_030_000):
        pmc_bucket.add(bucket, pmcid, more="Words that the tokenizer may learn from. " * 20)
    pmc_bucket.take_inventory(bucket, "2026-11-16T01-00Z")
    text = (CONFIGS / "laptop.yaml").read_text()
    text = text.replace("data/laptop", str(tmp_path / "out")).replace("42384", "400")
    text = text.replace("{sets:", f"{{base_url: {tmp_path / 'nlm'}, sets:")
    text = text.replace("{groups:", f"{{base_url: {bucket}, groups:")
    (tmp_path / "laptop.yaml").write_text(text)
    for _ in range(2):
        assert main(["run", str(tmp_path / "laptop.yaml")]) == 0
        shown = capsys.readouterr().out
    assert "merge (done before)" in shown
    packages = sorted(path.name for path in (tmp_path / "out" / "fetched_pmc").glob("*.gz"))
    assert packages == ["pmc_comm.PMC01100xxxx.tar.gz", "pmc_comm.PMC01102xxxx.tar.gz"]
    counts = json.loads((tmp_path / "out" / "parsed" / "counts.json").read_text())
    assert counts["totals"]["files"] == 3

    (bucket / "PMC11000000.1" / "PMC11000000.1.xml").write_bytes(b"another")
    pmc_bucket.add(bucket, 11_000_002, version=2, xml_url="s3://x/y.xml?md5=" + "0" * 32)
    pmc_bucket.take_inventory(bucket, "2026-11-17T01-00Z")
    assert main(["run", str(tmp_path / "laptop.yaml")]) == 2
    assert "1 files could not be fetched, the first: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("merge:\n  sed: 1\n", r':5: merge\.sed: unknown key "sed"; did you mean "seed"'),
        ("merge:\n  seed: -1\n", r":5: merge\.seed: expected an integer >= 0, got -1"),
        ("merg: {}\n", r':4: merg: unknown key "merg"; did you mean "merge"'),
        ("merge: {validation_share: 1.5}\n", r"expected a number in \[0, 1\), got 1\.5"),
        (
            "fetch: {sets: [pubmed_base]}\n",
            r':4: fetch\.sets\.0: unknown set of files "pubmed_base"; did you mean "pubmed_bas',
        ),
        (
            "fetch_pmc: {groups: [com]}\n",
            r':4: fetch_pmc\.groups\.0: unknown licence group "com"; did you mean "comm"',
        ),
        ("tokenizer: 5\n", r":4: tokenizer: expected a mapping, got 5"),
        (
            "finetune: [{task: hok, input: x, max_sequence_length: 1}]\n",
            "expected pubmedqa, hoc or",
        ),
        # What would otherwise be told after all other stages.
        (
            "finetune:\n  - {task: hoc, input: x, max_sequence_length: 1, subset: pqaa}\n",
            r":5: finetune\.0: hoc: has no option subset",
        ),
        (
            "finetune: [{task: pubmedqa, input: x, max_sequence_length: 1, fold: 10}]\n",
            "fold is 10, expected 0 to 9",
        ),
        (
            "finetune: [{task: pubmedqa, input: x, max_sequence_length: 1, subset: pqau}]\n",
            "pqau has no labels of its own",
        ),
        ("tokenizer: {vocab_size: 256}\n", r"tokenizer\.vocab_size: expected an integer from 257"),
        (
            f"tokenizer: {{vocab_size: {MAX_VOCAB_SIZE + 1}}}\n",
            rf"to {MAX_VOCAB_SIZE}, got {MAX_VOCAB_SIZE + 1}",
        ),
        (
            "finetune:\n"
            "  - {task: hoc, input: x, max_sequence_length: 1}\n"
            "  - {task: hoc, input: y, max_sequence_length: 1}\n",
            "the same task and subset twice",
        ),
    ],
)
def test_mistakes_in_the_configuration(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"out: x\nsample:\npack: {{max_sequence_length: 8}}\n{change}")
    with pytest.raises(UserError, match=message):
        load_run_config(path)


@pytest.mark.parametrize("scale", ["0.02", "21"])
def test_a_sample_that_cannot_be_made(tmp_path: Path, scale: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"out: x\nsample:\n  scale: {scale}\npack: {{max_sequence_length: 8}}\n")
    with pytest.raises(UserError, match=r":3: sample\.scale: expected a number in \[0\.03, 20\]"):
        load_run_config(path)
    with pytest.raises(UserError, match=r"scale: expected a number in \[0\.03, 20\]"):
        write_sample(tmp_path / "sample", scale=float(scale))


def test_a_layout_that_best_fit_has_no_use_for(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    pack = "pack: {max_sequence_length: 8, layout: corpus, packing: best_fit}\n"
    path.write_text(f"out: x\nsample:\n{pack}")
    with pytest.raises(UserError, match=r":3: pack: packing: best_fit needs the sample layout"):
        load_run_config(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("parse: {inputs: [nowhere]}", r"parse\.inputs: nowhere: no such file or folder"),
        ("merge: {decontaminate: [no.tsv]}", r"merge\.decontaminate: no\.tsv: no such file"),
        ("merge: {exclude_pmids: [hocc]}", "hocc: cannot be read .* are pubmedqa, hoc"),
        ("tokenizer: {path: no.json}", r"tokenizer\.path: no\.json: no such file"),
        (
            "finetune: [{task: hoc, input: gone, max_sequence_length: 8}]",
            r"finetune\.input: gone: no such file",
        ),
    ],
)
def test_a_missing_file_is_told_before_the_first_stage(
    tmp_path: Path, change: str, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        f"out: {tmp_path / 'out'}\nsample:\npack: {{max_sequence_length: 8}}\n{change}\n"
    )
    with pytest.raises(UserError, match=message):
        run_stages(load_run_config(path), lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_told_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is there and cannot be imported, as after an upgrade of Python, is missing too."""
    for package in ("rensa", "hdf5plugin"):
        monkeypatch.delitem(sys.modules, package, raising=False)
        (tmp_path / f"{package}.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "c.yaml"
    start = f"out: {tmp_path / 'out'}\nsample:\n"
    path.write_text(f"{start}pack: {{max_sequence_length: 8}}\nmerge: {{near_duplicates: 0.8}}\n")
    with pytest.raises(UserError, match="rensa"):
        run_stages(load_run_config(path), lambda *_: None)
    path.write_text(f"{start}pack: {{max_sequence_length: 8, compression: lz4}}\n")
    with pytest.raises(UserError, match="hdf5plugin"):
        run_stages(load_run_config(path), lambda *_: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["{", "[1]", '"x"', '{"merge": 5}'])
def test_a_damaged_record_of_the_run_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(content)
    path = tmp_path / "c.yaml"
    path.write_text(f"out: {tmp_path / 'out'}\nsample:\npack: {{max_sequence_length: 8}}\n")
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        run_stages(load_run_config(path), lambda *_: None)


def test_something_must_be_read(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("out: x\npack: {max_sequence_length: 8}\n")
    with pytest.raises(
        UserError, match="nothing to read: expected `fetch`, `fetch_pmc`, `sample` or"
    ):
        load_run_config(path)
    path.write_text("out: x\nsample:\n")
    with pytest.raises(UserError, match="pack: missing; this key is required"):
        load_run_config(path)
