"""`<model_dir>/run_record.json`: what it takes to repeat a run, and what the run took.

One entry of `sessions` for each time that the run was started or taken up again. A session that
was killed is known up to its last checkpoint. Steps that ran twice are counted twice: the record
tells what was spent.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelzoo_mediswift.checkpoint.directory import META_FILE, is_of
from modelzoo_mediswift.data.batch import PaddingCount
from modelzoo_mediswift.engine.base import StepResult
from modelzoo_mediswift.engine.energy import EnergyMeter
from modelzoo_mediswift.report.run import PER_SEQUENCE_TERMS, RECORD_FILE
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run
from modelzoo_mediswift.whole_files import write_json

FORMAT = 1
SAVE_EVERY = 60.0  # seconds; energy counters wrap after some minutes at the earliest
ORIGIN = ("started_from", "started_from_sha256", "revived_weights", "revival_check")


class RunRecord(Callback):
    """Writes the record at the start, about every minute, at checkpoints and at the end."""

    def __init__(
        self,
        padding: PaddingCount | None = None,
        meters: Sequence[EnergyMeter] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`padding` counts the tokens of this process's loader, and its share stands for all
        processes; without it no padding is told."""
        self.padding = padding
        self.meters = meters
        self.clock = clock

    def on_start(self, run: Run) -> None:
        self.run = run
        self.path = run.model_dir / RECORD_FILE
        self.tokens = 0
        self.steps = 0
        self.since = self.saved = self.clock()
        before = _read(self.path)
        self.origin = _origin(before, run)
        self.record: dict[str, Any] = {
            "format": FORMAT,
            **run.facts,
            **self.origin,
            "total_steps": run.total_steps,
            "command": sys.argv,
            "machine": machine(),
            "sessions": _kept(before, "sessions", []),
            "checkpoints": _kept(before, "checkpoints", {}),
        }
        self.session: dict[str, Any] = {"first_step": run.start_step, "started": _now()}
        self.record["sessions"] = [*self.record["sessions"], self.session]
        self._save(run.start_step)

    def on_step(self, result: StepResult) -> None:
        self.tokens += result.n_tokens
        self.steps += 1
        if self.clock() - self.saved >= SAVE_EVERY:
            self._save(result.step)

    def on_checkpoint(self, step: int, path: Path) -> None:
        meta = _read(path / META_FILE)
        self.record["checkpoints"][path.name] = meta.get("sha256", {})
        self._save(step)

    def on_end(self, step: int) -> None:
        stopped_early = bool(self.run.facts.get("stopped_early"))
        self.session["finished"] = step >= self.run.total_steps or stopped_early
        self._save(step)
        if self.steps:
            print(summary(self.session), file=sys.stderr)

    def _save(self, step: int) -> None:
        self.saved = self.clock()
        dense = self._flops("flops_per_token_dense")
        energy = {meter.source: meter.read() for meter in self.meters}
        self.session |= {
            "last_step": step,
            "ended": _now(),
            "wall_seconds": round(self.clock() - self.since, 3),
            "tokens": self.tokens,
            "padding_tokens": round(self.padding.share * self.tokens) if self.padding else None,
            "padding_share": round(self.padding.share, 4) if self.padding else None,
            "flops": self._flops("flops_per_token"),
            "flops_dense": dense,
            "energy_joules": {k: round(v, 1) for k, v in energy.items() if v is not None} or None,
        }
        self.record |= self.run.facts | self.origin  # some facts are known at the end alone
        write_json(self.path, self.record)

    def _flops(self, which: str) -> float | None:
        """Of the session's tokens by the paper's formula, at the length that each batch had."""
        plan = self.run.facts.get("plan") or {}
        terms: Mapping[str, float] | None = plan.get(which)
        if not terms:
            return None
        scale = 1.0
        if self.padding is not None and self.padding.tokens:
            scale = self.padding.mean_length / plan["sequence_length"]
        parts = {name: value for name, value in terms.items() if name != "total"}
        return self.tokens * sum(
            value * (scale if name in PER_SEQUENCE_TERMS else 1.0) for name, value in parts.items()
        )


def _origin(before: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """What a run that goes on from a checkpoint of its own began with, from its record so far."""
    path = run.facts.get("started_from")
    if not path or not is_of(run.model_dir, Path(path)):
        return {}
    return {key: before[key] for key in ORIGIN if key in before}


def summary(session: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    parts = [f"{session['tokens']:,} tokens in {session['wall_seconds']:,.1f} s"]
    if session["padding_share"] is not None:
        parts.append(f"padding {session['padding_share']:.1%}")
    if session["flops"] is not None:
        parts.append(f"{session['flops']:.3g} FLOPs ({session['flops_dense']:.3g} if dense)")
    for source, joules in (session["energy_joules"] or {}).items():
        parts.append(f"{joules:,.0f} J ({source})")
    return "; ".join(parts)


def machine() -> dict[str, Any]:
    """What the run ran on, beside the device that the engine names."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _kept(record: Mapping[str, Any], key: str, default: Any) -> Any:
    """What a record says, where it is of the kind that we write."""
    value = record.get(key)
    return value if isinstance(value, type(default)) else default


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
