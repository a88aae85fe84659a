"""Small files are there whole or not at all."""

import os
from pathlib import Path

import pytest

from modelzoo_mediswift import whole_files
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import read_json, write_json, write_whole


def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, "\u00fc"]})
    assert read_json(tmp_path / "a.json") == {"a": [1, "\u00fc"]}
    write_whole(tmp_path / "a.json", "{}")
    assert read_json(tmp_path / "a.json") == {}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    write_json(tmp_path / "a.json", {"a": 1})
    monkeypatch.setattr(whole_files, "flush", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "a.json", {"a": 2})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: expected a file to write"):
        write_json(tmp_path / "pipe", {})
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("content", "message"), [("[1]", "expected a JSON object"), ("{", "not JSON"), (None, "read")]
)
def test_anything_but_an_object_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=rf"a\.json: .*{message}"):
        read_json(tmp_path / "a.json")
