"""From a YAML file to a checked ``TrainerConfig``; every mistake with its file and line."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from modelzoo_mediswift.config.release_2_1 import translate
from modelzoo_mediswift.config.section import describe, printable, show, unknown
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.config.yaml_file import YamlDocument, YamlPath, load_yaml, parse_yaml
from modelzoo_mediswift.errors import UserError

_V1_KEYS = frozenset({"runconfig", "train_input", "eval_input", "model", "optimizer", "sparsity"})


class InFront(list[object]):
    """A list that an override puts before the file's own instead of replacing it."""


@dataclass(frozen=True)
class Displacing:
    """An override that leaves no place for other keys beside its own."""

    value: object
    keys: tuple[str, ...]
    say: Callable[[str], None]
    """Is told of each value of the file that goes."""


def load_config(path: Path, overrides: Mapping[str, object] | None = None) -> TrainerConfig:
    """Read and check a trainer configuration.

    ``overrides`` maps dotted paths (``trainer.init.loop.max_steps``) to values that replace the
    file's, or are added to it, before anything is checked.

    Raises:
        UserError: one line per mistake, ``FILE:LINE: trainer.init...: what was expected``.
    """
    return check(load_yaml(path), overrides)


def parse_config(text: str, source: str = "<text>") -> TrainerConfig:
    """The same for text, such as the configuration inside a checkpoint."""
    return check(parse_yaml(text, source))


def load_stages(
    path: Path, overrides: Mapping[str, object] | None = None
) -> tuple[TrainerConfig, ...]:
    """Read a file that may be a recipe: Model Zoo's list ``trainer: [{trainer: ...}, ...]``.

    A file with a single trainer gives a tuple of one. ``overrides`` go to every stage.
    """
    return check_stages(load_yaml(path), overrides)


def check_stages(
    document: YamlDocument, overrides: Mapping[str, object] | None = None
) -> tuple[TrainerConfig, ...]:
    """Check what a YAML document says that may be a recipe (see ``load_stages``)."""
    stages = _value_of_trainer(document)
    if not isinstance(stages, list):
        return (check(document, overrides),)
    where = f"{document.source}:{document.line_of(('trainer',))}"
    if not stages:
        raise UserError(f"{where}: trainer: expected at least one stage, got an empty list")
    configs = []
    for i, stage in enumerate(stages):
        if not isinstance(stage, dict) or list(stage) != ["trainer"]:
            line = document.line_of(("trainer", i))
            raise UserError(
                f"{document.source}:{line}: trainer.{i}: expected `- trainer: {{init: ..., "
                f"fit: ...}}`, got {show(stage)}"
            )
        configs.append(_check_at(document, stage, ("trainer", i), overrides or {}))
    return tuple(configs)


def check(document: YamlDocument, overrides: Mapping[str, object] | None = None) -> TrainerConfig:
    """Check what a YAML document says, after ``overrides`` (see ``load_config``)."""
    value = _value_of_trainer(document)
    if isinstance(value, list):
        where = f"{document.source}:{document.line_of(('trainer',))}"
        raise UserError(
            f"{where}: trainer: a recipe of {len(value)} stages, where one trainer is expected; "
            "run.py takes it, and a stage of it with --stage"
        )
    return _check_at(document, document.data, (), overrides or {})


def _check_at(
    document: YamlDocument,
    stage: dict[str, object],
    at: YamlPath,
    overrides: Mapping[str, object],
) -> TrainerConfig:
    """Check the mapping ``stage`` with the key ``trainer``, which stands at ``at``."""
    trainer = stage["trainer"]
    if not isinstance(trainer, Mapping):
        name = ".".join(map(str, (*at, "trainer")))
        where = f"{document.source}:{document.line_of((*at, 'trainer'))}"
        raise UserError(
            f"{where}: {name}: expected a mapping with the key `init`, got {show(trainer)}"
        )
    for dotted, value in overrides.items():
        _override(stage, dotted, value)
    _translate_sparsity(document, at)
    try:
        return TrainerConfig.model_validate(trainer)
    except ValidationError as error:
        overridden = {(*at, *dotted.split(".")) for dotted in overrides}
        raise mistakes(document, (*at, "trainer"), error, overridden) from None


def mistakes(
    document: YamlDocument,
    at: YamlPath,
    error: ValidationError,
    overridden: Collection[YamlPath] = (),
) -> UserError:
    """What pydantic found in the mapping at ``at``: a line each, with file and line."""
    lines: dict[str, int] = {}  # a dict, since one mistake can be found twice
    for item in error.errors(include_url=False):
        path = _path_in_file(document.data, (*at, *item["loc"]))
        line = document.line_of(path)
        where = f"{document.source}:{line}"
        if any(path[: len(changed)] == changed for changed in overridden):
            where = f"{document.source} (changed on the command line)"
        name = printable(".".join(map(str, path)))
        lines[f"{where}: {name}: {describe(item)}"] = line
    return UserError("\n".join(sorted(lines, key=lines.__getitem__)))


def _value_of_trainer(document: YamlDocument) -> object:
    """The value of ``trainer``, a mapping or a list; the file's other keys are mistakes."""
    for key in document.data:
        where = f"{document.source}:{document.line_of((key,))}"
        if key in _V1_KEYS and "trainer" not in document.data:
            raise UserError(
                f"{where}: `{key}` at the top is the form of Model Zoo before release 2.4; "
                "expected `trainer: {init: ..., fit: ...}`, as in the files in params/"
            )
        if key == "sweep" and "trainer" not in document.data:
            raise UserError(
                f"{where}: a sweep, where a trainer is expected; `mediswift sweep "
                f"{document.source}` runs it, and `mediswift plan` tells what it costs"
            )
        if key != "trainer":
            raise UserError(f"{where}: {unknown('key', key, ['trainer'])}")
    trainer = document.data.get("trainer")
    where = f"{document.source}:{document.line_of(('trainer',))}"
    if not isinstance(trainer, Mapping | list):
        raise UserError(
            f"{where}: trainer: expected a mapping with the key `init`, got {show(trainer)}"
        )
    return trainer


def _translate_sparsity(document: YamlDocument, at: YamlPath) -> None:
    """Read the keys of Release 2.1.1 in the sparsity blocks as today's, and say so."""
    node: object = document.data
    for key in (*at, "trainer", "init", "sparsity"):
        if isinstance(node, list) and isinstance(key, int):
            node = node[key]
        else:
            node = node.get(key) if isinstance(node, Mapping) else None
    blocks = node if isinstance(node, list) else [node]
    for i, block in enumerate(blocks):
        done = translate(block) if isinstance(block, dict) else []
        if done:
            path: YamlPath = (*at, "trainer", "init", "sparsity")
            path += (i,) if isinstance(node, list) else ()
            where = f"{document.source}:{document.line_of(path)}"
            name = ".".join(map(str, path))
            print(f"{where}: {name}: old keys: {', '.join(done)}", file=sys.stderr)


def _override(data: dict[str, object], dotted: str, value: object) -> None:
    """Set one value, making the mappings above it where the file has none."""
    *parents, last = dotted.split(".")
    node = data
    for depth, key in enumerate(parents, start=1):
        if node.get(key) is None:
            node[key] = {}
        child = node[key]
        if not isinstance(child, dict):
            above = ".".join(parents[:depth])
            raise UserError(f"cannot set {dotted}: {above} is {show(child)}, not a mapping")
        node = child
    if isinstance(value, Displacing):
        for key in value.keys:
            if (gone := node.pop(key, None)) is not None:
                value.say(f"--{last} {value.value} replaces {key} {show(gone)} of the file")
        value = value.value
    if isinstance(value, InFront) and node.get(last) is not None:
        own = node[last]
        value = [*value, *(own if isinstance(own, list) else [own])]
    node[last] = value


def _path_in_file(data: object, location: Sequence[str | int]) -> YamlPath:
    """Where the file has what pydantic calls ``location``.

    Steps that the file lacks (an index into a lone value that was read as a list, say) are left
    out; a key that is missing at the end stays, since it names what was expected.
    """
    node = data
    path: list[str | int] = []
    for i, step in enumerate(location):
        if isinstance(node, Mapping):
            if step in node:
                node = node[step]
                path.append(step)
            elif i == len(location) - 1:
                path.append(step)
        elif isinstance(node, list) and isinstance(step, int):
            node = node[step]
            path.append(step)
    return tuple(path)
