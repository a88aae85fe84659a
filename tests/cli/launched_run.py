"""A process of tests/cli/test_launched.py: a run in which something happens to one of them.

torchrun ... launched_run.py WHAT CPU -p sparse.yaml ...
"""

import os
import signal
import sys
import time

from modelzoo_mediswift.checkpoint import directory
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.engine.torch_engine import TorchEngine
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.loss import LossModule
from modelzoo_mediswift.trainer import checkpointing, stop_request

what = sys.argv[1]
AT = 2 if what == "evaluation" else 7  # three validation batches, and then steps
second = os.environ["RANK"] == "1"
fits = {"guess": 1, "hopeless": 0}.get(what)  # sequences at a time, in the second process
forward, read, save = LossModule.forward, SequenceSource.read, directory.save_checkpoint
train = TorchEngine.train
calls = 0


def broken_forward(self, *arguments, **options):
    global calls
    calls += 1
    if calls == AT:
        if what == "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        if what == "defect":
            raise KeyError("a defect")
        os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGTERM)
    return forward(self, *arguments, **options)


def limited_forward(self, ids, *arguments, **options):
    if "count_right" not in options and second and len(ids) > fits:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    return forward(self, ids, *arguments, **options)


def train_as_on_a_gpu(self, *arguments):
    self.guessed = True
    return train(self, *arguments)


def damaged(self, indices):
    raise UserError("train/data.h5: cannot be read, the file is damaged")


def slow_save(*arguments):
    time.sleep(2)
    return save(*arguments)


if what == "signals":
    stop_request.ECHO = 0.0
    checkpointing.save_checkpoint = slow_save
if what == "signals" or (second and what in ("memory", "defect", "kill", "evaluation")):
    LossModule.forward = broken_forward
if fits is not None:
    LossModule.forward, TorchEngine.train = limited_forward, train_as_on_a_gpu
if second and what == "data":
    SequenceSource.read = damaged
sys.exit(main(sys.argv[2:]))
