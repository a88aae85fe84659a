"""Stages with two workers killed at random moments, and a disk with too little room."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_run_stages import products

from data_preprocessing.__main__ import main
from data_preprocessing.sample import write_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "sample"
    write_sample(folder, scale=0.1)
    return folder


def commands(sample: Path, out: Path) -> dict[str, list[str]]:
    """The stages in order."""
    parsed, merged, tokenizer = str(out / "parsed"), str(out / "merged"), str(out / "t.json")
    sizes = ["--max_sequence_length", "64", "--samples_per_file", "64"]
    return {
        "parse": ["parse", str(sample / "pubmed"), str(sample / "pmc"), "-o", parsed],
        "merge": ["merge", parsed, "-o", merged, "--duplicates"],
        "tokenizer": ["tokenizer", merged, "-o", tokenizer, "--vocab_size", "300"],
        "pack": ["pack", merged, "-t", tokenizer, "-o", str(out / "packed"), *sizes],
        "finetune": [
            *("finetune", "pubmedqa", str(sample / "pubmedqa"), "-t", tokenizer),
            *("-o", str(out / "finetune"), "--max_sequence_length", "512"),
            *("--samples_per_file", "8"),
        ],
        "card": [
            *("card", merged, "--parsed", parsed, "--packed", str(out / "packed")),
            *("-o", str(out / "card")),
        ],
    }


@pytest.fixture(scope="module")
def straight(sample: Path) -> Path:
    """What all stages give without interruption, with one worker."""
    out = sample.parent / "straight"
    for command in commands(sample, out).values():
        assert main(command) == 0
    return out


@pytest.mark.parametrize("stage", ["parse", "merge", "pack"])
def test_killed_with_its_workers_at_work(
    sample: Path, straight: Path, tmp_path: Path, stage: str
) -> None:
    moments = random.Random(stage)
    for name, command in commands(sample, tmp_path).items():
        if name in ("parse", "merge", "pack"):
            command += ["--workers", "2"]
        for _ in range(3 if name == stage else 0):
            process = subprocess.Popen(
                [sys.executable, "-m", "data_preprocessing", *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            time.sleep(moments.uniform(0.4, 1.6))
            process.send_signal(signal.SIGKILL)
            process.wait()
            _wait_for_the_end_of(process.pid)
        assert main(command) == 0
        if name == stage:
            break
    made = products(tmp_path)
    assert made
    assert made == {name: digest for name, digest in products(straight).items() if name in made}
    assert not [path for path in tmp_path.rglob(".*") if path.name[-5:] != ".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["finetune", "card"])
def test_killed_while_writing(sample: Path, straight: Path, tmp_path: Path, stage: str) -> None:
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    out = tmp_path / stage
    shutil.rmtree(out)
    command = commands(sample, tmp_path)[stage]
    killed = 0
    for moment in (0.0, 0.1):
        with subprocess.Popen(
            [sys.executable, "-m", "data_preprocessing", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            before = _written(out)
            while process.poll() is None and _written(out) <= before:
                time.sleep(0.001)
            time.sleep(moment)
            process.kill()
        killed += process.returncode == -signal.SIGKILL
    assert killed
    assert main(command) == 0
    assert products(tmp_path) == products(straight)
    assert not [path for path in tmp_path.rglob(".*") if path.name[-5:] != ".lock"]


def _written(folder: Path) -> int:
    """When the stage last made a file other than its lock; 0 before the first."""
    try:
        return max(
            (p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != ".lock"), default=0
        )
    except FileNotFoundError:
        return 0  # a temporary file has just got its name


def _wait_for_the_end_of(session: int) -> None:
    """Worker processes end soon after the one that started them was killed."""
    for _ in range(100):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("worker processes outlive their parent")


@pytest.mark.parametrize("stage", ["sample", "parse", "merge", "tokenizer", "pack"])
def test_a_full_disk_is_one_line_and_the_command_can_be_repeated(
    sample: Path, straight: Path, tmp_path: Path, stage: str
) -> None:
    """No file may grow beyond some KB: one line, exit code 2; with room the same command works."""
    steps = {"sample": ["sample", str(tmp_path / "s"), "--scale", "0.03"]}
    steps |= commands(sample, tmp_path)
    for name, command in steps.items():
        if name == stage:
            break
        if name != "sample":
            assert main(command) == 0
    done = subprocess.run(
        [sys.executable, "-m", "data_preprocessing", *command],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)),
    )
    assert done.returncode == 2, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "\r" not in line and "it/s" not in line]
    assert told.startswith("error: ")
    assert "File too large" in told
    assert main(command) == 0
    if stage != "sample":
        made = products(tmp_path)
        assert made == {name: digest for name, digest in products(straight).items() if name in made}
