import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cerebras


def test_a_state_survives_the_way_to_a_system_and_back(run_files):
    """To the bit: weights and masks of the seed, and the torch engine's state after 3 steps."""
    text = (run_files / "sparse.yaml").read_text()
    precision = "fp16_type: cbfloat16, loss_scaling_factor: dynamic"
    Path("run.yaml").write_text(text.replace("enabled: false", precision))
    script = Path(__file__).parent / "state_run.py"
    done = subprocess.run(
        [sys.executable, str(script), "run.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(found.values()), found
