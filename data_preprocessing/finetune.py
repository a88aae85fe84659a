"""A task's examples to HDF5: [eos] source v1 .. vn target [eos], the loss on the target.

The soft prompt v1 .. vn may stand before the source instead.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tqdm import tqdm

from data_preprocessing.bpe import END_OF_TEXT, load_tokenizer, tokenizer_sha256
from data_preprocessing.write_hdf5 import (
    SAMPLES_PER_FILE,
    new_folder,
    write_params,
    write_samples,
    write_text,
    written_before,
)
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.base import SPLITS, Example
from modelzoo_mediswift.tasks.layout import (
    LAYOUT_KEY,
    Layout,
    PromptPosition,
    layout_example,
    layout_rows,
)
from modelzoo_mediswift.tasks.pubmedqa_files import labelling
from modelzoo_mediswift.tasks.registry import make_task

EXAMPLES_FILE = "examples.jsonl"


def finetune_task(
    task_name: str,
    input_path: Path,
    tokenizer_path: Path,
    out_dir: Path,
    *,
    max_sequence_length: int,
    num_virtual_tokens: int | None = None,
    vocab_size: int | None = None,
    samples_per_file: int = SAMPLES_PER_FILE,
    compression: str | None = None,
    prompt_position: PromptPosition = "between",
    **task_options: Any,
) -> dict[str, dict[str, Any]]:
    """Write `out_dir`/{train,validation,test}; return each split's data_params.json.

    `num_virtual_tokens` defaults to the task's own. Virtual tokens are numbered from `vocab_size`,
    which is the model's and by default the tokenizer's. `task_options` that are not None go to the
    task (for PubMedQA fold, include_long_answer ...). A split whose files are not there is left
    out, but for train. Each split has an ``examples.jsonl``, a line per sequence. A
    split that is there already, made from the same examples with the same settings, is left as is.
    """
    task = make_task(task_name, **task_options)
    tokenizer = load_tokenizer(tokenizer_path)
    if vocab_size is None:
        vocab_size = tokenizer.get_vocab_size()
    if vocab_size < tokenizer.get_vocab_size():
        raise UserError(
            f"vocab_size is {vocab_size}, but {tokenizer_path} has {tokenizer.get_vocab_size()}"
        )
    if num_virtual_tokens is None:
        num_virtual_tokens = task.num_virtual_tokens
    if num_virtual_tokens < 0:
        raise UserError(f"num_virtual_tokens: expected 0 or more, got {num_virtual_tokens}")
    wanted_splits = {"train", *task.available(input_path)}
    splits = {split: task.read(input_path, split) for split in SPLITS if split in wanted_splits}
    _refuse_shared(splits, input_path)
    origin = _origin(task_options)
    done = {}
    for split, examples in splits.items():
        wanted = {
            "format": "sample",
            "max_sequence_length": max_sequence_length,
            "vocab_size": vocab_size,
            "num_virtual_tokens": num_virtual_tokens,
            "tokenizer_sha256": tokenizer_sha256(tokenizer_path),
            "eos_token_id": tokenizer.token_to_id(END_OF_TEXT),
            LAYOUT_KEY: {
                "prompt_position": prompt_position,
                "include_long_answer": task_options.get("include_long_answer") or False,
            },
            "sources": {
                "task": task_name,
                "split": split,
                "examples_sha256": _sha256(examples),
                **origin,
            },
            "settings": {"samples_per_file": samples_per_file, "compression": compression},
        }
        params = written_before(out_dir / split, wanted)
        if params is None:
            params = _write_split(out_dir / split, examples, tokenizer, wanted)
        done[split] = params
    return done


def _refuse_shared(splits: Mapping[str, Sequence[Example]], input_path: Path) -> None:
    """Raises UserError where an example is in two splits, or twice in one."""
    seen: dict[str, str] = {}
    for split, examples in splits.items():
        for example in examples:
            if example.id in seen:
                raise UserError(f"{input_path}: {example.id} is in {seen[example.id]} and {split}")
            seen[example.id] = split


def _origin(task_options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the task, and who labelled it, where `mediswift label` noted that."""
    origin: dict[str, Any] = {}
    if task_options.get("subset") is not None:
        origin["subset"] = task_options["subset"]
    if task_options.get("labels_file") is not None:
        origin |= labelling(Path(task_options["labels_file"]))
    return origin


def _write_split(
    folder: Path, examples: Sequence[Example], tokenizer: Tokenizer, wanted: dict[str, Any]
) -> dict[str, Any]:
    msl, eos_id = wanted["max_sequence_length"], wanted["eos_token_id"]
    progress = tqdm(examples, desc=f"finetune {folder.name}", unit="example", disable=None)
    layouts = [_lay_out(example, tokenizer, wanted) for example in progress]
    lines = [
        {
            "id": example.id,
            "label": example.label,
            "n_source_tokens": layout.loss_start - 1 - wanted["num_virtual_tokens"],
            "truncated": layout.num_cut,
        }
        for example, layout in zip(examples, layouts, strict=True)
    ]
    with new_folder(folder) as partial:
        listing = write_samples(
            partial,
            (layout_rows(layout, wanted["vocab_size"], eos_id, msl) for layout in layouts),
            max_sequence_length=msl,
            **wanted["settings"],
        )
        write_text(partial / EXAMPLES_FILE, "".join(f"{json.dumps(line)}\n" for line in lines))
        counts = {
            "truncated": sum(layout.num_cut > 0 for layout in layouts),
            "tokens_cut": sum(layout.num_cut for layout in layouts),
            "labels": dict(
                sorted(Counter(name for e in examples for name in e.label.split("|")).items())
            ),
        }
        n_tokens = sum(len(layout.tokens) for layout in layouts)
        return write_params(
            partial,
            {**wanted, **listing, "n_tokens": n_tokens, "counts": counts, "seed": None},
        )


def _lay_out(example: Example, tokenizer: Tokenizer, wanted: dict[str, Any]) -> Layout:
    source, target = (
        tokenizer.encode(text, add_special_tokens=False).ids
        for text in (example.source, example.target)
    )
    try:
        return layout_example(
            source,
            target,
            wanted["num_virtual_tokens"],
            wanted["vocab_size"],
            wanted["eos_token_id"],
            wanted["max_sequence_length"],
            prompt_position=wanted[LAYOUT_KEY]["prompt_position"],
        )
    except UserError as error:
        raise UserError(f"example {example.id}: {error}") from None


def _sha256(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps(astuple(example)).encode())
    return digest.hexdigest()
