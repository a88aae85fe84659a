"""A whole run against the stand-in: it trains nothing, but everything travels."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from modelzoo_mediswift.cerebras.cirh import read_program
from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.data.hdf5 import LABELS, open_sequences
from modelzoo_mediswift.data.order import DataOrder

pytestmark = [pytest.mark.cerebras, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
STEPS, BATCH = 4, 4
TWO_NAMES = {"model.embedding_layer.word_embeddings": "model.lm_head"} | {
    "model.ln_f": "model.transformer_decoder.norm"
}
"""Modules that Model Zoo's model has twice: the name that is saved, the name that is sent."""


def means_of_labels() -> list[float]:
    """What the stand-in reports as the loss of each step, from the data as read here."""
    source = open_sequences([Path("train")], None)
    order = DataOrder(len(source), shuffle=True, seed=0)
    means = []
    for step in range(STEPS):
        rows = source.read(np.asarray(order.indices(step * BATCH, BATCH), np.int64))
        means.append(float(np.float32(rows[:, LABELS].mean())))
    return means


def sent_as(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{TWO_NAMES.get(module, module)}.{parameter}"


def test_weights_data_losses_and_checkpoints_travel(run_csx):
    """Two stretches of two steps, each with a checkpoint: weights come back as they were sent."""
    runtime, stand_in = pytest.importorskip("runtime"), pytest.importorskip("stand_in")
    text = Path("csx.yaml").read_text().replace("{steps: 5}", "{steps: 2}")
    Path("csx.yaml").write_text(text)
    coordinator = runtime.Runtime()
    with stand_in.Cluster(coordinator=coordinator, folders=[str(ROOT)]) as cluster:
        done = run_csx(
            cluster.address,
            *("--max_steps", str(STEPS), "--num_csx", "2", "--job_labels", "a=b"),
            *("--mount_dirs", str(Path("train").resolve())),
            *("--python_paths", str(Path("validation").resolve())),
        )
    assert done.returncode == 0, done.stderr

    # One execute job for the run: mounts, the code's folder, the labels, two systems.
    job = cluster.one("InitExecuteJob")
    mounted = {mount.path for mount in job.mount_dirs}
    assert {str(Path("train").resolve()), str(ROOT)} <= mounted
    assert str(Path("validation").resolve()) in job.python_paths
    assert job.user_sidecar_env.python_path.startswith(sys.prefix)
    assert dict(job.debug_args.debug_mgr.labels) == {"a": "b"}
    tasks = {task.task_type: len(task.task_map) for task in job.job_mode.cluster_details.tasks}
    assert tasks[stand_in.TASK.WSE] == 2

    # The program is the one that is validated: masks that were drawn here change nothing in it.
    Path("arrived.mlir").write_text(cluster.requests["UnaryCompile"][0].cirh_content)
    arrived = read_program(Path("arrived.mlir"))
    assert Counter(arrived.sparsity.values()) == {0.75: 36}
    assert arrived.products.total() == 51

    # Workers read the data order's batches; the losses are of those.
    runs = cluster.requests["UnaryRun"]
    assert [run.num_iterations for run in runs] == [2, 2]
    events = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    losses = {e["step"]: e["loss"] for e in events if e["event"] == "train"}
    assert losses == pytest.approx(dict(enumerate(means_of_labels(), 1)), abs=1e-6)

    # All of the state was sent, sparse from the start, and came back in the checkpoints.
    sent = coordinator.received
    masks = [name for name in sent if name.endswith("_mask")]
    assert len(masks) == 12
    first, second = (load_checkpoint(Path(f"run/checkpoint_{n}")) for n in (2, 4))
    names = {n: f"state.model.{sent_as(n)}" for n in second.model}
    assert sorted(names.values()) == sorted(n for n in sent if n.startswith("state.model."))
    for name, tensor in second.model.items():
        arrived = runtime.as_array(coordinator.whole(names[name]))
        if name + "_mask" in second.model:
            arrived = arrived * second.model[name + "_mask"].numpy()
        np.testing.assert_array_equal(tensor.numpy(), arrived, err_msg=name)
        assert first.model[name].equal(tensor)
    # Between the stretches nothing was sent again: it stayed on the system.
    assert len(cluster.requests["UnaryCarryOverFromPTR"]) > 100
    assert cluster.one("CancelJobV2").job_status == stand_in.SUCCEEDED

    # A run on CPU goes on from there.
    precision = "fp16_type: cbfloat16, loss_scaling_factor: dynamic"
    Path("csx.yaml").write_text(text.replace(precision, "enabled: false"))
    assert main(["CPU", "-p", "csx.yaml", "--max_steps", "6"]) == 0
    assert load_checkpoint(Path("run/checkpoint_6")).step == 6
