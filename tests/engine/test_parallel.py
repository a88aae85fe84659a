"""What is made of a model for several processes, seen from one."""

import atexit
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.processes import Processes, leave
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import LossModule


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")  # those of PyTorch's compiler and of its DDP
def test_a_compiled_copy_is_one_program_however_large(
    group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    programs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        programs.append(graph)
        return graph.forward

    compiled = partialmethod(LossModule.compile_parts, backend=backend)
    monkeypatch.setattr(LossModule, "compile_parts", compiled)
    model = GPT3(  # 29 MiB of weights a layer
        vocab_size=64,
        hidden_size=800,
        num_hidden_layers=3,
        num_heads=4,
        filter_size=3200,
        max_position_embeddings=8,
    )
    module = distribute(model, torch.device("cpu"), Processes(count=2), compiled=True)
    ids = torch.zeros(1, 8, dtype=torch.int64)
    module(ids, ids.flatten())[0].backward()
    assert len(programs) == 2  # the model and a chunk of the loss


def test_who_failed_does_not_wait_for_the_others(
    group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    leave(0)  # gloo alone, whose good-bye may wait for ever in torch 2.4
    assert dist.is_initialized()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    leave(2)
    assert dist.is_initialized()
    leave(0)
    assert not dist.is_initialized()
    assert codes == [0, 2, 0]
    leave(0)  # who met nobody goes on
    assert codes == [0, 2, 0]


LEAVES = """
import atexit, sys
import torch.distributed as dist
from modelzoo_mediswift.engine.processes import leave

class Last:
    def __del__(self):
        print("Python ended")

last = Last()
atexit.register(print, "libraries ended")
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
print("said")
leave(3)
"""


def test_who_met_others_leaves_without_the_end_of_python(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEAVES, str(tmp_path / "meet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "said\nlibraries ended\n"), done.stderr
