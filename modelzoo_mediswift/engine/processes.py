"""The processes of one run, as torchrun starts them: who am I, and what do we have together."""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process among those of the run; a single one needs no communication."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # among those of this machine: the number of its GPU
    local_count: int = 1  # of those of this machine

    @property
    def many(self) -> bool:
        return self.count > 1

    @property
    def first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place; they must all call it."""
        if self.many:
            dist.all_reduce(tensor)
        return tensor

    def sum_number(self, number: int) -> int:
        """The sum of a number that the host knows, without waiting for a device."""
        return int(self.sum(torch.tensor(number))) if self.many else number

    def sum_numbers(self, *numbers: int) -> list[int]:
        """`sum_number` of several at once."""
        return self.sum(torch.tensor(numbers)).tolist() if self.many else list(numbers)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in some process."""
        return self.sum_number(int(flag)) > 0

    def same(self, number: int) -> int:
        """The first process's number, in all of them."""
        return self.sum_number(number if self.first else 0)

    def least(self, number: int) -> int:
        """The smallest of everybody's numbers."""
        return min(int(n) for n in self.gather(torch.tensor(number)))

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Everybody's tensor of the same shape on the host, by rank."""
        if not self.many:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(gathered, tensor)
        return gathered


ALONE = Processes()


def started_processes() -> Processes:
    """What torchrun says about this process; alone where it says nothing."""
    said = os.environ.get
    return Processes(
        int(said("RANK", "0")),
        int(said("WORLD_SIZE", "1")),
        int(said("LOCAL_RANK", "0")),
        int(said("LOCAL_WORLD_SIZE", "1")),
    )


def join(processes: Processes, device: torch.device) -> None:
    """Meet the other processes of the run, if there are any and this was not done yet.

    Numbers of the host go through gloo on every device, so that counting tokens or agreeing to
    stop does not wait for a GPU.
    """
    if not processes.many or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")


def leave(code: int) -> None:
    """Say good-bye to the other processes, if others were met, and end this one with the exit code.

    A good-bye may wait for theirs. Who failed goes without: the others may be waiting in another
    place, and end since this one is gone, or torchrun ends them.

    Python's own end is left out. A thread of gloo that lets go of a tensor while Python ends
    aborts the process, whose work is done and whose exit code says that it failed
    (https://github.com/pytorch/pytorch/issues/190489).
    """
    if not dist.is_initialized():
        return
    if code == 0 and torch.cuda.is_initialized():  # gloo's in torch 2.4 may wait for ever
        dist.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
