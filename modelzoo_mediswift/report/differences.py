"""What the configurations of several runs do not share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from modelzoo_mediswift.report.document import Paragraph, Section, Table
from modelzoo_mediswift.report.json_values import text
from modelzoo_mediswift.report.provenance import scalar
from modelzoo_mediswift.report.quantities import MISSING
from modelzoo_mediswift.report.run import Run


def differences_section(runs: Sequence[Run]) -> Section | None:
    """A row for each key that is not the same everywhere, for runs that have a configuration."""
    configured = {run.name: settings for run in runs if (settings := _settings(run))}
    if len(configured) < 2:
        return None
    keys = dict.fromkeys(key for settings in configured.values() for key in settings)
    rows = []
    for key in keys:
        values = [settings.get(key, MISSING) for settings in configured.values()]
        if len(set(values)) > 1:
            rows.append((key, *values))
    if not rows:
        only = Paragraph("The configurations are the same, key for key.")
        return Section("Differences of configuration", (only,))
    header = ("Key", *configured)
    table = Table("Keys that differ", header, tuple(rows), text_columns=len(header))
    return Section("Differences of configuration", (table,))


def _settings(run: Run) -> dict[str, str]:
    """Key paths to values as text; empty where there is no configuration."""
    try:
        content = yaml.safe_load(text(run.log.facts.get("config")) or "")
    except yaml.YAMLError:
        return {}
    found: dict[str, str] = {}
    _flatten(content, "", found)
    return found


def _flatten(value: Any, path: str, found: dict[str, str]) -> None:
    """Entries of a list of named things, such as callbacks, go by their names."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            _flatten(inner, f"{path}.{key}" if path else str(key), found)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            named = isinstance(item, dict) and len(item) == 1
            _flatten(item, path if named else f"{path}[{number}]", found)
    elif isinstance(value, list):
        found[path] = ", ".join(map(str, value)) or "(none)"
    elif path:
        found[path] = "(set)" if value == {} else scalar(value)
