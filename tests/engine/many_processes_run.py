"""What each process of tests/engine/test_many_processes.py does: several runs, one after another.

torchrun ... many_processes_run.py '[["CPU", "-p", "sparse.yaml"], ...]'
"""

import json
import sys

from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.engine import processes

leave, processes.leave = processes.leave, lambda code: None  # meet once, for all runs
for arguments in json.loads(sys.argv[1]):
    code = main(arguments)
    print(f"exit code {code}", file=sys.stderr)
leave(0)
