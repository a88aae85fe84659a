"""A sweep's trials in Optuna's SQLite storage, shared by the workers of one machine.

A worker holds a lock on the file of the run that it works on. The system frees it however the
worker ends, so that a trial that says it is running without a lock is known to be dead.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import NullPool

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.sweep.grid import (
    COMPLETE,
    PRUNED,
    RUNNING,
    Configuration,
    Grid,
    Outcome,
    Point,
)

STUDY = "sweep"
DATABASE = "study.db"
_STATES = {
    TrialState.COMPLETE: COMPLETE,
    TrialState.PRUNED: PRUNED,
    TrialState.RUNNING: RUNNING,
}


class Storage:
    """Opens or makes the study of `folder`; `settings` decide what its results mean."""

    def __init__(
        self,
        folder: Path,
        grid: Grid,
        settings: Mapping[str, Any],
        pruner: optuna.pruners.BasePruner,
    ) -> None:
        """Raises UserError if the study there was made with other settings."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        self.grid = grid
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        with self.alone():
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{folder / DATABASE}",
                # A connection is closed after use: nobody else closes it.
                engine_kwargs={"connect_args": {"timeout": 60}, "poolclass": NullPool},
            )
            self.study = optuna.create_study(
                storage=storage,
                study_name=STUDY,
                direction="maximize",
                pruner=pruner,
                load_if_exists=True,
            )
            written = json.dumps(settings, sort_keys=True)
            before = self.study.user_attrs.get("settings", written)
            if before != written:
                raise UserError(f"{folder}: {_difference(json.loads(before), settings)}")
            self.study.set_user_attr("settings", written)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other worker read or write the state of the sweep."""
        with (self.folder / "sweep.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def outcomes(self) -> dict[Point, Outcome]:
        """By point, of its latest trial; points without a living or finished one are left out."""
        found = {}
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state in _STATES and trial.params:
                found[_point(trial)] = _outcome(trial)
        return found

    def claim(self) -> tuple[Point, optuna.Trial, IO[str]] | None:
        """The next point, its trial, and the lock to close when it is done; None if none is free.

        Trials whose worker died are ended first, so that their points are free again.
        """
        with self.alone():
            self._bury_the_dead()
            point = self.grid.next_point(self.outcomes())
            if point is None:
                return None
            lock = self._lock_file(point)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            parameters = _parameters(point)
            self.study.enqueue_trial(parameters)
            grid: dict[str, Any] = {
                "batch_size": CategoricalDistribution(list(self.grid.batch_sizes)),
                "learning_rate": CategoricalDistribution(list(self.grid.learning_rates)),
                "seed": CategoricalDistribution(list(self.grid.seeds)),
            }
            return point, self.study.ask(grid), lock

    def _bury_the_dead(self) -> None:
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not trial.params:  # killed between `ask` and its parameters
                self.study.tell(trial.number, state=TrialState.FAIL)
                continue
            with self._lock_file(_point(trial)) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # its worker lives
                self.study.tell(trial.number, state=TrialState.FAIL)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            # Enqueued by a worker that was killed before it asked.
            taken = self.study.ask()
            self.study.tell(taken, state=TrialState.FAIL)
            assert taken.number == trial.number

    def _lock_file(self, point: Point) -> IO[str]:
        return (self.folder / "locks" / point.name).open("w")


def _parameters(point: Point) -> dict[str, Any]:
    return {**point.configuration._asdict(), "seed": point.seed}


def _point(trial: FrozenTrial) -> Point:
    p = trial.params
    return Point(Configuration(p["batch_size"], p["learning_rate"]), p["seed"])


def _outcome(trial: FrozenTrial) -> Outcome:
    return Outcome(
        _STATES[trial.state],
        trial.value if trial.state == TrialState.COMPLETE else None,
        trial.user_attrs.get("watched"),
        len(trial.intermediate_values),
        trial.user_attrs.get("reason", ""),
    )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    key = next(k for k in sorted({*before, *now}) if before.get(k) != now.get(k))
    if key == "params":
        return "holds a sweep over other params; choose another folder"
    return f"holds a sweep whose {key} was {before.get(key)}, now it is {now.get(key)}"
