"""Who does a stage's jobs: processes of this machine, or the workers of a Dask cluster.

A job is a function of files: done twice, or half and then again, it leaves the same files. So it
does not matter who does it, in which order, or whether a worker dies in between.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from modelzoo_mediswift.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """What a stage asks of whoever does its jobs."""

    def run(
        self, work: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[int, Result]]:
        """Each job's number and result, in whatever order they are done.

        `work` is a function of a module. What it raises is raised here, and the other jobs are
        given up. Raises UserError if a worker process died and nobody can take its place.
        """
        ...


class Local:
    """Processes of this machine; for one worker or one job, this process itself."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def run(
        self, work: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[int, Result]]:
        """See `Executor`."""
        if self.workers == 1 or len(jobs) < 2:
            yield from enumerate(map(work, jobs))
            return
        # Spawned, not forked: nothing of this process's threads and locks is inherited.
        context = multiprocessing.get_context("spawn")
        workers = min(self.workers, len(jobs))
        with ProcessPoolExecutor(workers, context, initializer=_start) as pool:
            try:
                numbers = {pool.submit(work, job): number for number, job in enumerate(jobs)}
                for future in as_completed(numbers):
                    yield numbers.pop(future), future.result()
            except BrokenProcessPool:
                raise UserError(
                    "a worker process died (out of memory?); what was done is kept, "
                    "run the same command again with fewer workers"
                ) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _start() -> None:
    """In a worker process: use one thread, and end when the process that started it has."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)  # what an orphan wrote later could meet the files of the next run

    threading.Thread(target=end_with_parent, daemon=True).start()
