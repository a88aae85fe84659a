"""Peers that take turns in one process, since a machine's speed changes from minute to minute."""

import statistics
import time
from collections.abc import Callable, Mapping


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    turns: int,
    *,
    processor_time: bool = False,
    warm_up: int = 1,
) -> dict[str, float]:
    """The median seconds of each, after `warm_up` more turns."""
    clock = time.process_time if processor_time else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(warm_up + turns):
        for name, work in contenders.items():
            start = clock()
            work()
            times[name].append(clock() - start)
    return {name: statistics.median(values[warm_up:]) for name, values in times.items()}
