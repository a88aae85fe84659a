"""Run as a program: `run.py CSX` with the library's CPU backend in the place of a system."""

import sys
from pathlib import Path

from modelzoo_mediswift import build_csx
from modelzoo_mediswift.cerebras.environment import require_cerebras
from modelzoo_mediswift.config.load import load_config

require_cerebras()

import cerebras.pytorch as cstorch  # noqa: E402

overrides = {"trainer.init.loop.max_steps": int(sys.argv[2])}
config = load_config(Path(sys.argv[1]), overrides)
build_csx.build_fit(
    config, make_backend=lambda _, folder: cstorch.backend("CPU", artifact_dir=str(folder))
).run()
