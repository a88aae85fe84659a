"""Run as a program: a state on its way to a system's tensors and back, without a cluster."""

import json
import sys
from pathlib import Path

from modelzoo_mediswift import build, build_csx
from modelzoo_mediswift.cerebras.environment import require_cerebras
from modelzoo_mediswift.config.load import load_config

require_cerebras()

config = load_config(Path(sys.argv[1]))
cpu = build.build_fit(config, "CPU")
initial = cpu.trainer.engine.state()
cpu.trainer.engine.train(iter(cpu.loader), 0, 3, 1, lambda result: True)
trained = cpu.trainer.engine.state()

engine = build_csx.build_fit(config).trainer.engine
fresh = engine.state()
engine.load_state(trained)
back = engine.state()
masks = [name for name in initial.model if name.endswith("_mask")]
found = {
    "names": sorted(initial.model) == sorted(fresh.model),
    "initial": all(initial.model[n].equal(fresh.model[n]) for n in initial.model),
    "kept": [int(fresh.model[n].sum()) / fresh.model[n].numel() for n in masks] == [0.25] * 12,
    "model": all(trained.model[n].equal(back.model[n]) for n in trained.model),
    "optimizer": all(
        tensor.float().equal(back.optimizer[n].float()) for n, tensor in trained.optimizer.items()
    ),
    "schedule": int(back.optimizer["schedule.last_epoch"]) == 3,
}
print(json.dumps(found))
