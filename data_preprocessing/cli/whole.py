"""`run` on the command line: all stages of a configuration."""

from pathlib import Path
from typing import Any

from data_preprocessing.cli.options import add_stage
from data_preprocessing.cli.show import print_counts


def add_run(stages: Any) -> None:
    stage = add_stage(
        stages, "run", _run, "all stages of a configuration, from wherever it stopped"
    )
    stage.add_argument("config", type=Path, metavar="CONFIG.yaml", help="see configs/")
    stage.add_argument(
        "--plan", action="store_true", help="only say what is done and what would be; write nothing"
    )


def _run(config: Path, plan: bool) -> None:
    from data_preprocessing.run import run_stages
    from data_preprocessing.run_config import load_run_config

    checked = load_run_config(config)
    if plan:
        from data_preprocessing.run_plan import plan_table

        print(plan_table(checked))
        return
    print(f"in {run_stages(checked, print_counts)}")
