"""What was fetched and verified before, in one JSON file that is whole at any moment."""

import json
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

from data_preprocessing.records import replacing
from modelzoo_mediswift.errors import UserError


class FetchState:
    """What was fetched, by which mark of the listing and with which checksum."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.files: dict[str, dict[str, Any]] = {}
        if path.exists():
            try:
                self.files = dict(json.loads(path.read_text(encoding="utf-8"))["files"])
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"{path}: damaged; remove it, and files are verified anew"
                ) from None

    def gone(self, set_name: str, listing: Collection[str]) -> list[str]:
        """The files of a set that were fetched once and are not in its listing any more."""
        ours = [
            key.removeprefix(f"{set_name}/") for key in self.files if key.startswith(f"{set_name}/")
        ]
        return sorted(set(ours) - set(listing))

    def note(self, key: str, entry: dict[str, Any]) -> None:
        """Write down, on the disk too, that `key` ("SET/FILE") was fetched and verified."""
        with self._lock:
            self.files[key] = entry
            self._save()

    def forget(self, key: str) -> None:
        """Take the note back."""
        with self._lock:
            self.files.pop(key, None)
            self._save()

    def _save(self) -> None:
        with replacing(self._path) as temporary:
            content = {"files": dict(sorted(self.files.items()))}
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
