"""The report's files."""

from __future__ import annotations

from pathlib import Path

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.document import Document
from modelzoo_mediswift.report.html_page import to_html
from modelzoo_mediswift.report.markdown import to_markdown
from modelzoo_mediswift.whole_files import write_whole

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"


def write_report(document: Document, folder: Path) -> Path:
    """Write both files; returns the page's path. A reader never sees half a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / MARKDOWN_FILE, to_markdown(document))
        write_whole(folder / HTML_FILE, to_html(document))
    except OSError as error:
        raise UserError(f"{folder}: cannot write the report there: {error.strerror}") from error
    return folder / HTML_FILE
