"""`mediswift generate CHECKPOINT "..."`: what the model writes after a text, as it writes it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from modelzoo_mediswift.cli.flags import add_device_flag, add_tokenizer_flag
from modelzoo_mediswift.errors import UserError


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "generate",
        help="let a checkpoint continue a text",
        description="Continue a text, shown while it is generated: the most likely token each "
        "time, or drawn at random where --temperature, --top_k or --top_p ask for it. A "
        "fine-tuned model reads its soft prompt where it stood in training.",
        epilog='example: mediswift generate build/demo/finetune/checkpoint_400 "question: Does '
        'wildaprofen lower fever? context: It did in 8 of 10 mice." --tokenizer '
        "build/demo/tokenizer.json",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, or a .mdl")
    parser.add_argument("text", help="what to continue; - reads it from standard input")
    add_tokenizer_flag(parser)
    parser.add_argument("--max_new_tokens", type=int, default=64, help="default: 64")
    parser.add_argument("--temperature", type=float, help="flatter above 1; 0 is greedy")
    parser.add_argument("--top_k", type=int, help="draw from so many most likely tokens")
    parser.add_argument("--top_p", type=float, help="draw from tokens of this much probability")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--no_prompt", action="store_true", help="leave out the soft prompt")
    add_device_flag(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    source = _source(arguments.text)
    from modelzoo_mediswift.cli.loading import load_model, read_tokenizer, trained_layout
    from modelzoo_mediswift.engine.sparse_reading import compress_where_faster
    from modelzoo_mediswift.model.generate import read_prefix
    from modelzoo_mediswift.model.packed import pack_linear_layers
    from modelzoo_mediswift.model.sample import Sampling, stream
    from modelzoo_mediswift.tasks.layout import POSITIONS, layout_example

    model, checkpoint = load_model(arguments.checkpoint, arguments.device, pack=False)
    compress_where_faster(model, checkpoint.model)
    pack_linear_layers(model)
    text = read_tokenizer(arguments.tokenizer, checkpoint, arguments.checkpoint)
    num_virtual_tokens = 0 if arguments.no_prompt else model.num_virtual_tokens
    most = model.max_position_embeddings - 1 - num_virtual_tokens
    if arguments.max_new_tokens > most:
        raise UserError(
            f"--max_new_tokens: expected at most {most}, which is what the model's "
            f"{model.max_position_embeddings} positions leave, got {arguments.max_new_tokens}"
        )
    layout = layout_example(
        text.encode(source),
        [],
        num_virtual_tokens,
        model.vocab_size,
        text.eos_id,
        model.max_position_embeddings,
        target_room=arguments.max_new_tokens,
        prompt_position=trained_layout(checkpoint, arguments.checkpoint).get(
            "prompt_position", POSITIONS[0]
        ),
    )
    if layout.num_cut:
        print(f"the text is cut: its last {layout.num_cut} tokens do not fit", file=sys.stderr)
    drawing = any(
        value is not None for value in (arguments.temperature, arguments.top_k, arguments.top_p)
    )
    temperature = 1.0 if arguments.temperature is None else arguments.temperature
    sampling = Sampling(
        temperature=temperature if drawing else 0.0,
        top_k=arguments.top_k or 0,
        top_p=1.0 if arguments.top_p is None else arguments.top_p,
    )
    prefix = read_prefix(model, [layout.tokens[: layout.loss_start]])
    tokens = stream(model, prefix, sampling, arguments.max_new_tokens, text.eos_id, arguments.seed)
    for piece in pieces(tokens, text.decode):
        print(piece, end="", flush=True)
    print()
    return 0


def pieces(tokens: Iterable[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """The text of a stream of tokens in pieces that later tokens do not change.

    The last word is kept back until another begins: a token may still join it, and the decoder
    decides by the next token whether a space comes between.
    """
    ids: list[int] = []
    shown = ""
    for token in tokens:
        ids.append(token)
        settled, _, _ = decode(ids).rpartition(" ")
        if settled.startswith(shown) and len(settled) > len(shown):
            yield settled[len(shown) :]
            shown = settled
    whole = decode(ids)
    yield whole[len(shown) :] if whole.startswith(shown) else f"\n{whole}"


def _source(given: str) -> str:
    try:
        source = sys.stdin.read() if given == "-" else given
        source.encode()  # bytes that are no UTF-8 come as half surrogate pairs
    except UnicodeError:
        where = "standard input" if given == "-" else "the text to continue"
        raise UserError(f"{where}: not UTF-8") from None
    return source


def _check(arguments: argparse.Namespace) -> None:
    for name, low, high in (
        ("max_new_tokens", 1, None),
        ("temperature", 0, None),
        ("top_k", 1, None),
        ("top_p", 0, 1),
        ("seed", 0, 2**63 - 1),
    ):
        value = getattr(arguments, name)
        if value is None:
            continue
        # Written so that nan is refused too.
        if not (value >= low and (high is None or value <= high)) or value == float("inf"):
            expected = f"at least {low}" if high is None else f"a number in [{low}, {high}]"
            raise UserError(f"--{name}: expected {expected}, got {value}")
