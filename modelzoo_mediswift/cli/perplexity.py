"""`mediswift perplexity CHECKPOINT FILE`: how well a model predicts a text."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from modelzoo_mediswift.cli.flags import add_device_flag, add_tokenizer_flag
from modelzoo_mediswift.errors import UserError


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "perplexity",
        help="how well a checkpoint predicts a text file",
        description="Perplexity and bits per byte of UTF-8 text files, each read as one document "
        "in overlapping windows. Perplexities compare only between models of one vocabulary.",
        epilog="example: mediswift perplexity build/demo/pretrain/checkpoint_300 README.md "
        "--tokenizer build/demo/tokenizer.json",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, or a .mdl")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="UTF-8 text")
    add_tokenizer_flag(parser)
    parser.add_argument(
        "--stride", type=int, help="tokens predicted per window (default: half the window)"
    )
    add_device_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    texts = {path: _read(path) for path in arguments.files}
    if arguments.stride is not None and arguments.stride < 1:
        raise UserError(f"--stride: expected an integer >= 1, got {arguments.stride}")

    from tqdm import tqdm

    from modelzoo_mediswift.cli.loading import load_model, read_tokenizer
    from modelzoo_mediswift.evaluation.perplexity import text_perplexity

    model, checkpoint = load_model(arguments.checkpoint, arguments.device)
    text = read_tokenizer(arguments.tokenizer, checkpoint, arguments.checkpoint)
    if arguments.stride is not None and arguments.stride > model.max_position_embeddings:
        raise UserError(
            f"--stride: expected at most the window of {model.max_position_embeddings}, "
            f"got {arguments.stride}"
        )
    found = {}
    for path, content in texts.items():
        ids = text.encode(content)
        if not ids:
            raise UserError(f"{path}: nothing in it that makes a token")
        one = text_perplexity(
            model,
            ids,
            text.eos_id,
            len(content.encode("utf-8")),
            arguments.stride,
            lambda parts: tqdm(parts, unit="window", disable=None),
        )
        found[str(path)] = {
            "perplexity": one.perplexity,
            "bits_per_byte": one.bits_per_byte,
            "loss": one.nats / one.num_tokens,
            "tokens": one.num_tokens,
            "bytes": one.num_bytes,
        }
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        for name, values in found.items():
            print(
                f"{name}: perplexity {values['perplexity']:.3f} (loss {values['loss']:.4f}), "
                f"{values['bits_per_byte']:.4f} bits per byte, {values['tokens']:,} tokens"
            )
    return 0


def _read(path: Path) -> str:
    try:
        content = path.read_text(encoding="utf-8-sig")  # a byte-order mark is no text
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error})") from error
    if not content.strip():
        raise UserError(f"{path}: no text in it")
    return content
