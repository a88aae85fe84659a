import math
from pathlib import Path

import pytest
import yaml

from modelzoo_mediswift.config.yaml_file import load_yaml, parse_yaml
from modelzoo_mediswift.errors import UserError


def data(text: str) -> dict[str, object]:
    return parse_yaml(text, "f.yaml").data


def complaint(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e-4", 2e-4), ("1e5", 1e5), ("1.5E+3", 1500.0), ("-.5e-3", -5e-4), ("1.e2", 100.0)],
)
def test_an_exponent_makes_a_number(text: str, value: float) -> None:
    """PyYAML itself reads these as text."""
    got = data(f"a: {text}")["a"]
    assert isinstance(got, float)
    assert got == value


@pytest.mark.parametrize(
    "text",
    ["12", "0x1f", "1_000", "010", "089", "1e", "e5", "'2e-4'", "1.5", "yes", "~", "null", "text",
     "190:20:30", ".inf", "-.INF", "[1, a, {b: 2}]", "!!str 3", "|\n  two\n  lines\n"],
)  # fmt: skip
def test_everything_else_is_read_as_model_zoo_reads_it(text: str) -> None:
    assert data(f"a: {text}") == yaml.safe_load(f"a: {text}")


def test_nan_is_a_number() -> None:
    value = data("a: .nan")["a"]
    assert isinstance(value, float)
    assert math.isnan(value)


def test_lines_of_keys_and_items() -> None:
    document = parse_yaml("# comment\na:\n  b: 1\n\n  c:\n    - x\n    - y: 2\n", "f.yaml")
    assert document.line_of(("a",)) == 2
    assert document.line_of(("a", "b")) == 3
    assert document.line_of(("a", "c", 0)) == 6
    assert document.line_of(("a", "c", 1, "y")) == 7


def test_line_of_a_missing_key_is_that_of_the_mapping_around_it() -> None:
    document = parse_yaml("a:\n  b: 1\n  c: 2\n", "f.yaml")
    assert document.line_of(("a", "z", "deeper")) == 1


def test_aliases_and_merge_keys() -> None:
    text = "a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\nd:\n  <<: [*x, {r: 4, p: 9}]\n"
    document = parse_yaml(text, "f.yaml")
    assert document.data["b"] == {"p": 1, "q": 2}
    assert document.data["c"] == {"p": 1, "q": 3}
    assert document.data["d"] == {"p": 1, "q": 2, "r": 4}
    assert document.line_of(("c", "p")) == 1, "a merged key stands where its anchor is"
    assert document.line_of(("c", "q")) == 3
    assert document.data == yaml.safe_load(text)


def test_aliased_values_do_not_share_memory() -> None:
    """Otherwise a value set from the command line would turn up in two places."""
    read = data("a: &x {p: 1}\nb: *x\n")
    assert read["a"] is not read["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml: empty; expected a mapping with the key `trainer`"),
        ("# only a comment\n", "f.yaml: empty; expected a mapping with the key `trainer`"),
        ("- 1\n", "f.yaml:1: expected a mapping with the key `trainer`"),
        ("a: 1\nb: 2\na: 3\n", 'f.yaml:3: the key "a" is already in line 1'),
        ('"a": 1\na: 2\n', 'f.yaml:2: the key "a" is already in line 1'),
        ("a:\n  b: 1\n\tc: 2\n", "f.yaml:3: a tab where YAML expects spaces"),
        ("a: 1\nb: [1,\n", "f.yaml:3: not valid YAML: "),
        ("a: b: c\n", "f.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("a: *b\n", "f.yaml:1: not valid YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: a second YAML document starts here; expected one"),
        ("a: 1\nb: \x00\n", "f.yaml:2: control character in the text: not YAML"),
        ("1: a\n", "f.yaml:1: a key must be text, got `1`, which YAML reads as int"),
        ("on: a\n", "f.yaml:1: a key must be text, got `on`, which YAML reads as bool"),
        ("? [a]\n: b\n", "f.yaml:1: a key must be text, got a list or a mapping"),
        (
            "a: 2024-01-31\n",
            "f.yaml:1: `2024-01-31`, which YAML reads as timestamp; quote it if it is text",
        ),
        ("a: !!int x\n", "f.yaml:1: `x`, which YAML reads as int, but not a valid one"),
        ("a: {<<: 3}\n", "f.yaml:1: `<<` expects a mapping or a list of mappings"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    assert complaint(text).startswith(message)


@pytest.mark.parametrize(
    "value", ["!!python/object/apply:os.system [id]", "!!python/name:os.system x", "!foo 3",
              "!!binary aGk=", "!!set {a}"],
)  # fmt: skip
def test_tags_that_make_objects_are_refused(value: str) -> None:
    assert "is not allowed" in complaint(f"a: {value}")


def test_a_billion_laughs_are_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, this in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{this}: &{this} [{', '.join([f'*{before}'] * 10)}]")
    assert "more than 20000 values once aliases are expanded" in complaint("\n".join(lines))


def test_a_billion_merged_laughs_are_refused() -> None:
    lines = ["a: &a {k: 1}"]
    for before, this in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{this}: &{this} {{<<: [{', '.join([f'*{before}'] * 10)}]}}")
    assert "too many merged mappings" in complaint("\n".join(lines))


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: &x {b: *x}", "a: &x {<<: *x}"])
def test_a_value_inside_itself_is_refused(text: str) -> None:
    assert complaint(text).startswith("f.yaml:1: ")


@pytest.mark.parametrize("depth", [60, 3000])
def test_deep_nesting_is_refused(depth: int) -> None:
    assert "nested deeper than 50 levels" in complaint("a: " + "[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: caf\xe9\n", ":2: not UTF-8 (byte 0xe9)"),
        ("a: 1\n".encode("utf-16"), ":1: not UTF-8"),
        (b"#" * 300_000, ": larger than 262144 bytes; is it a YAML configuration?"),
    ],
)
def test_unreadable_content(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_yaml(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nope\.yaml: no such file"):
        load_yaml(tmp_path / "nope.yaml")
    with pytest.raises(UserError, match="is a directory; expected a YAML file"):
        load_yaml(tmp_path)
    (tmp_path / "file").write_text("a: 1")
    with pytest.raises(UserError, match="cannot be read: Not a directory"):
        load_yaml(tmp_path / "file" / "below")


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: 2\r\n")
    document = load_yaml(path)
    assert document.data == {"a": 1, "b": {"c": 2}}
    assert document.line_of(("b", "c")) == 3
