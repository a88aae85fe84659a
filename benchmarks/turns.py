"""Peers that take turns in one process, since a machine's speed changes from minute to minute."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Seconds:
    """What others do on a machine makes a time longer and never shorter: the least is nearest to
    what the work itself takes, the median to what its user sees there."""

    least: float
    median: float


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    turns: int,
    *,
    processor_time: bool = False,
    warm_up: int = 1,
) -> dict[str, Seconds]:
    """The times of each, after `warm_up` more turns."""
    clock = time.process_time if processor_time else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(warm_up + turns):
        for name, work in contenders.items():
            start = clock()
            work()
            times[name].append(clock() - start)
    counted = {name: values[warm_up:] for name, values in times.items()}
    return {name: Seconds(min(v), statistics.median(v)) for name, v in counted.items()}
