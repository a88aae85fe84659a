"""One model over several processes: a copy in each (DDP), or a share of it in each (FSDP2).

Either averages gradients over the processes. Masks lie with their weights: whole beside a copy,
cut the same way beside a share.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from modelzoo_mediswift.engine.processes import ALONE, Processes
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import LossModule
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX, Masking


def distribute(
    model: GPT3,
    device: torch.device,
    processes: Processes = ALONE,
    sparsity: Masking | None = None,
    *,
    shard: bool = False,
    compiled: bool = False,
    by_layer: bool = False,
) -> nn.Module:
    """The model on the device with its loss, as all processes compute it together.

    With `shard` the model's parameters become shares of themselves, so an optimizer is made
    after this. `compiled` is the model as one program. With `by_layer` it is one for any layer,
    which takes a fraction of the time to make and somewhat more to run; so it is with `shard`,
    since the weights of a layer are collected right before it. Raises UserError for masks that
    need whole weights.
    """
    model.to(device)
    module = LossModule(model)
    if not (shard and processes.many):
        if compiled:
            module.compile_parts(layers=by_layer)
            # Else PyTorch cuts the program wherever 25 MiB of gradients are done, often within a
            # layer, to send them during the backward pass.
            torch._dynamo.config.optimize_ddp = False
        return _copies(module, device) if processes.many else module
    if sparsity is not None and sparsity.dynamic:
        raise UserError(
            "trainer.init.backend.shard_parameters: masks that change (gmp, set, rigl) compare "
            "all weights of a matrix, which no process has; leave the key out"
        )
    if compiled:
        module.compile_parts(layers=True)
    fully_shard, mesh = _fully_shard(), _mesh(device, processes)
    for layer in model.model.transformer_decoder.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for parameter in sparsity.parameters if sparsity else ():
        name = parameter.attribute + MASK_SUFFIX
        parameter.module.register_buffer(name, laid_out_as(parameter.weight, parameter.mask))
    return module


def accumulating(module: nn.Module, last: bool) -> AbstractContextManager:
    """Forward and backward of a micro-batch: gradients travel with the `last` one only."""
    if isinstance(module, DistributedDataParallel):
        return nullcontext() if last else module.no_sync()
    shares: Any = module
    if hasattr(shares, "set_requires_gradient_sync"):
        shares.set_requires_gradient_sync(last)
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from its shares; every process must ask for it."""
    shares: Any = tensor
    return shares.full_tensor() if is_shared(tensor) else tensor


def laid_out_as(target: Tensor, tensor: Tensor) -> Tensor:
    """This process's share of a whole `tensor`, cut like `target`; itself if that is whole."""
    if not is_shared(target):
        return tensor
    shares: Any = target
    mesh = shares.device_mesh
    local = torch.chunk(tensor, mesh.size())
    rank = mesh.get_local_rank()
    own = local[rank] if rank < len(local) else tensor[:0]
    return type(shares).from_local(
        own.to(shares.to_local().device).contiguous(),
        mesh,
        shares.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )


def all_laid_out_as(
    targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """`laid_out_as` by name; what has no target stays as it is."""
    return {n: laid_out_as(targets[n], t) if n in targets else t for n, t in tensors.items()}


def is_shared(tensor: Tensor) -> bool:
    """Whether this process holds a share of the tensor only."""
    return hasattr(tensor, "full_tensor")


def _copies(module: nn.Module, device: torch.device) -> nn.Module:
    # Masks are the same everywhere by construction. torch 2.13 has renamed the option.
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {sync: False}
    copies = DistributedDataParallel(
        module,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **options,
    )
    if device.type == "cpu" and dist.get_world_size() > 2:
        copies.register_comm_hook(None, lambda state, bucket: _average_each(bucket))
    return copies


def _average_each(bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Gradients averaged one by one, so that runs continue to the same bits.

    How gloo orders a sum of three and more depends on where a number lies in its bucket, and a
    process has other buckets in its first step than later.
    """
    for gradient in bucket.gradients():
        dist.all_reduce(gradient.div_(dist.get_world_size()))
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def _fully_shard() -> Callable[..., Any]:
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:  # before torch 2.6
        raise UserError(
            f"trainer.init.backend.shard_parameters needs torch 2.6, here is {torch.__version__}"
        ) from error
    return fully_shard


def _mesh(device: torch.device, processes: Processes) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device.type, (processes.count,))
