"""What a configuration will cost, from arithmetic alone."""

from dataclasses import asdict, dataclass

from modelzoo_mediswift.plan.flops import Flops, flops_per_token, palm_flops_per_token
from modelzoo_mediswift.plan.inputs import Config, Init
from modelzoo_mediswift.plan.memory import Memory, checkpoint_bytes, training_memory
from modelzoo_mediswift.plan.parameters import KindCount, count_parameters


@dataclass(frozen=True)
class Plan:
    """Sizes and costs of one configuration. None where the file leaves a number open."""

    n_params_paper: int
    """Weights of the decoder's matrices (Table 5's count)."""
    n_params_total: int
    """All parameters; the output layer shares the word embeddings."""
    n_params_nonzero: int
    """Parameters that no mask holds at zero; a mean over the run where masks change level."""
    kinds: tuple[KindCount, ...]
    """Parameters and sparsity by kind."""

    batch_size: int | None
    """Sequences per optimizer step, over accumulation steps."""
    sequence_length: int
    """Tokens per sequence."""
    steps: int | None
    """Optimizer steps: the loop's, or else the length of the schedule."""
    tokens: int | None
    """batch_size * sequence_length * steps."""
    warmup_steps: int
    """Steps at the start with a rising learning rate."""
    warmup_share: float | None
    """Of steps."""

    changing_level: bool
    """Whether the level of some mask changes; densities are then means over the run."""
    regrowth_flops_per_token: int
    """What RigL's changes cost beside: the gradients of masked weights, mean over the run."""
    flops_per_token: Flops
    dense_flops_per_token: Flops
    """The same without masks."""
    palm_flops_per_token: int
    """Without masks, in PaLM's convention: what utilisation of a device mostly refers to."""

    micro_batch_size: int | None
    """Sequences per forward and backward pass."""
    memory: Memory | None
    """Bytes on a CPU or GPU, in the precision that the file asks for."""
    memory_float32: Memory | None
    """The same without mixed precision."""
    checkpoint_bytes: int

    @property
    def flops(self) -> Flops | None:
        """FLOPs of the whole training."""
        return None if self.tokens is None else self.flops_per_token.times(self.tokens)

    @property
    def dense_flops(self) -> Flops | None:
        """The same without masks."""
        return None if self.tokens is None else self.dense_flops_per_token.times(self.tokens)

    @property
    def flops_ratio(self) -> float:
        """FLOPs in units of the dense model's."""
        return self.flops_per_token.total / self.dense_flops_per_token.total

    def to_dict(self) -> dict[str, object]:
        """For JSON: numbers, strings, lists and dicts."""
        return {
            "n_params_paper": self.n_params_paper,
            "n_params_total": self.n_params_total,
            "n_params_nonzero": self.n_params_nonzero,
            "sparsity": {kind.kind: kind.sparsity for kind in self.kinds},
            "params": {kind.kind: asdict(kind) for kind in self.kinds},
            "batch_size": self.batch_size,
            "sequence_length": self.sequence_length,
            "steps": self.steps,
            "tokens": self.tokens,
            "warmup_steps": self.warmup_steps,
            "warmup_share": self.warmup_share,
            "changing_level": self.changing_level,
            "regrowth_flops_per_token": self.regrowth_flops_per_token,
            "flops": _flops_dict(self.flops),
            "flops_dense": _flops_dict(self.dense_flops),
            "flops_ratio": self.flops_ratio,
            "flops_per_token": _flops_dict(self.flops_per_token),
            "flops_per_token_dense": _flops_dict(self.dense_flops_per_token),
            "palm_flops_per_token": self.palm_flops_per_token,
            "micro_batch_size": self.micro_batch_size,
            "memory_bytes": _memory_dict(self.memory),
            "memory_bytes_float32": _memory_dict(self.memory_float32),
            "checkpoint_bytes": self.checkpoint_bytes,
        }


def make_plan(
    config: Config,
    sequence_length: int | None = None,
    compiled: bool | None = None,
    batch_size: int | None = None,
) -> Plan:
    """Plan a training run; `sequence_length` is that of the data, where it is known.

    `compiled`: whether torch.compile makes the step; None: as the file says, else as on a GPU.
    `batch_size`: instead of the file's; steps that the schedule alone tells are then those of as
    many sequences.

    Raises:
        UserError: a glob of the sparsity blocks matches no parameter.
    """
    init, model = config.init, config.init.model
    loader = config.fit.train_dataloader if config.fit else None
    in_file = loader.max_sequence_length if loader else None
    length = sequence_length or in_file or model.max_position_embeddings
    steps, read = _steps(init), loader.batch_size if loader else None
    if batch_size is not None and read is not None:
        if steps is not None and _limit(init) is None:
            steps = max(1, round(steps * read / batch_size))
        read = batch_size
    counts = count_parameters(model, init.sparsity, steps)
    batch = read * init.loop.grad_accum_steps if read else None
    asked = [size for size in (init.micro_batch_size, read) if size]
    micro_batch = min(asked, default=None)  # a batch has no more
    if compiled is None:
        compiled = init.backend.compile is not False
    memory = {
        mixed: training_memory(
            model,
            counts,
            sequences=micro_batch,
            sequence_length=length,
            mixed=mixed,
            compiled=compiled,
            accumulates=micro_batch != batch,
        )
        if micro_batch
        else None
        for mixed in (False, True)
    }
    return Plan(
        n_params_paper=counts.paper,
        n_params_total=counts.total,
        n_params_nonzero=counts.nonzero,
        kinds=counts.kinds,
        batch_size=batch,
        sequence_length=length,
        steps=steps,
        tokens=batch * length * steps if batch and steps else None,
        warmup_steps=init.warmup_steps,
        warmup_share=init.warmup_steps / steps if steps else None,
        changing_level=any(not isinstance(b.sparsity, float) for b in init.sparsity),
        regrowth_flops_per_token=round(2 * counts.regrowth),
        flops_per_token=flops_per_token(model, counts.paper_nonzero, length),
        dense_flops_per_token=flops_per_token(model, counts.paper, length),
        palm_flops_per_token=palm_flops_per_token(model, counts.paper, length),
        micro_batch_size=micro_batch,
        memory=memory[init.precision is not None and init.precision.enabled],
        memory_float32=memory[False],
        checkpoint_bytes=checkpoint_bytes(counts),
    )


def _steps(init: Init) -> int | None:
    """Steps of a run that starts at 0. An epoch's length is not known without the data."""
    limit = _limit(init)
    return init.schedule_steps if limit is None else limit


def _limit(init: Init) -> int | None:
    """Steps that the loop allows, as far as it says."""
    loop = init.loop
    if loop.num_steps is not None:
        return loop.num_steps
    limits = [] if loop.max_steps is None else [loop.max_steps]
    if loop.num_epochs is not None and loop.steps_per_epoch is not None:
        limits.append(loop.num_epochs * (loop.steps_per_epoch // loop.grad_accum_steps))
    return min(limits, default=None)


def _flops_dict(flops: Flops | None) -> dict[str, int] | None:
    return None if flops is None else {"total": flops.total, **asdict(flops)}


def _memory_dict(memory: Memory | None) -> dict[str, int] | None:
    return None if memory is None else {"total": memory.total, **asdict(memory)}
