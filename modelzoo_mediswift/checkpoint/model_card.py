"""The README.md of an exported folder: how to load it, what it was made of, what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelzoo_mediswift.checkpoint.densify import split_masks
from modelzoo_mediswift.checkpoint.directory import Checkpoint
from modelzoo_mediswift.checkpoint.hf_tokenizer import prompt_token
from modelzoo_mediswift.checkpoint.public_names import public, public_yaml
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.report.json_values import integer, number, pick, text

USE = """\
```python
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = AutoModelForCausalLM.from_pretrained(FOLDER)
ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(TEXT)["input_ids"]]])
written = model.generate(ids, attention_mask=torch.ones_like(ids))[0, ids.shape[1]:]
print(tokenizer.decode(written, skip_special_tokens=True))
```

A sequence starts with the end-of-text token, as every document did in training; the tokenizer does
not add it by itself. `<|endoftext|>` inside a text is read as the characters it consists of."""

INTENDED = """\
For research: on sparse pre-training and what dense fine-tuning recovers of it, on biomedical
question answering and document classification as benchmarks, and as a starting point for
fine-tuning on other research tasks in English biomedical text. Not for dialogue, advice, or
patients' records: it was trained on published abstracts and articles alone and has learnt nothing
about those."""

CARE = """\
This model holds traces of the medical literature; it was not made fit to hand that knowledge to
clinicians or patients in a form that is suitable, safe or usable under the constraints they work
under. Do not put it to use in clinical or medical applications as it is. A use of that kind first
needs thorough adaptation to the case at hand and far more testing than any benchmark gives,
randomized controlled trials in real practice among it. A model that scores well on research
abstracts may still be wrong, confidently so, about the person in front of you.

It states falsehoods fluently, repeats the biases and gaps of what it read, and does not know what
was retracted or found since. Abstracts may be under their publishers' copyright, and each PMC
article has its own licence: look at the record of the training data before passing on what the
model wrote."""

SPENT = {
    "wall_seconds": ",.1f",
    "tokens": ",",
    "padding_tokens": ",",
    "flops": ".4g",
    "flops_dense": ".4g",
}
"""Sums of the run record's sessions, and how they are written."""
ORIGIN = (
    "device",
    "seed",
    "started_from",
    "started_from_sha256",
    "masks_sha256",
    "data_fingerprint",
)
"""What the run record says about a run's beginning."""


def model_card(
    checkpoint: Checkpoint,
    model: ModelConfig,
    origin: Path,
    scores: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Markdown; `scores` are lines about evaluations, one each, `record` is run_record.json.

    `earlier` are the records of the run that this one started from, of the one before it and so on.
    """
    title = f"{origin.parent.name or 'mediswift'}, step {checkpoint.step:,}"
    parts = [
        f"---\nlanguage: en\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n"
        f"# {title}",
        "A biomedical language model in the manner of MediSwift (Thangarasa et al. 2024, arXiv "
        "2403.00952), in GPT-2's architecture with exact GELU.",
        "## Intended use\n\n" + INTENDED,
        "## Use\n\n" + USE,
    ]
    if model.num_virtual_tokens:
        parts.append(_prompt_text(model, checkpoint.data))
    parts += [
        "## Model\n\n" + _table(_model_facts(checkpoint, model)),
        "## Data it was last trained on\n\n" + _table(_data_facts(checkpoint.data)),
        "## Run\n\n"
        + _table({"step": f"{checkpoint.step:,}"} | checkpoint.versions | _run_facts(record or {})),
    ]
    for before in earlier:
        data = before.get("data")
        facts = _masks_facts(before) | _data_facts(data if isinstance(data, Mapping) else {})
        title = f"## Before that: {text(before.get('name')) or 'a run'}"
        parts.append(f"{title}\n\n" + _table(facts | _run_facts(before)))
    if scores:
        parts.append("## Scores\n\n" + "\n".join(f"- {line}" for line in scores))
    else:
        parts.append("## Scores\n\nNone of this checkpoint were found beside it.")
    parts.append("## Ethical considerations\n\n" + CARE)
    if checkpoint.config:
        config = public_yaml(checkpoint.config).rstrip()
        parts.append(f"## The run's configuration\n\n```yaml\n{config}\n```")
    return "\n\n".join(parts) + "\n"


def _prompt_text(model: ModelConfig, data: Mapping[str, Any]) -> str:
    count = model.num_virtual_tokens
    tokens = "".join(prompt_token(i + 1) for i in range(count))
    before = pick(data, "example_layout", "prompt_position") == "before"
    where = "before the source" if before else "between source and target"
    written = f"{tokens} SOURCE" if before else f"SOURCE {tokens}"
    return (
        f"The soft prompt is {count} virtual tokens, ids {model.vocab_size} to "
        f"{model.vocab_size + count - 1}, which stand {where}:\n\n"
        f"```\n{written}\n```\n\n"
        "They are for reading only. Each has the mean of all words' rows in the output "
        "projection, so its logit is never the highest, and generation_config.json suppresses it. "
        "In a softmax over the whole vocabulary they hold a share of at most "
        f"{count}/{model.vocab_size + count}."
    )


def _model_facts(checkpoint: Checkpoint, model: ModelConfig) -> dict[str, str]:
    weights, masks = split_masks(checkpoint.model)
    facts = {
        "parameters": f"{sum(tensor.numel() for tensor in weights.values()):,}",
        "layers, width, heads": f"{model.num_hidden_layers}, {model.hidden_size}, "
        f"{model.num_heads}",
        "positions": f"{model.max_position_embeddings:,}",
        "vocabulary": f"{model.vocab_size:,}",
    }
    if masks:
        total = sum(mask.numel() for mask in masks.values())
        zeros = total - sum(int(mask.sum()) for mask in masks.values())
        facts["masked"] = f"{_zeros_text(zeros, total, len(masks))}; exactly zero here"
    return facts


def _masks_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """How sparse the run was, by its record's list of masked matrices."""
    matrices = record.get("sparsity") or []
    if not matrices:
        return {"masked": "nothing"}
    counts = [
        (integer(pick(matrix, "kept")), integer(pick(matrix, "total")))
        for matrix in (matrices if isinstance(matrices, list) else [None])
    ]
    known = [(kept, total) for kept, total in counts if kept is not None and total]
    if len(known) < len(counts):
        return {"masked": "not told: the run's record is damaged there"}
    total = sum(total for _, total in known)
    zeros = total - sum(kept for kept, _ in known)
    return {"masked": _zeros_text(zeros, total, len(known))}


def _zeros_text(zeros: int, total: int, matrices: int) -> str:
    return f"{zeros:,} of {total:,} weights in {matrices} matrices ({zeros / total:.1%})"


def _run_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """What a reader of the card asks of a run record; the sums are over all starts."""
    facts = {}
    for key in ORIGIN:
        if record.get(key) is not None:
            facts[key.replace("_", " ")] = str(public(record[key]))
    facts |= {
        key.replace("_", " "): f"{record[key]:,}"
        for key in ("revived_weights", "revived_moved")
        if isinstance(record.get(key), int) and record[key]
    }
    sessions = record.get("sessions")
    sessions = [s for s in sessions if isinstance(s, Mapping)] if isinstance(sessions, list) else []
    for key, form in SPENT.items():
        known = [value for s in sessions if (value := number(s.get(key))) is not None]
        if known:
            facts[key.replace("_", " ")] = format(sum(known), form)
    joules: dict[str, float] = {}
    for session in sessions:
        measured = session.get("energy_joules")
        for source, value in measured.items() if isinstance(measured, Mapping) else ():
            joules[source] = joules.get(source, 0.0) + (number(value) or 0.0)
    return facts | {f"energy, {source}": f"{value:,.0f} J" for source, value in joules.items()}


def _data_facts(data: Mapping[str, Any]) -> dict[str, str]:
    facts = {
        name.replace("_", " "): f"{data[name]:,}"
        for name in ("n_examples", "n_tokens", "n_loss_tokens", "max_sequence_length")
        if isinstance(data.get(name), int)
    }
    by_source = data.get("tokens_by_source")
    if isinstance(by_source, Mapping):
        facts |= {f"tokens of {name}": f"{n:,}" for name, n in by_source.items() if type(n) is int}
    for key, kind in (("counts", "count"), ("sources", "source")):
        found = data.get(key)
        facts |= _flat(kind, public(found)) if isinstance(found, Mapping) else {}
    if data.get("tokenizer_sha256"):
        facts["SHA-256 of tokenizer.json"] = str(data["tokenizer_sha256"])
    return facts or {"record": "none was kept"}


def _flat(name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """A row for each number and text in nested mappings, under the names that lead to it."""
    rows: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows |= _flat(f"{name}: {key}", value)
        elif isinstance(value, str | int | float):
            rows[f"{name}: {key}"] = f"{value:,}" if type(value) is int else str(value)
    return rows


def _table(facts: Mapping[str, str]) -> str:
    rows = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])
