"""Pre-train with the library, fine-tune with the torch engine, and back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cerebras


def test_the_next_step_has_the_same_loss_on_both_sides(run_files):
    text = (run_files / "sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    # See test_preview.py for the learning rate.
    Path("run.yaml").write_text(text.replace("0.001,", "1.0e-4,").replace("0.01,", "0.001,"))
    script = Path(__file__).parent / "mdl_run.py"
    done = subprocess.run(
        [sys.executable, str(script), "run.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["n_masks"] == 12
    assert found["losses_differ"] == 15
    # The same kernels: to the bit.
    assert found["library_library"]
    assert found["library_library_later"] == 0.0
    assert found["torch_torch"]
    assert found["both_ways_in"]
    # Attention and loss are summed in another order: the last bits of float32 differ.
    assert found["library_torch_next"] < 1e-6
    assert found["torch_library_next"] < 1e-6
    assert found["library_torch"] < 1e-5
    assert found["torch_library"] < 1e-5
