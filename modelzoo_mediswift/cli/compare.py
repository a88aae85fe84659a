"""`mediswift compare A.json B.json`: do two evaluations differ by more than chance?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.significance import Comparison, compare
from modelzoo_mediswift.whole_files import read_json

HOW = ("likelihood", "constrained", "generation")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="McNemar's test between two evaluations",
        description="McNemar's exact test between two result files of `evaluate` on the same "
        "examples. Where an example can have several labels, an answer is right if all are.",
        epilog="example: mediswift compare build/demo/pretrain/evaluations/"
        "pubmedqa-test-checkpoint_300.json build/demo/finetune/evaluations/"
        "pubmedqa-test-checkpoint_400.json",
    )
    parser.add_argument("first", type=Path, metavar="A.json", help="what `evaluate` wrote")
    parser.add_argument("second", type=Path, metavar="B.json", help="the same for the other")
    parser.add_argument("--how", choices=HOW, help="compare only these answers (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    files = [arguments.first, arguments.second]
    results = [_read(path) for path in files]
    for key in ("task", "split"):
        one, other = (result.get(key) for result in results)
        if one != other:
            raise UserError(f"{files[1]}: {key} is {other!r}, in {files[0]} it is {one!r}")
    gold, other_gold = ({i: p["gold"] for i, p in r["predictions"].items()} for r in results)
    if gold != other_gold:
        raise UserError(f"{files[1]}: not the same examples and gold labels as in {files[0]}")
    found: dict[str, Comparison] = {}
    for how in [arguments.how] if arguments.how else HOW:
        first, second = ({i: p.get(how) for i, p in r["predictions"].items()} for r in results)
        given = all(how in p for r in results for p in r["predictions"].values())
        if given:
            found[how] = compare(first, second, gold)
        elif arguments.how:
            raise UserError(f"no answers by {how} in both files")
    if arguments.json:
        print(json.dumps({how: vars(one) for how, one in found.items()}, indent=1))
    else:
        names = "\n".join(f"  {letter} {path}" for letter, path in zip("AB", files, strict=True))
        print(f"{results[0]['task']}, {results[0]['split']}: {len(gold)} examples\n{names}")
        for how, one in found.items():
            print(render(how, one, len(gold)))
    return 0


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    predictions = content.get("predictions")
    if not isinstance(predictions, dict) or not predictions:
        raise UserError(f"{path}: no predictions in it; expected a result file of `evaluate`")
    if not all(isinstance(p, dict) and "gold" in p for p in predictions.values()):
        raise UserError(f"{path}: predictions without gold labels; expected `evaluate`'s own file")
    return content


def render(how: str, found: Comparison, total: int) -> str:
    first, second = found.both + found.only_first, found.both + found.only_second
    return (
        f"by {how}: A right {first / total:.1%}, B right {second / total:.1%}; "
        f"both {found.both}, only A {found.only_first}, only B {found.only_second}, "
        f"neither {found.neither}\n"
        f"  McNemar's exact test, two-sided: p = {found.p_value:.3g}"
    )
