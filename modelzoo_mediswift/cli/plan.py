"""`mediswift plan FILE...`: what a configuration costs, before anything runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "plan",
        help="parameters, FLOPs, memory and tokens of configurations, without running them",
        description="Parameters, FLOPs (by the paper's formula, term by term), memory, tokens and "
        "checkpoint size of trainer YAML files.",
        epilog="example: mediswift plan params/*.yaml --json",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="trainer YAML")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    from modelzoo_mediswift.config.load import load_stages
    from modelzoo_mediswift.plan.plan import make_plan
    from modelzoo_mediswift.plan.render import render_table

    plans = {}
    for path in arguments.files:
        stages = load_stages(path)
        for i, config in enumerate(stages, start=1):
            plans[f"{path} {i}" if len(stages) > 1 else str(path)] = make_plan(config)
    if arguments.json:
        print(json.dumps([{"file": f, **plan.to_dict()} for f, plan in plans.items()], indent=2))
    else:
        print(render_table(plans))
    return 0
