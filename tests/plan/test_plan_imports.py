import json
import subprocess
import sys
from pathlib import Path

PARAMS = Path(__file__).parents[2] / "params" / "tiny_s75.yaml"
SCRIPT = """
import json, sys, time
start = time.process_time()
from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.plan.plan import make_plan
from modelzoo_mediswift.plan.render import render_table
seconds = time.process_time() - start
main(["plan", sys.argv[1]])
heavy = sorted({"torch", "numpy", "h5py", "tokenizers", "pyarrow"} & sys.modules.keys())
print(json.dumps({"seconds": seconds, "heavy": heavy}))
"""


def test_planning_needs_nothing_heavy() -> None:
    """In a fresh interpreter; the fastest of three, since the machine may be busy."""
    results = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", SCRIPT, str(PARAMS)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()[-1]
        )
        for _ in range(3)
    ]
    assert results[0]["heavy"] == []
    assert min(result["seconds"] for result in results) < 0.35
