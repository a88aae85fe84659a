"""`mediswift export CHECKPOINT DIR` and `mediswift import DIR`: to Hugging Face and back."""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.cli.flags import add_tokenizer_flag
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import flush, write_json, write_whole

if TYPE_CHECKING:
    from modelzoo_mediswift.report.evaluations import Score


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "export",
        help="write a folder that Hugging Face transformers loads",
        description="Write a checkpoint as a Hugging Face folder of GPT-2's architecture, which "
        "AutoModelForCausalLM and AutoTokenizer load without code of this project. Masks are "
        "dropped (zeros stay zeros); a soft prompt becomes the last rows of the vocabulary.",
        epilog="example: mediswift export build/demo/finetune/checkpoint_400 build/demo/hf "
        "--tokenizer build/demo/tokenizer.json",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, or a .mdl")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to make")
    add_tokenizer_flag(parser)
    parser.set_defaults(command=run_export)

    parser = commands.add_parser(
        "import",
        help="make a checkpoint of a Hugging Face folder",
        description="Make a dense checkpoint of a folder that `export` wrote, or of another GPT-2 "
        "folder with exact GELU. The tokenizer goes beside it.",
        epilog="example: mediswift import build/demo/hf -o runs/imported",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with config.json")
    parser.add_argument(
        "-o", "--model_dir", type=Path, required=True, help="run folder for checkpoint_<step>"
    )
    parser.set_defaults(command=run_import)


def run_export(arguments: argparse.Namespace) -> int:
    from modelzoo_mediswift.checkpoint.directory import load_checkpoint
    from modelzoo_mediswift.cli.loading import config_of, read_tokenizer_file

    folder: Path = arguments.folder
    if folder.exists():
        raise UserError(f"{folder}: exists already; name a new folder")
    checkpoint = load_checkpoint(arguments.checkpoint)
    content, _, eos_id = read_tokenizer_file(arguments.tokenizer, checkpoint, arguments.checkpoint)

    import torch

    from modelzoo_mediswift.build_model import build_model
    from modelzoo_mediswift.checkpoint.densify import split_masks
    from modelzoo_mediswift.checkpoint.hf_tokenizer import tokenizer_settings, with_prompt_tokens
    from modelzoo_mediswift.checkpoint.huggingface import write_weights
    from modelzoo_mediswift.checkpoint.model_card import model_card
    from modelzoo_mediswift.model.tensors import check_fit

    model = config_of(checkpoint, arguments.checkpoint).init.model
    with torch.device("meta"):  # shapes alone
        check_fit(build_model(model, seed=None), split_masks(checkpoint.model)[0])
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_weights(temporary, checkpoint, arguments.checkpoint, eos_id)
    except UserError:  # a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    tokens = with_prompt_tokens(content, model.vocab_size, model.num_virtual_tokens)
    write_whole(temporary / "tokenizer.json", tokens)
    for name, settings in tokenizer_settings(model.max_position_embeddings).items():
        write_json(temporary / name, settings)
    record = _record(arguments.checkpoint)
    card = model_card(
        checkpoint,
        model,
        arguments.checkpoint,
        _scores(arguments.checkpoint),
        record,
        _earlier(record),
    )
    write_whole(temporary / "README.md", card)
    flush(temporary)
    temporary.rename(folder)
    flush(folder.parent)
    print(f"written: {folder}")
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    from modelzoo_mediswift.build_model import build_model
    from modelzoo_mediswift.checkpoint.directory import save_checkpoint, step_path
    from modelzoo_mediswift.checkpoint.hf_tokenizer import without_prompt_tokens
    from modelzoo_mediswift.checkpoint.huggingface import read_folder
    from modelzoo_mediswift.config.load import parse_config
    from modelzoo_mediswift.model.tensors import load_tensors

    folder: Path = arguments.folder
    checkpoint = read_folder(folder)
    target = step_path(arguments.model_dir, checkpoint.step)
    if target.exists():
        raise UserError(f"{target}: exists already; choose another --model_dir")
    config = parse_config(checkpoint.config, str(folder)).init.model
    # Refuses a missing tensor and one of another shape.
    load_tensors(build_model(config, seed=None), checkpoint.model)
    tokenizer = folder / "tokenizer.json"
    if tokenizer.is_file():
        try:
            content = tokenizer.read_bytes().decode("utf-8")
            content = without_prompt_tokens(content, config.num_virtual_tokens)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{tokenizer}: not a tokenizer.json: {error}") from error
        arguments.model_dir.mkdir(parents=True, exist_ok=True)
        write_whole(arguments.model_dir / "tokenizer.json", content)
        sha256 = hashlib.sha256(content.encode("utf-8")).hexdigest()
        checkpoint.data = {**checkpoint.data, "tokenizer_sha256": sha256}
    print(f"written: {save_checkpoint(checkpoint, arguments.model_dir)}")
    return 0


def _scores(checkpoint: Path) -> list[str]:
    """What `mediswift evaluate` has found about this checkpoint, a line each."""
    from modelzoo_mediswift.report.evaluations import read_evaluations

    found, _ = read_evaluations(checkpoint.parent)
    return [_line(score) for score in found if score.checkpoint == checkpoint.name]


def _line(score: Score) -> str:
    what = f"{score.task}, {score.split}, by {score.how}: "
    if score.micro_f1 is not None:
        other = score.example_based_f1
        blue = "" if other is None else f", BLUE's example-based F1 {other:.1%}"
        return f"{what}micro-F1 {score.micro_f1:.1%}{blue} on {score.num_examples} examples"
    if score.accuracy is None:
        return f"{what}no accuracy recorded"
    low_high = score.interval
    interval = f" (95 % interval {low_high[0]:.1%} to {low_high[1]:.1%})" if low_high else ""
    return f"{what}accuracy {score.accuracy:.1%} on {score.num_examples} examples{interval}"


def _record(checkpoint: Path) -> dict[str, Any]:
    """The run's record, if it is there and whole."""
    from modelzoo_mediswift.report.json_values import parse_object
    from modelzoo_mediswift.report.run import RECORD_FILE

    try:
        return parse_object((checkpoint.parent / RECORD_FILE).read_bytes())
    except (OSError, ValueError):
        return {}


def _earlier(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of the runs that led to a run, the last first, as far as they are there."""
    from modelzoo_mediswift.report.json_values import text

    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    while (start := text(record.get("started_from"))) and start not in seen:
        seen.add(start)
        record = _record(Path(start))
        if record:
            found.append(record)
    return found
