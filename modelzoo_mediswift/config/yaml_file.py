"""Strict YAML: a mapping of plain values, and the line on which each of them was written."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from modelzoo_mediswift.errors import UserError

YamlPath = tuple[str | int, ...]

MAX_BYTES = 1 << 18  # a configuration is a few kilobytes; this bounds the time of a hostile one
MAX_VALUES = 20_000  # counted after aliases are expanded, which stops a "billion laughs" file
MAX_DEPTH = 50

_FLOAT_WITH_EXPONENT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class YamlDocument:
    """One YAML document: its top-level mapping and where each value stands."""

    source: str
    """Name for messages: the path as the user gave it."""
    data: dict[str, object]
    lines: Mapping[YamlPath, int]
    """Path of a key or list item -> line, counted from 1. The document itself is the path ()."""

    def line_of(self, path: YamlPath) -> int:
        """Line of ``path``, or of the innermost mapping around it that the file has."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def load_yaml(path: Path, key: str = "trainer") -> YamlDocument:
    """Read a YAML file; `key` is the one that messages say it must have.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or is not a plain YAML mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a YAML configuration") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory; expected a YAML file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES} bytes; is it a YAML configuration?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 (byte 0x{content[error.start]:02x})") from None
    return parse_yaml(text, str(path), key)


def parse_yaml(text: str, source: str, key: str = "trainer") -> YamlDocument:
    """Parse YAML text; ``source`` is the name that messages give it.

    Raises:
        UserError: ``text`` is not a plain YAML mapping.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UserError(f"{source}:{line}: {_syntax_problem(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{source}:{line}: control character in the text: not YAML") from None
    except RecursionError:
        raise UserError(f"{source}: nested deeper than {MAX_DEPTH} levels") from None
    if root is None:
        raise UserError(f"{source}: empty; expected a mapping with the key `{key}`")
    builder = _Builder(source, loader)
    data = builder.value(root, ())
    if not isinstance(data, dict):
        line = root.start_mark.line + 1
        raise UserError(f"{source}:{line}: expected a mapping with the key `{key}`")
    return YamlDocument(source=source, data=data, lines=builder.lines)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that `2e-4` is a number.

    YAML 1.1, which PyYAML follows, wants `2.0e-4`, and would hand over a string.
    """


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", _FLOAT_WITH_EXPONENT, list("-+.0123456789")
)


class _Builder:
    """Turns YAML nodes into dict, list, str, int, float, bool and None, and notes their lines."""

    def __init__(self, source: str, loader: yaml.SafeLoader):
        self.source = source
        self.loader = loader
        self.lines: dict[YamlPath, int] = {}
        self._open: set[int] = set()  # ids of the nodes around the current one
        self._count = 0

    def value(self, node: yaml.Node, path: YamlPath) -> object:
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._error(node, f"more than {MAX_VALUES} values once aliases are expanded")
        if len(path) > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels")
        if id(node) in self._open:
            raise self._error(node, "an alias refers to the value that contains it")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
                return self._mapping(node, path)
        finally:
            self._open.remove(id(node))
        raise self._error(node, f"the tag {node.tag} is not allowed")

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, object]:
        own: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        key_nodes: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for key, (merged_key, merged_value) in self._merge(value_node, 0).items():
                    if key not in merged:  # of several merged mappings the first has precedence
                        merged[key] = merged_value
                        key_nodes.setdefault(key, merged_key)
                continue
            key = self._key(key_node)
            if key in own:
                first = key_nodes[key].start_mark.line + 1
                raise self._error(key_node, f'the key "{key}" is already in line {first}')
            own[key] = value_node
            key_nodes[key] = key_node
        result = {}
        for key, value_node in {**merged, **own}.items():
            self.lines[(*path, key)] = key_nodes[key].start_mark.line + 1
            result[key] = self.value(value_node, (*path, key))
        return result

    def _merge(self, node: yaml.Node, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Keys and values that a merge key (`<<`) brings in."""
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_VALUES:
            raise self._error(node, "too many merged mappings, or one that merges itself")
        if isinstance(node, yaml.SequenceNode):
            result: dict[str, tuple[yaml.Node, yaml.Node]] = {}
            for item in node.value:
                for key, pair in self._merge(item, depth + 1).items():
                    result.setdefault(key, pair)
            return result
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, "`<<` expects a mapping or a list of mappings")
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        inherited: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            self._count += 1
            if key_node.tag == _MERGE:
                for key, pair in self._merge(value_node, depth + 1).items():
                    inherited.setdefault(key, pair)
            else:
                own[self._key(key_node)] = (key_node, value_node)
        return {**inherited, **own}

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            raise self._error(node, f"a key must be text, got {_describe(node)}")
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode) -> object:
        if node.tag == "tag:yaml.org,2002:timestamp":
            raise self._error(node, f"{_describe(node)}; quote it if it is text")
        if node.tag not in _PLAIN_TAGS:
            raise self._error(node, f"the tag {node.tag} is not allowed")
        try:
            value: Hashable = self.loader.construct_object(node)
        except (ValueError, KeyError, OverflowError, yaml.YAMLError):
            raise self._error(node, f"{_describe(node)}, but not a valid one") from None
        return value

    def _error(self, node: yaml.Node, message: str) -> UserError:
        return UserError(f"{self.source}:{node.start_mark.line + 1}: {message}")


def _syntax_problem(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "syntax error")
    if r"'\t'" in problem:
        return "a tab where YAML expects spaces"
    if "single document" in str(error.context):
        return "a second YAML document starts here; expected one"
    return f"not valid YAML: {problem}"


def _describe(node: yaml.Node) -> str:
    """A node and the kind of value that YAML takes it for."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list or a mapping"
    text = node.value if len(node.value) <= 40 else node.value[:37] + "..."
    return f"`{text}`, which YAML reads as {node.tag.rpartition(':')[2]}"
