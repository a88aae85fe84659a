"""Run as a program: a run on the library's CPU backend that gets SIGTERM on the way.

stopped_run.py YAML train|evaluation N: in the N-th step or evaluation of this start; "" 0: never.
Exit code 130 where the run stopped.
"""

import os
import signal
import sys
from pathlib import Path

from modelzoo_mediswift import build_csx
from modelzoo_mediswift.cerebras.environment import require_cerebras
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.trainer.trainer import Interrupted

require_cerebras()

import cerebras.pytorch as cstorch  # noqa: E402

from modelzoo_mediswift.cerebras.engine import CstorchEngine  # noqa: E402

where, left = sys.argv[2], int(sys.argv[3])
evaluate = CstorchEngine.run_evaluation


def count_down():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGTERM)


def signalled_evaluation(self, *arguments):
    if where == "evaluation":
        count_down()
    return evaluate(self, *arguments)


CstorchEngine.run_evaluation = signalled_evaluation
job = build_csx.build_fit(
    load_config(Path(sys.argv[1])),
    make_backend=lambda _, folder: cstorch.backend("CPU", artifact_dir=str(folder)),
)
on_step = job.trainer._on_step


def signalled_step(result):
    if where == "train":
        count_down()
    return on_step(result)


job.trainer._on_step = signalled_step
try:
    job.run()
except Interrupted as stop:
    print(f"stopped after step {stop.step}")
    sys.exit(130)
