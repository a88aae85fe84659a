"""`mediswift plan FILE...`: what a configuration costs, before anything runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.plan.devices import DEVICES

_N = TypeVar("_N", int, float)


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "plan",
        help="parameters, FLOPs, memory and tokens of configurations, without running them",
        description="Parameters, FLOPs (by the paper's formula, term by term), memory, tokens and "
        "checkpoint size of trainer YAML files; of a sweep's file, those of a run with each batch "
        "size, and the sum of all runs. Memory is that of `sequences at a time`: the whole "
        "batch, unless the file has csx.performance.micro_batch_size; run.py takes as many as fit.",
        epilog="example: mediswift plan params/*.yaml --json",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="trainer or sweep YAML")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects")
    speed = parser.add_argument_group(
        "time and energy",
        "Assumed: the makers' peak and board power, and the utilisation of published runs; masked "
        "weights are multiplied as zeros. --tokens_per_second replaces the assumption.",
    )
    speed.add_argument("--device", default="H100", help=f"{', '.join(DEVICES)} (default: H100)")
    speed.add_argument("--devices", type=_positive(int), default=1, help="how many (default: 1)")
    speed.add_argument(
        "--mfu", type=_positive(float), help="utilisation in (0, 1], PaLM's convention"
    )
    speed.add_argument("--watts", type=_positive(float), help="power of one device")
    speed.add_argument(
        "--tokens_per_second", type=_positive(float), help="of one device, as its log says"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    from modelzoo_mediswift.cli.plan_sweep import SweepPlan, plan_sweep
    from modelzoo_mediswift.config.load import check_stages
    from modelzoo_mediswift.config.yaml_file import load_yaml
    from modelzoo_mediswift.plan.devices import estimate
    from modelzoo_mediswift.plan.plan import Plan, make_plan
    from modelzoo_mediswift.plan.render import render_table

    if arguments.device not in DEVICES:
        raise UserError(f"--device: unknown {arguments.device!r} (known: {', '.join(DEVICES)})")
    if arguments.mfu is not None and arguments.mfu > 1:
        raise UserError(f"--mfu: expected a share in (0, 1], got {arguments.mfu}")
    plans: dict[str, Plan] = {}
    sweeps: list[SweepPlan] = []
    for path in arguments.files:
        document = load_yaml(path)
        if "sweep" in document.data:
            sweeps.append(plan_sweep(document))
            plans.update(sweeps[-1].plans)
            continue
        stages = check_stages(document)
        for i, config in enumerate(stages, start=1):
            plans[f"{path} {i}" if len(stages) > 1 else str(path)] = make_plan(config)
    estimates = {
        file: estimate(
            plan,
            arguments.device,
            arguments.devices,
            utilisation=arguments.mfu,
            watts=arguments.watts,
            tokens_per_second=arguments.tokens_per_second,
        )
        for file, plan in plans.items()
    }
    if arguments.json:
        runs = {file: sweep.runs_each for sweep in sweeps for file in sweep.plans}
        found = [
            {"file": file, **plan.to_dict(), "time": asdict(estimates[file])}
            | ({"runs": runs[file]} if file in runs else {})
            for file, plan in plans.items()
        ]
        print(json.dumps(found, indent=2))
    else:
        print(render_table(plans, estimates=estimates))
        for sweep in sweeps:
            print(f"\n{sweep.total(estimates)}")
    return 0


def _positive(kind: type[_N]) -> Callable[[str], _N]:
    def parse(text: str) -> _N:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"  # argparse names it in its message
    return parse
