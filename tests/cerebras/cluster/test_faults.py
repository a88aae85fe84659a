"""What can go wrong with a cluster: each ends in one line and code 2, in bounded time."""

import json
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelzoo_mediswift.checkpoint.directory import load_checkpoint

pytestmark = pytest.mark.cerebras
IMPATIENT = Path(__file__).parent / "impatient_run.py"


@pytest.fixture
def cluster_module() -> Any:
    return pytest.importorskip("stand_in")


def only_error(done: "subprocess.CompletedProcess[str]") -> str:
    """The message that the run ended with; the lines before tell what the client did."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    *before, last = done.stderr.splitlines()
    assert all(not line.startswith("error:") for line in before)
    assert last.startswith("error: CSX: ")
    assert "Compile was successful!" not in done.stdout
    return last.removeprefix("error: CSX: ")


def test_nobody_listens(run_csx):
    with socket.create_server(("localhost", 0)) as free:
        address = f"localhost:{free.getsockname()[1]}"
    started = time.monotonic()
    error = only_error(run_csx(address, "--compile_only"))
    assert error == f"cannot connect to the cluster at {address}: Connection refused"
    assert time.monotonic() - started < 10  # the client alone tries for 25 s
    assert not Path("run").exists()


def test_an_address_without_a_port(run_csx):
    assert only_error(run_csx("localhost", "--compile_only")) == (
        "--mgmt_address: expected HOST:PORT, got localhost"
    )


def test_a_manager_that_never_answers(run_csx, cluster_module):
    class Silent(cluster_module.Manager):
        def GetServerConfig(self, request, context):
            over.wait(30)
            return super().GetServerConfig(request, context)

    over = threading.Event()
    with cluster_module.Cluster(Silent()) as cluster:
        error = only_error(run_csx(cluster.address, "--compile_only", program=IMPATIENT))
        over.set()
    assert error == (
        f"the cluster at {cluster.address} accepts connections, but its manager did not answer "
        "for 2 s"
    )


@pytest.mark.slow
def test_a_cluster_of_another_release_is_refused_unless_told_otherwise(run_csx, cluster_module):
    """The first line of a mismatch names both releases; the check can be turned off."""
    manager = cluster_module.Manager()
    manager.release = "2.9.0+0123456789"
    with cluster_module.Cluster(manager) as cluster:
        error = only_error(run_csx(cluster.address, "--compile_only"))
        assert not cluster.requests["InitCompileJob"]
        done = run_csx(cluster.address, "--compile_only", "--disable_version_check")
    assert "has version: 2.9.0 but client has 2.10.0" in error
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Compile was successful!"


@pytest.mark.slow
def test_a_program_that_does_not_compile(run_csx, cluster_module):
    import grpc

    class Compiler(cluster_module.Coordinator):
        def UnaryCompile(self, request, context):
            context.abort(grpc.StatusCode.INTERNAL, "no kernel matches MatMul_7\n(of 51)")

    with cluster_module.Cluster(coordinator=Compiler()) as cluster:
        error = only_error(run_csx(cluster.address, "--compile_only"))
    assert error == "the cluster: no kernel matches MatMul_7 (of 51)"
    ended = cluster.one("CancelJobV2")  # the job is not left behind
    assert ended.job_id == "compile-1"
    assert "no kernel matches" in ended.message
    assert not cluster.requests["FinalizeCompileJob"]


@pytest.mark.slow
def test_a_job_that_the_manager_cannot_start(run_csx, cluster_module):
    from cerebras.appliance.pb.workflow.appliance.cluster_mgmt import cluster_pb2

    class Full(cluster_module.Manager):
        def PollIngressV2(self, request, context):
            yield cluster_pb2.GetIngressResponse(message="queueing")
            yield cluster_pb2.GetIngressResponse(job_failed=True, message="no healthy system")

    with cluster_module.Cluster(Full()) as cluster:
        error = only_error(run_csx(cluster.address, "--compile_only"))
    assert "no healthy system" in error
    assert cluster.one("CancelJobV2").job_id == "compile-1"


@pytest.mark.slow
def test_a_compile_that_outlasts_its_time(run_csx, cluster_module):
    class Slow(cluster_module.Coordinator):
        def UnaryCompile(self, request, context):
            over.wait(60)
            return super().UnaryCompile(request, context)

    over = threading.Event()
    with cluster_module.Cluster(coordinator=Slow()) as cluster:
        error = only_error(run_csx(cluster.address, "--compile_only", "--job_time_sec", "1"))
        over.set()
    assert "time out after 1s" in error
    assert cluster.requests["CancelJobV2"]


@pytest.mark.slow
def test_a_cluster_that_vanishes_while_it_compiles(run_csx, cluster_module):
    class Vanishing(cluster_module.Coordinator):
        def UnaryCompile(self, request, context):
            threading.Thread(target=cluster.stop).start()
            self.stopped.wait()
            time.sleep(1)

    with cluster_module.Cluster(coordinator=Vanishing()) as cluster:
        error = only_error(run_csx(cluster.address, "--compile_only", program=IMPATIENT))
    assert "unavailable" in error


@pytest.mark.slow
def test_a_job_that_dies_half_way_leaves_the_earlier_checkpoint(run_csx, cluster_module):
    """A weight server crashes in the second stretch, at step 4 of 6."""
    import grpc

    runtime = pytest.importorskip("runtime")

    class Crashing(runtime.Runtime):
        def GetOutputStream(self, request, context):
            if len(cluster.requests["UnaryRun"]) == 2 and request.tensor_name == "output_loss":
                context.abort(grpc.StatusCode.INTERNAL, "weight server 3 crashed")
            yield from super().GetOutputStream(request, context)

    text = Path("csx.yaml").read_text().replace("{steps: 5}", "{steps: 2}")
    Path("csx.yaml").write_text(text)
    with cluster_module.Cluster(coordinator=Crashing()) as cluster:
        error = only_error(run_csx(cluster.address, "--max_steps", "4", program=IMPATIENT))
    assert "weight server 3 crashed" in error
    assert cluster.one("CancelJobV2").job_id.startswith("execute-")
    found = sorted(p.name for p in Path("run").iterdir() if "checkpoint" in p.name)
    assert found == ["checkpoint_2"]
    assert load_checkpoint(Path("run/checkpoint_2")).step == 2
    steps = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in steps if e["event"] == "train"] == [1, 2]

    # The same command goes on from there, on a cluster that holds.
    with cluster_module.Cluster(coordinator=runtime.Runtime()) as cluster:
        done = run_csx(cluster.address, "--max_steps", "4")
    assert done.returncode == 0, done.stderr
    assert "starting from run/checkpoint_2" in done.stderr
    assert [r.num_iterations for r in cluster.requests["UnaryRun"]] == [2]
    assert load_checkpoint(Path("run/checkpoint_4")).step == 4
