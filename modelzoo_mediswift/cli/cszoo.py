"""`mediswift-cszoo`: Model Zoo's own command line, with this project's model and callbacks."""

from __future__ import annotations

import sys

from modelzoo_mediswift.cerebras.environment import require_cerebras
from modelzoo_mediswift.cerebras.missing import is_modelzoo_installed, replace_missing_harnesses
from modelzoo_mediswift.cli.errors import guarded
from modelzoo_mediswift.errors import UserError


def main() -> int:
    """Arguments are those of `cszoo`."""
    return guarded(_run)


def _run() -> int:
    require_cerebras()
    if not is_modelzoo_installed():
        raise UserError(
            "mediswift-cszoo needs Cerebras Model Zoo 2.10 beside cerebras-pytorch, which is not "
            "importable here: https://github.com/Cerebras/modelzoo; run.py does without it"
        )
    missing = replace_missing_harnesses()
    if missing:
        print(
            f"note: {' and '.join(missing)} cannot be imported: Model Zoo runs without lm_eval's "
            "and bigcode_eval's commands and callbacks",
            file=sys.stderr,
        )
    from modelzoo_mediswift.cerebras.modelzoo import register, run_command_line

    register()
    run_command_line()
    return 0


if __name__ == "__main__":
    sys.exit(main())
