"""PubMed XML: NLM's own files against readings without a parser."""

import gzip
import json
import re
from pathlib import Path

import pytest

from data_preprocessing.pubmed_xml import read_pubmed
from data_preprocessing.xml_reading import ReadLog


def _raw_records(path: Path) -> list[str]:
    """An independent reading: regular expressions on the text, no XML parser."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        return re.findall(r"<PubmedArticle>.*?</PubmedArticle>", handle.read(), re.DOTALL)


@pytest.mark.real_data
def test_real_files_against_an_independent_count(real_data: Path) -> None:
    folder = real_data / "pubmed_xml"
    paths = sorted(folder.glob("*.xml*")) + sorted(folder.glob("efetch/*.xml"))
    assert len(paths) > 50
    for path in paths:
        log = ReadLog()
        records = list(read_pubmed(path, log))
        raw = _raw_records(path)
        assert not log.problems
        pmids = [re.search(r"<PMID[^>]*>(\d+)<", text) for text in raw]
        assert [r.pmid for r in records] == [int(m[1]) for m in pmids if m]
        assert [bool(r.text) for r in records] == [
            bool(re.search(r"<Abstract>.*?<AbstractText[^>/]*>\s*\S", text, re.DOTALL))
            for text in raw
        ]
        for record, text in zip(records, raw, strict=True):
            main = re.search(r"<Abstract>(.*?)</Abstract>", text, re.DOTALL)
            labels = re.findall(r'AbstractText Label="([^"]+)"', main[1]) if main else []
            for label in labels:
                assert label == "UNLABELLED" or f"{label.rstrip(':')}:" in record.text


@pytest.mark.real_data
def test_real_text_is_at_least_the_piles(real_data: Path) -> None:
    """Every word the Pile's script keeps is kept (it drops records that are in PMC)."""
    folder = real_data / "pubmed_xml"
    for pile in sorted((folder / "pile_text").glob("*.jsonl")):
        records = {r.pmid: r for r in read_pubmed(folder / f"{pile.stem}.xml.gz")}
        for line in pile.read_text().splitlines():
            row = json.loads(line)
            record = records[int(row["meta"]["pmid"])]
            ours = (record.title + " " + record.text).replace("10^", "10")
            words = re.findall(r"\w+", row["text"])
            have = re.findall(r"\w+", ours)
            missing = set(words) - set(have)
            assert not missing, (record.pmid, missing)
