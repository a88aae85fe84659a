"""One training run as the report sees it: its log, its scores, and what follows from them."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.evaluations import Score, read_evaluations
from modelzoo_mediswift.report.json_values import (
    integer,
    number,
    parse_object,
    pick,
    printable,
    text,
)
from modelzoo_mediswift.report.log import EvalPoint, Log, TrainPoint, read_log
from modelzoo_mediswift.report.quantities import ratio

PRETRAINING = "pre-training"
FINE_TUNING = "fine-tuning"
RECORD_FILE = "run_record.json"
EVENTS_DIR = "events"  # where TensorBoard's files lie
FLOPS_TERMS = ("linear", "vocabulary", "attention", "softmax")
PER_SEQUENCE_TERMS = ("attention", "softmax")  # a token's cost grows with its sequence's length

Flops = dict[str, float]
"""Term -> floating-point operations of forward and backward pass."""


@dataclass(frozen=True)
class Level:
    """Masked parameters of one kind, over all layers."""

    kind: str
    kept: int
    total: int

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return 1 - self.kept / self.total


@dataclass(frozen=True)
class Run:
    """A model_dir, as far as it could be read."""

    folder: Path
    name: str
    """Unlike that of any other run in the report."""
    log: Log
    scores: tuple[Score, ...]
    notes: tuple[str, ...]
    """What could not be read."""
    record: dict[str, Any] = field(default_factory=dict)
    """run_record.json; empty for a run from before there was one."""

    @property
    def stage(self) -> str:
        """Data with a soft prompt or with a task's examples make it fine-tuning."""
        data = pick(self.log.facts, "data")
        prompted = (number(pick(data, "num_virtual_tokens")) or 0) > 0
        return FINE_TUNING if prompted or pick(data, "sources", "task") else PRETRAINING

    @property
    def started_from(self) -> str | None:
        """The other run's checkpoint that this one began with."""
        return text(self.log.origin.get("started_from"))

    @property
    def steps(self) -> int:
        """Steps of this run, so far."""
        return self.log.last_step - self.log.first_step

    @property
    def total_steps(self) -> int | None:
        """The step at which it ends, or was to end."""
        return integer(self.log.facts.get("total_steps"))

    @property
    def sequence_length(self) -> int | None:
        """Tokens per sequence; a configuration may leave it to the data."""
        return integer(pick(self.log.facts, "data", "max_sequence_length")) or self._plan(
            "sequence_length"
        )

    @property
    def batch_size(self) -> int | None:
        """Sequences per optimizer step."""
        return self._plan("batch_size")

    @property
    def sessions(self) -> list[Any]:
        """What run_record.json says about each start of the run."""
        sessions = self.record.get("sessions")
        return sessions if isinstance(sessions, list) else []

    @property
    def _recorded_steps(self) -> int:
        """Steps that run_record.json counts, those done twice twice."""
        ends = [
            (integer(pick(session, "first_step")), integer(pick(session, "last_step")))
            for session in self.sessions
        ]
        return sum(last - first for first, last in ends if first is not None and last is not None)

    @property
    def tokens_per_step(self) -> float | None:
        """Padding included; the mean, where batches were cut to their longest sequence."""
        tokens, steps = self.spent("tokens"), self._recorded_steps
        if self.spent("padding_tokens") is not None and tokens and steps:
            return tokens / steps
        if self.batch_size is None or self.sequence_length is None:
            return None
        return self.batch_size * self.sequence_length

    def spent(self, key: str) -> float | None:
        """A number of run_record.json, summed over the run's starts."""
        values = [number(pick(session, key)) for session in self.sessions]
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    @property
    def tokens(self) -> int | None:
        """Seen so far, padding included."""
        return None if self.tokens_per_step is None else round(self.steps * self.tokens_per_step)

    @property
    def parameters(self) -> int | None:
        return self._plan("n_params_total")

    @property
    def nonzero_parameters(self) -> int | None:
        """Parameters that no mask holds at zero."""
        return self._plan("n_params_nonzero")

    @property
    def matrix_weights(self) -> int | None:
        """Weights of the decoder's matrices, the count in the paper's tables."""
        return self._plan("n_params_paper")

    @property
    def flops_per_token(self) -> Flops | None:
        return self._flops_per_token("flops_per_token")

    @property
    def dense_flops_per_token(self) -> Flops | None:
        """The same without masks."""
        return self._flops_per_token("flops_per_token_dense")

    @property
    def flops(self) -> Flops | None:
        """Spent so far, by the paper's formula."""
        return _times(self.flops_per_token, self.tokens)

    @property
    def dense_flops(self) -> Flops | None:
        return _times(self.dense_flops_per_token, self.tokens)

    @property
    def flops_ratio(self) -> float | None:
        """FLOPs in units of the dense model's."""
        return ratio(total(self.flops_per_token), total(self.dense_flops_per_token))

    @property
    def masks(self) -> list[tuple[str, int, int]]:
        """Name, weights kept and weights of each masked parameter, when the run started."""
        found = []
        masks = self.log.facts.get("sparsity")
        for mask in masks if isinstance(masks, list) else []:
            name, kept = text(pick(mask, "name")), integer(pick(mask, "kept"))
            size = integer(pick(mask, "total"))
            if name is not None and kept is not None and size:
                found.append((name, kept, size))
        return found

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Sparsity of the masks that the run started with, by kind: all layers in one."""
        sums: dict[str, tuple[int, int]] = {}
        for name, kept, size in self.masks:
            kind = re.sub(r"\.layers\.\d+\.", ".layers.*.", name)
            before = sums.get(kind, (0, 0))
            sums[kind] = (before[0] + kept, before[1] + size)
        return tuple(Level(kind, *counts) for kind, counts in sums.items())

    @property
    def levels_change(self) -> bool:
        """Whether the levels are only those of the start."""
        return pick(self.log.facts, "plan", "changing_level") is True

    @property
    def sparsity(self) -> float | None:
        """Over all masked parameters; None for a dense run."""
        size = sum(level.total for level in self.levels)
        return 1 - sum(level.kept for level in self.levels) / size if size else None

    @property
    def train_losses(self) -> list[TrainPoint]:
        return [point for point in self.log.train if point.loss is not None]

    @property
    def validation_losses(self) -> dict[str, list[EvalPoint]]:
        """By validation set."""
        sets: dict[str, list[EvalPoint]] = {}
        for point in self.log.evaluations:
            if point.loss is not None:
                sets.setdefault(point.name, []).append(point)
        return sets

    @property
    def tokens_per_second(self) -> float | None:
        """Median over the log."""
        rates = [p.tokens_per_second for p in self.log.train if p.tokens_per_second]
        return statistics.median(rates) if rates else None

    @property
    def mfu(self) -> float | None:
        """Model-FLOPs utilisation, a fraction: median over the log."""
        shares = [point.mfu for point in self.log.train if point.mfu is not None]
        return statistics.median(shares) if shares else None

    @property
    def seconds(self) -> float | None:
        """Spent on training steps, from the rates in the log: without evaluation and saving."""
        if self.tokens_per_step is None:
            return None
        seconds, step = 0.0, self.log.first_step
        for point in self.log.train:
            if point.tokens_per_second:
                seconds += (point.step - step) * self.tokens_per_step / point.tokens_per_second
                step = point.step
        return seconds or None

    @property
    def events(self) -> Path | None:
        """TensorBoard's folder, if there is one in the usual place."""
        folder = self.folder / EVENTS_DIR
        return folder if folder.is_dir() else None

    def _plan(self, key: str) -> int | None:
        return integer(pick(self.log.facts, "plan", key))

    def _flops_per_token(self, key: str) -> Flops | None:
        flops = self._planned_flops(key)
        dense = self._planned_flops("flops_per_token_dense")
        tokens, spent = self.spent("tokens"), self.spent("flops_dense")
        if not flops or not dense or not tokens or not spent or not self._recorded_steps:
            return flops
        # Batches that were cut to their longest sequence: the record counts their real length.
        whole = sum(dense[term] for term in PER_SEQUENCE_TERMS)
        cut = ratio(spent / tokens - (sum(dense.values()) - whole), whole)
        if cut is None or not 0 < cut < 1:
            return flops
        return {term: flops[term] * (cut if term in PER_SEQUENCE_TERMS else 1) for term in flops}

    def _planned_flops(self, key: str) -> Flops | None:
        """Of a token in a sequence of full length."""
        planned = pick(self.log.facts, "plan", key)
        flops: Flops = {}
        for term in FLOPS_TERMS:
            value = number(pick(planned, term))
            if value is None:
                return None
            scale = ratio(self.sequence_length, self._plan("sequence_length"))
            flops[term] = value * (scale or 1) if term in PER_SEQUENCE_TERMS else value
        return flops


def total(flops: Flops | None) -> float | None:
    return None if flops is None else sum(flops.values())


def _times(flops: Flops | None, tokens: int | None) -> Flops | None:
    if flops is None or tokens is None:
        return None
    return {term: value * tokens for term, value in flops.items()}


def pretrained_weights(run: Run, runs: Sequence[Run]) -> float | None:
    """The size in the paper's tables: weights of the decoder's matrices without zeros, in
    pre-training; None for a fine-tuned run whose origin is not among `runs`."""
    origin = run if run.stage == PRETRAINING else parent(run, runs)
    if origin is None or origin.matrix_weights is None or not origin.flops_per_token:
        return None
    density = ratio(
        origin.flops_per_token["linear"], (origin.dense_flops_per_token or {})["linear"]
    )
    return None if density is None else origin.matrix_weights * density


def read_runs(folders: Sequence[Path], evaluations: Sequence[Path] = ()) -> list[Run]:
    """Read the runs in these model_dirs, with scores from their own folders and `evaluations`.

    Raises UserError for a folder that is none.
    """
    logs = {}
    for folder in folders:
        if folder.resolve() in logs:
            raise UserError(f"{folder}: given twice")
        logs[folder.resolve()] = read_log(folder)
    counts = Counter(resolved.name for resolved in logs)
    runs = []
    for folder, (resolved, log) in zip(folders, logs.items(), strict=True):
        scores, notes = read_evaluations(folder, evaluations)
        name = resolved.name if counts[resolved.name] == 1 else str(folder)
        record, problems = _read_record(folder / RECORD_FILE)
        notes = (*log.notes, *notes, *problems)
        runs.append(Run(folder, printable(name), log, scores, notes, record))
    return runs


def _read_record(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The record, and why there is none; a run from before there was one is no problem."""
    try:
        return parse_object(path.read_bytes()), ()
    except FileNotFoundError:
        return {}, ()
    except (OSError, ValueError):
        return {}, (
            f"{RECORD_FILE}: cannot be read, and left out: what the run took is unknown, and all "
            "sequences are counted in full length",
        )


def parent(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run among these whose checkpoint `run` began with, if that is clear from its path."""
    if run.started_from is None:
        return None
    origin = PurePath(run.started_from).parent
    others = [other for other in runs if other is not run]
    same_path = [other for other in others if PurePath(other.folder) == origin]
    same_name = [other for other in others if other.folder.resolve().name == origin.name]
    found = same_path or same_name
    return found[0] if len(found) == 1 else None
