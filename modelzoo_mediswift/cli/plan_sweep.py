"""What `mediswift plan` says of a sweep: a run with each batch size, and all runs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from modelzoo_mediswift.config.load import load_stages
from modelzoo_mediswift.config.sweep import SweepConfig, check_sweep, chosen_stage
from modelzoo_mediswift.config.yaml_file import YamlDocument
from modelzoo_mediswift.plan.devices import Estimate
from modelzoo_mediswift.plan.plan import Plan, make_plan
from modelzoo_mediswift.plan.render import amount, power


@dataclass(frozen=True)
class SweepPlan:
    """One sweep's file. Runs that differ in learning rate and seed alone cost the same."""

    file: str
    sweep: SweepConfig
    plans: Mapping[str, Plan]
    """Of one run, by file and batch size."""

    @property
    def runs_each(self) -> int:
        """Runs with each batch size."""
        return len(self.sweep.learning_rate) * len(self.sweep.seeds)

    def total(self, estimates: Mapping[str, Estimate]) -> str:
        """One line about the whole grid; at most, as pruning and early stopping end runs."""
        sweep = self.sweep
        grid = {
            "batch size": len(sweep.batch_size),
            "learning rate": len(sweep.learning_rate),
            "seed": len(sweep.seeds),
        }
        sides = " x ".join(_of(number, what) for what, number in grid.items())
        line = f"{self.file}: {_of(prod(grid.values()), 'run')} ({sides})"
        flops = [plan.flops for plan in self.plans.values()]
        found = [estimates[name] for name in self.plans]
        days = [one.days for one in found]
        if None in flops or None in days:
            return f"{line}; the file leaves their length open"
        whole = self.runs_each * sum(one.total for one in flops if one is not None)
        time = self.runs_each * sum(one for one in days if one is not None)
        where = f"{found[0].count} x {found[0].device}"
        return (
            f"{line}: at most {power(whole)} FLOPs and {amount(time)} days on {where}, without "
            "the scoring"
        )


def _of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def plan_sweep(document: YamlDocument) -> SweepPlan:
    """Raises UserError for mistakes in the sweep's file or in the one that it varies."""
    sweep = check_sweep(document)
    config = chosen_stage(sweep, load_stages(Path(sweep.params)))
    plans = {}
    for size in sweep.batch_size:
        plan = make_plan(config, batch_size=size)
        if plan.steps is not None:  # a sweep has its own schedule
            warmup = max(1, round(sweep.warmup * plan.steps))
            plan = replace(plan, warmup_steps=warmup, warmup_share=warmup / plan.steps)
        plans[f"{document.source} batch {size}"] = plan
    return SweepPlan(document.source, sweep, plans)
