"""What each process of tests/engine/test_fp8_processes.py does: steps in FP8 for each recipe named,
with a copy of the model in each process, then with shares. The first one prints all losses."""

import json
import sys

import torch

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.fp8 import use_fp8
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.processes import join, leave, started_processes
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import ConstantLR
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking

CPU = torch.device("cpu")
STEPS = 5

torch.set_autocast_dtype("cuda", torch.bfloat16)  # torchao's layers ask for CUDA's
torch.set_autocast_enabled("cuda", True)
processes = started_processes()
join(processes, CPU)


def losses(recipe: str, shard: bool) -> list[float]:
    """Of `STEPS` steps on this process's rows; checks that what is saved is whole and masked."""
    model = GPT3(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=2,
        filter_size=64,
        max_position_embeddings=16,
    )
    shapes = {name: p.shape for name, p in model.named_parameters()}
    use_fp8(model, recipe, CPU, emulate=True)
    masking = Masking(model, [SparsityRule(0.75)], seed=0)
    module = distribute(model, CPU, processes, masking, shard=shard)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    update = Update(optimizer, ConstantLR(1e-2), masking, max_gradient_norm=1.0)
    engine = TorchEngine(
        model, CPU, update, autocast=torch.bfloat16, module=module, processes=processes
    )
    generator = torch.Generator().manual_seed(processes.rank)
    ids = torch.randint(40, (4, 17), generator=generator, dtype=torch.int32)
    batch = Batch(ids[:, :-1], torch.ones(4, 16, dtype=torch.int32), ids[:, 1:], 0, 8)
    seen: list[float] = []
    engine.train([batch] * STEPS, 0, STEPS, 1, lambda r: seen.append(r.loss) or True)
    state = engine.state().model
    assert {name: state[name].shape for name in shapes} == shapes
    for parameter in masking.parameters:
        name = parameter.name
        assert torch.count_nonzero(state[name][~state[f"{name}_mask"]]) == 0
    return seen


results = [[losses(recipe, shard) for shard in (False, True)] for recipe in sys.argv[1:]]
if processes.first:
    print(json.dumps(results))
leave(0)
