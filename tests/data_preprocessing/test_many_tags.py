"""Records made of tags: bounded in memory, and the ones around them stay."""

from pathlib import Path

import pytest

from data_preprocessing import xml_reading
from data_preprocessing.pmc_jats import read_jats
from data_preprocessing.xml_reading import ReadLog


def test_an_article_of_too_many_tags_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xml_reading, "MAX_TAGS", 1000)
    monkeypatch.setattr(xml_reading, "_FEW", 100)
    articles = [f"<article><body>{'<p>x</p>' * count}</body></article>" for count in (2, 600, 3)]
    path = tmp_path / "a.xml"
    path.write_text(f"<pmc-articleset>{''.join(articles)}</pmc-articleset>")
    log = ReadLog()
    records = list(read_jats(path, log))
    assert [len(record.text.split("\n")) for record in records] == [2, 3]
    assert log.counts["damaged_record"] == 1
    assert "more than 1,000 tags" in log.problems[0]
