"""Lines of logs, and scores, with numbers that can be checked by hand.

The model is that of params/tiny_s75.yaml: 4 layers of width 128, 4 heads, 4,096 words, sequences
of 256 tokens, 16 of them per step; a quarter of the 786,432 weights of the matrices stays.
"""

import math
from typing import Any

D, LAYERS = 128, 4
SHAPES = {
    "self_attn.proj_q_dense_layer": D * D,
    "self_attn.proj_k_dense_layer": D * D,
    "self_attn.proj_v_dense_layer": D * D,
    "self_attn.proj_output_dense_layer": D * D,
    "ffn.ffn.0.linear_layer": 4 * D * D,
    "ffn.ffn.1.linear_layer": 4 * D * D,
}
TOKENS_PER_STEP = 16 * 256

Line = dict[str, Any]


def flops(weights: int) -> dict[str, int]:
    """Per token."""
    terms = {
        "linear": 6 * weights,
        "vocabulary": 10 * 4096 * D,  # 5,242,880
        "attention": 12 * LAYERS * 256 * D,  # 1,572,864
        "softmax": 12 * LAYERS * 4 * 256,  # 49,152
    }
    return {"total": sum(terms.values()), **terms}


def plan(weights: int = 196_608) -> dict[str, Any]:
    return {
        "n_params_paper": 786_432,
        "n_params_total": 1_350_400,
        "n_params_nonzero": 760_576 if weights == 196_608 else 1_350_400,
        "batch_size": 16,
        "sequence_length": 256,
        "flops_per_token": flops(weights),
        "flops_per_token_dense": flops(786_432),
    }


def start(step: int = 0, **facts: Any) -> Line:
    record: Line = {
        "event": "start",
        "step": step,
        "total_steps": 300,
        "name": "pretrain",
        "device": "CPU, float32",
        "seed": 1,
        "versions": {"modelzoo-mediswift": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
        "config": "trainer:\n  init:\n    seed: 1\n",
        "plan": plan(),
        "data": {
            "format": "sample",
            "max_sequence_length": 256,
            "vocab_size": 4096,
            "num_virtual_tokens": 0,
            "tokenizer_sha256": "ab" * 32,
            "n_examples": 5120,
            "n_tokens": 1_310_000,
            "n_loss_tokens": 1_304_880,
            "files": [{"name": "data-00000.h5", "n_examples": 5120, "sha256": "cd" * 32}],
            "sources": {"train.parquet": "ef" * 32},
            "seed": 0,
            "created_by": "modelzoo-mediswift 0.1.0",
        },
        "started_from": None,
        "revived_weights": 0,
        "sparsity": [
            {
                "name": f"model.transformer_decoder.layers.{i}.{name}.weight",
                "kept": size // 4,
                "total": size,
            }
            for i in range(LAYERS)
            for name, size in SHAPES.items()
        ],
    }
    return {**record, **facts}


def finetune_start(**facts: Any) -> Line:
    data = {
        **start()["data"],
        "num_virtual_tokens": 9,
        "sources": {"task": "pubmedqa", "split": "train", "examples_sha256": "01" * 32},
    }
    return start(
        name="finetune",
        total_steps=200,
        plan=plan(786_432),
        data=data,
        started_from="build/demo/pretrain/checkpoint_300",
        revived_weights=589_824,
        sparsity=[],
        **facts,
    )


def train(step: int, loss: float | None = 2.5, **values: Any) -> Line:
    line = {"event": "train", "step": step, "loss": loss, "lr": 1e-3, "grad_norm": 1.0}
    return {**line, "tokens_per_second": 4096.0, "mfu": None, **values}


def evaluated(step: int, loss: float, name: str = "validation") -> Line:
    values = {"name": name, "loss": loss, "perplexity": math.exp(loss), "accuracy": 0.25}
    return {"event": "eval", "step": step, **values, "n_tokens": 1000}


def whole_run(first: Line, total: int, before: float, after: float) -> list[Line]:
    """Every tenth step from one loss to the other, validation at a third, two thirds, the end."""
    lines = [first]
    for step in range(10, total + 1, 10):
        share = (step - 10) / (total - 10)
        loss = after + (before - after) * (1 - share) ** 3
        lines.append(train(step, loss, lr=2e-3 * (1 - 0.9 * share)))
        if step % (total // 2) == 0:
            lines.append(evaluated(step, loss + 0.125))
    return [*lines, {"event": "end", "step": total}]


def score(accuracy: float, **values: Any) -> dict[str, Any]:
    return {
        "num_examples": 200,
        "accuracy": accuracy,
        "accuracy_interval": [max(accuracy - 0.07, 0.0), accuracy + 0.06],
        "macro_f1": 0.5,
        "parse_failures": 0,
        "majority_label": "yes",
        "majority_accuracy": 0.55,
        **values,
    }
