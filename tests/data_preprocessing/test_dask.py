"""The stages on a Dask cluster: real worker processes, one of them killed in the middle."""

import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_preprocessing.__main__ import main
from data_preprocessing.dask_cluster import Dask, dask_cluster
from data_preprocessing.merge import merge_records
from data_preprocessing.merge_texts import TextRules
from data_preprocessing.only_one import only_one
from data_preprocessing.pack import pack_corpus
from data_preprocessing.parse import parse_files
from data_preprocessing.run_config import load_run_config
from data_preprocessing.sample import write_sample
from modelzoo_mediswift.errors import UserError

pytest.importorskip("distributed")


class Killing:
    """Does the jobs on a cluster, and kills one worker after the first result of each stage."""

    def __init__(self, cluster: Dask) -> None:
        self.cluster = cluster
        self.killed: list[int] = []

    def run(self, work: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for done, result in enumerate(self.cluster.run(work, jobs)):
            if done == 0 and len(self.killed) < 2:
                pids = self.cluster.client.run(os.getpid)
                self.killed.append(min(pids.values()))
                os.kill(self.killed[-1], signal.SIGKILL)
            yield result


def stages(sample: Path, out: Path, executor: Killing | None) -> dict[str, str]:
    """SHA-256 of all that the stages wrote."""
    inputs = [sample / "pubmed", sample / "pmc"]
    with only_one(out / "parsed"):
        parse_files(inputs, out / "parsed", executor=executor)
    rules = TextRules(duplicates=True, near_duplicates=0.8)
    merge_records(out / "parsed", out / "merged", text_rules=rules, executor=executor)
    tokenizer = out.parent / "tokenizer.json"
    if not tokenizer.exists():
        merged = str(out / "merged")
        assert main(["tokenizer", merged, "-o", str(tokenizer), "--vocab_size", "300"]) == 0
    pack_corpus(
        out / "merged", tokenizer, out / "packed", max_sequence_length=64, executor=executor
    )
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Dask]:
    with dask_cluster(workers=2) as started:
        yield started


def test_the_same_bytes_as_here_though_workers_are_killed(cluster: Dask, tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    write_sample(tmp_path / "sample", scale=0.1)
    here = stages(tmp_path / "sample", tmp_path / "here", None)
    killing = Killing(cluster)
    there = stages(tmp_path / "sample", tmp_path / "there", killing)
    assert len(set(killing.killed)) == 2
    assert there == here


def test_single_stages_by_the_address_of_a_scheduler(cluster: Dask, tmp_path: Path) -> None:
    write_sample(tmp_path / "sample", scale=0.03)
    address = cluster.client.scheduler.address
    command = ["parse", str(tmp_path / "sample" / "pubmed"), "-o", str(tmp_path / "parsed")]
    assert main([*command, "--dask", address]) == 0
    assert len(list((tmp_path / "parsed").glob("*.parquet"))) > 1


def test_a_mistake_in_a_job_is_told_in_one_line(cluster: Dask) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(cluster.run(_refused, [1, 2]))


def _refused(number: int) -> None:
    raise UserError(f"{number}: no such file")


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_preprocessing.dask_cluster.CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(UserError, match=r"no scheduler at tcp://127\.0\.0\.1:9"),
        dask_cluster(scheduler="tcp://127.0.0.1:9"),
    ):
        pass


def test_jobs_of_a_batch_system_are_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    submitted = []

    async def submit(self: Any, script: str) -> str:
        submitted.append(Path(script).read_text())
        return "Submitted batch job 7"

    monkeypatch.setattr(dask_jobqueue.slurm.SLURMJob, "_submit_job", submit)
    monkeypatch.setattr(dask_jobqueue.slurm.SLURMJob, "_close_job", lambda *_: _nothing())
    asked = {"cores": 4, "processes": 4, "memory": "8GB", "walltime": "1:00:00", "queue": "night"}
    asked["scheduler_options"] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with dask_cluster(jobqueue={"system": "slurm", "jobs": 2, "options": asked}) as executor:
        executor.client.sync(_until, lambda: len(submitted) == 2)
    assert all("#SBATCH -p night\n" in script for script in submitted)
    assert all("#SBATCH --cpus-per-task=4\n" in script for script in submitted)


async def _nothing() -> None:
    pass


async def _until(condition: Callable[[], bool]) -> None:
    import asyncio

    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("{dask: {}}", "expected one of scheduler, workers, jobqueue, got 0"),
        ("{dask: {workers: 2, scheduler: x}}", "got 2"),
        ("{dask: {jobqueue: {system: slum, jobs: 1}}}", 'did you mean "slurm"'),
        ("{ray: {}}", 'unknown key "ray"'),
    ],
)
def test_mistakes_in_the_configuration(tmp_path: Path, executor: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"out: x\nsample:\npack: {{max_sequence_length: 8}}\nexecutor: {executor}\n")
    with pytest.raises(UserError, match=message):
        load_run_config(path)


def test_run_on_a_cluster_of_its_own(tmp_path: Path) -> None:
    made = []
    for executor in ("", "executor: {dask: {workers: 2}}\n"):
        out = tmp_path / f"out{len(made)}"
        config = tmp_path / "run.yaml"
        config.write_text(
            f"out: {out}\n{executor}sample: {{scale: 0.03}}\n"
            "tokenizer: {vocab_size: 300}\npack: {max_sequence_length: 64}\n"
        )
        assert main(["run", str(config)]) == 0
        files = sorted((out / "packed").rglob("*.h5"))
        made.append([file.read_bytes() for file in files])
    assert made[0]
    assert made[0] == made[1]
