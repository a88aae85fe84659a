"""The stages' jobs on a Dask cluster: one that runs, worker processes here, or a batch system's.

Every worker sees the same files under the same names: the folders lie on a shared file system.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from data_preprocessing.executor import Job, Result
from modelzoo_mediswift.errors import UserError, missing_package

if TYPE_CHECKING:
    from distributed import Client

BATCH_SYSTEMS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
"""Those of dask-jobqueue, and its class for each."""
CONNECT_SECONDS = 30


class Dask:
    """An executor on a cluster. A worker that dies is replaced by the others."""

    def __init__(self, client: "Client") -> None:
        self.client = client

    def run(
        self, work: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[int, Result]]:
        """See `Executor`."""
        from distributed import KilledWorker, as_completed

        numbers = {
            self.client.submit(_alone, work, job, pure=False): number
            for number, job in enumerate(jobs)
        }
        try:
            for future in as_completed(list(numbers)):
                yield numbers.pop(future), future.result()
        except KilledWorker:
            raise UserError(
                "a job ended several workers (out of memory?); what was done is kept, "
                "run the same command again with more memory for each worker"
            ) from None
        finally:
            self.client.cancel(list(numbers))


def _alone(work: Callable[[Job], Result], job: Job) -> Result:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return work(job)


@contextmanager
def dask_cluster(
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    jobqueue: Mapping[str, Any] | None = None,
) -> Iterator[Dask]:
    """Connect to the cluster of a `scheduler`, or start one for as long as the block takes.

    `workers` is a number of processes on this machine. `jobqueue` has ``system`` (a key of
    `BATCH_SYSTEMS`), ``jobs`` (how many to submit) and ``options``, what dask-jobqueue's class
    takes, such as cores, memory, queue, walltime. Raises UserError if that fails, or without the
    extra `dask`.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise missing_package("dask", "distributed", "dask") from None
    with ExitStack() as stack:
        if scheduler is not None:
            place: Any = scheduler
        elif jobqueue is not None:
            place = stack.enter_context(_batch_cluster(jobqueue))
        else:
            place = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # any free port
                )
            )
        try:
            client = stack.enter_context(Client(place, timeout=CONNECT_SECONDS))
        except (OSError, ValueError) as error:
            raise UserError(f"dask: no scheduler at {scheduler} ({error})") from None
        yield Dask(client)


def _batch_cluster(options: Mapping[str, Any]) -> Any:
    try:
        import dask_jobqueue
    except ImportError:
        raise missing_package("jobqueue", "dask-jobqueue", "dask") from None
    kind = BATCH_SYSTEMS[options["system"]]
    try:
        cluster = getattr(dask_jobqueue, kind)(**options["options"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"jobqueue: {kind}: {error}") from None
    cluster.scale(jobs=options["jobs"])
    return cluster
