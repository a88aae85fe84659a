"""`run.py CSX --compile_only` with the real client, against the stand-in on loopback."""

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from modelzoo_mediswift.cerebras.cirh import read_program

pytestmark = pytest.mark.cerebras
MATRICES = 12  # two layers: q, k, v, output and two in the feed-forward block of each


@pytest.mark.slow
def test_a_compile_job_gets_the_program_and_what_the_user_asked_for(run_csx):
    stand_in = pytest.importorskip("stand_in")
    Path("debug.txt").write_text('debug_crd { dump_tensors_dir: "/dump" }')
    with stand_in.Cluster() as cluster:
        done = run_csx(
            cluster.address,
            "--compile_only",
            *("--num_csx", "2", "--num_workers_per_csx", "3"),
            *("--num_wgt_servers", "5", "--num_act_servers", "4"),
            *("--job_labels", "team=bio", "model=tiny"),
            *("--job_priority", "p1", "--job_time_sec", "600"),
            *("--compile_dir", "kept", "--mgmt_namespace", "research"),
            *("--cbcore_image", "cbcore:2.10"),
            *("--debug_args", "debug_usr.disable_stall_detection=true"),
            *("--ini", "ws_number=3", "ws_name=few", "ws_share=0.5", "--ini", "ws_on=true"),
            *("--debug_args_path", "debug.txt"),
            *("--wsc_log_level", "WARNING", "<compile>.<crd>.linker=DEBUG"),
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Compile was successful!"
    assert cluster.metadata["client-build-version"] == "2.10.0"

    job = cluster.one("InitCompileJob")
    assert job.compile_dir_relative_path == "kept"
    assert job.cbcore_image == "cbcore:2.10"
    assert dict(job.debug_args.debug_mgr.labels) == {"team": "bio", "model": "tiny"}
    assert json.loads(job.debug_args_json)["debugMgr"]["jobPriority"] == "JOB_PRIORITY_P1"
    assert cluster.one("Get").options.namespace == "research"

    # What support asks for.
    asked = job.debug_args
    assert asked.debug_usr.disable_stall_detection
    assert asked.debug_crd.dump_tensors_dir == "/dump"
    assert asked.ini.ints["ws_number"] == 3
    assert asked.ini.strings["ws_name"] == "few"
    assert asked.ini.floats["ws_share"] == 0.5
    assert asked.ini.bools["ws_on"]
    levels = type(asked.debug_crd.log_settings).LogLevel
    assert asked.debug_wgt.log_settings.global_level == levels.Value("WARNING")
    assert not asked.debug_wgt.log_settings.message_tags
    (tag,) = asked.debug_crd.log_settings.message_tags
    assert (tag.tag, tag.level) == ("linker", levels.Value("DEBUG"))

    program = cluster.one("UnaryCompile")
    assert (program.batch_size, program.num_csx) == (4, 2)
    assert (program.num_workers_per_csx, program.max_wgt_servers) == (3, 5)
    assert program.max_act_per_csx == 4
    assert program.compile_dir == f"{stand_in.COMPILE_DIR}/kept"

    # What arrived is what lies in model_dir, and says which tensors are sparse.
    Path("arrived.mlir").write_text(program.cirh_content)
    (written,) = Path("run").glob("cerebras_logs/executors/0*/cirh.mlir")
    arrived = read_program(Path("arrived.mlir"))
    assert arrived == read_program(written)
    assert Counter(arrived.sparsity.values()) == {0.75: 3 * MATRICES}
    assert arrived.products.total() == 51

    result = cluster.one("FinalizeCompileJob")
    assert result.compile_artifact_dir == f"{stand_in.COMPILE_DIR}/kept/cs_0123456789"
    assert not cluster.requests["CancelJobV2"]
    assert not Path("run", "log.jsonl").exists()


@pytest.mark.slow
def test_a_manager_with_semantic_versions_is_asked_by_heartbeat(run_csx):
    """As clusters answer today; the client then looks after a job every ten seconds alone."""
    stand_in = pytest.importorskip("stand_in")
    manager = stand_in.Manager()
    manager.semantic_version = "1.14.0"
    with stand_in.Cluster(manager) as cluster:
        done = run_csx(cluster.address, "--compile_only")
    assert done.returncode == 0, done.stderr
    assert not cluster.requests["PollIngressV2"]
    assert re.search(r"cluster: .*job ingress ready", done.stderr)


@pytest.mark.slow
def test_credentials_are_what_the_connection_is_checked_with(run_csx):
    """A certificate for the name that the client expects, signed by itself."""
    stand_in = pytest.importorskip("stand_in")
    import grpc

    openssl = shutil.which("openssl") or pytest.skip("openssl makes the certificate")
    names = "DNS:*.cluster-server.cerebrassc.local,DNS:localhost"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "1", "-subj", "/CN=cluster"),
            *("-addext", f"subjectAltName={names}"),
            *("-keyout", "key.pem", "-out", "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )
    pair = (Path("key.pem").read_bytes(), Path("certificate.pem").read_bytes())
    flags = ("--compile_only", "--mgmt_namespace", "research", "--credentials_path")
    with stand_in.Cluster(credentials=grpc.ssl_server_credentials([pair])) as cluster:
        done = run_csx(cluster.address, *flags, "certificate.pem")
        assert done.returncode == 0, done.stderr
        assert cluster.one("UnaryCompile").batch_size == 4
