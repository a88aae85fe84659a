import json
import math
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "fp8_processes_run.py"


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("torchao"), reason="torchao is not installed")
def test_shares_of_the_model_make_the_run_of_copies(torchrun):
    """A weight's scale is that of all of it, so no process may scale its share alone."""
    done = torchrun(2, PROGRAM, "tensorwise", "rowwise")
    assert done.returncode == 0, done.stderr
    for copies, shares in json.loads(done.stdout):
        assert shares == pytest.approx(copies, rel=1e-5)
        assert copies[0] == pytest.approx(math.log(40), abs=0.1)
        assert copies[-1] < copies[0] - 0.5
