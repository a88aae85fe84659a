"""The points of a grid, and which of them is to be run next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

COMPLETE, PRUNED, RUNNING = "complete", "pruned", "running"


class Configuration(NamedTuple):
    """What the sweep chooses."""

    batch_size: int
    learning_rate: float


class Point(NamedTuple):
    """One run: a configuration with a seed."""

    configuration: Configuration
    seed: int

    @property
    def name(self) -> str:
        """Of the run's folder; rates that are close have names of their own."""
        size, rate = self.configuration
        return f"batch{size}_lr{rate!r}_seed{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How far a point is."""

    state: str
    """COMPLETE, PRUNED or RUNNING."""
    score: float | None = None
    """On the validation set, of the best checkpoint."""
    watched: float | None = None
    """Its monitored value, the larger the better."""
    epochs: int = 0
    reason: str = ""
    """Why it was pruned."""


Outcomes = Mapping[Point, Outcome]


@dataclass(frozen=True)
class Grid:
    """All combinations that a sweep may try."""

    batch_sizes: Sequence[int]
    learning_rates: Sequence[float]
    seeds: Sequence[int]

    @property
    def configurations(self) -> list[Configuration]:
        return [Configuration(b, r) for b in self.batch_sizes for r in self.learning_rates]

    def points(self) -> list[Point]:
        """The first seed of every configuration, then the others."""
        return [Point(c, seed) for seed in self.seeds for c in self.configurations]

    def hopeless(self, outcomes: Outcomes) -> set[Configuration]:
        """The configurations of which a run was pruned; their other seeds are not run."""
        return {p.configuration for p, found in outcomes.items() if found.state == PRUNED}

    def left(self, outcomes: Outcomes) -> list[Point]:
        """What is still to be started, in order."""
        hopeless = self.hopeless(outcomes)
        return [p for p in self.points() if p not in outcomes and p.configuration not in hopeless]

    def next_point(self, outcomes: Outcomes) -> Point | None:
        """What can be started now: later seeds wait for the first, which may be pruned."""
        for point in self.left(outcomes):
            first = outcomes.get(Point(point.configuration, self.seeds[0]))
            if point.seed == self.seeds[0] or (first and first.state == COMPLETE):
                return point
        return None

    def finished(self, outcomes: Outcomes) -> bool:
        running = any(found.state == RUNNING for found in outcomes.values())
        return not running and not self.left(outcomes)

    def scores(self, configuration: Configuration, outcomes: Outcomes) -> list[float] | None:
        """Validation scores by seed, None unless all seeds are complete."""
        found = [outcomes.get(Point(configuration, seed)) for seed in self.seeds]
        scores = [o.score for o in found if o and o.state == COMPLETE and o.score is not None]
        return scores if len(scores) == len(self.seeds) else None

    def best(self, outcomes: Outcomes) -> Configuration | None:
        """The highest mean validation score; of equals the better mean monitored value, as a
        small validation set has few different scores; then the first in the grid."""

        def rank(configuration: Configuration) -> tuple[float, float]:
            scores = self.scores(configuration, outcomes) or []
            watched = [outcomes[Point(configuration, s)].watched or 0.0 for s in self.seeds]
            return sum(scores) / len(scores), sum(watched) / len(watched)

        whole = [c for c in self.configurations if self.scores(c, outcomes)]
        return max(whole, key=rank, default=None)
