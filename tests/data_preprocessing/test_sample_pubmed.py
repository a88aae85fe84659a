"""The sample's PubMed files, read back with lxml alone and compared with the manifest."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from data_preprocessing.sample import write_sample

OLD, *BASELINE, UPDATE = (
    "medline10n0001.xml",
    "pubmed25n0001.xml.gz",
    "pubmed25n0002.xml.gz",
    "pubmed25n0003.xml.gz",
    "pubmed25n0004.xml.gz",
)


class Files:
    def __init__(self, folder: Path) -> None:
        self.raw = {}
        for name in (OLD, *BASELINE, UPDATE):
            data = (folder / "pubmed" / name).read_bytes()
            self.raw[name] = gzip.decompress(data) if name.endswith(".gz") else data
        self.roots = {name: etree.fromstring(data) for name, data in self.raw.items()}
        self.manifest = json.loads((folder / "MANIFEST.json").read_text("utf-8"))
        self.expected = self.manifest["expected"]["pubmed"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    out = tmp_path_factory.mktemp("sample")
    write_sample(out, scale=0.05)
    return Files(out)


def pmid(citation: Any) -> int:
    return int(citation.findtext("PMID"))


def words(element: Any) -> str:
    return "" if element is None else "".join(element.itertext())


def tally(citations: list[Any]) -> dict[str, int]:
    """Counts from the XML alone, under the manifest's names."""
    found: Counter[str] = Counter()
    for citation in citations:
        article = citation.find("Article")
        title = words(article.find("ArticleTitle"))
        parts = article.findall("Abstract/AbstractText")
        types = {words(t) for t in article.findall("PublicationTypeList/PublicationType")}
        markup = {t.tag for t in article.iter("i", "b", "sub", "sup", "{*}math")}
        record = citation.getparent()
        found.update(
            {
                "citations": 1,
                "with_abstract": bool(parts),
                "title_only": bool(title) and not parts,
                "empty_title": not title and bool(parts),
                "empty": not title and not parts,
                "structured": any(p.get("Label") for p in parts),
                "plain": bool(parts) and not any(p.get("Label") for p in parts),
                "not_english": article.findtext("Language") != "eng",
                "translated_title": title.startswith("["),
                "vernacular_title": article.find("VernacularTitle") is not None,
                "other_abstract": citation.find("OtherAbstract") is not None,
                "copyright": article.find("Abstract/CopyrightInformation") is not None,
                "truncated": any("(ABSTRACT TRUNCATED AT 250 WORDS)" in words(p) for p in parts),
                "inline_markup": bool(markup & {"i", "b", "sub", "sup"}),
                "mathml": any(tag.endswith("math") for tag in markup),
                "retracted": "Retracted Publication" in types,
                "retraction_notices": "Retraction of Publication" in types,
                "with_pmcid": record.find(".//ArticleId[@IdType='pmc']") is not None,
            }
        )
    return {name: int(count) for name, count in found.items()}


def test_counts_by_file_and_after_reading_in_order(files: Files) -> None:
    live: dict[int, Any] = {}
    for name, root in files.roots.items():
        citations = list(root.iter("MedlineCitation"))
        repeats = Counter(pmid(c) for c in citations)
        deleted = [int(e.text) for e in root.findall("DeleteCitation/PMID")]
        counted = tally(citations) | {
            "book_articles": len(root.findall("PubmedBookArticle")),
            "duplicates": len(citations) - len(repeats),
            "revised": len(repeats.keys() & live.keys()),
            "deleted": len(deleted),
            "deleted_unknown": sum(p not in live for p in deleted),
        }
        assert counted == files.expected["files"][name]
        live |= {pmid(c): c for c in citations}
        for gone in deleted:
            live.pop(gone, None)
    assert tally(list(live.values())) == files.expected["final"]


def test_every_edge_case_is_there_even_in_a_small_sample(files: Files) -> None:
    total: Counter[str] = Counter()
    for counts in files.expected["files"].values():
        total.update(counts)
    assert not [name for name, count in total.items() if count == 0]
    assert 0.1 <= total["title_only"] / total["citations"] <= 0.2
    assert total["structured"] > total["plain"]
    assert {e["case"] for e in files.manifest["examples"]} >= {
        *("translated", "other_abstract", "other_abstract_only", "plain_language_summary"),
        *("truncated", "inline_markup", "mathml", "unlabelled", "retracted", "retraction_notice"),
        *("empty_title", "empty", "not_available", "repeated", "second_version"),
        *("revised_abstract", "revised_added", "revised_removed", "revised_retraction"),
        "revised_version",
    }


def test_the_texts_of_the_examples_are_in_the_files(files: Files) -> None:
    for example in files.manifest["examples"]:
        root = files.roots[Path(example["file"]).name]
        last = [c for c in root.iter("MedlineCitation") if pmid(c) == example["pmid"]][-1]
        assert words(last.find("Article/ArticleTitle")) == example["title"]
        assert last.findtext("Article/Language") == example["language"]
        parts = last.findall("Article/Abstract/AbstractText")
        assert [[p.get("Label", ""), words(p)] for p in parts] == example["abstract"]


def test_old_file_has_the_old_root_and_no_line_breaks(files: Files) -> None:
    assert files.roots[OLD].tag == "MedlineCitationSet"
    assert b"\n" not in files.raw[OLD]
    assert files.roots[OLD].find("MedlineCitation/PMID").get("Version") is None


def test_new_files_are_laid_out_as_nlm_does(files: Files) -> None:
    for name in (*BASELINE, UPDATE):
        lines = files.raw[name].splitlines()
        assert lines[0] == b'<?xml version="1.0" encoding="utf-8"?>'
        assert lines[1].startswith(b"<!DOCTYPE PubmedArticleSet SYSTEM")
        assert lines[3] == b"<PubmedArticleSet>"
    assert any(byte > 127 for byte in files.raw[BASELINE[0]])
    assert all(byte < 128 for byte in files.raw[BASELINE[2]])


def test_revisions_change_the_text_and_are_newer(files: Files) -> None:
    def dated(citation: Any) -> str:
        parts = ("Year", "Month", "Day")
        return "-".join(citation.findtext(f"DateRevised/{part}") for part in parts)

    earlier = {
        pmid(c): c for name in (OLD, *BASELINE) for c in files.roots[name].iter("MedlineCitation")
    }
    revised = [c for c in files.roots[UPDATE].iter("MedlineCitation") if pmid(c) in earlier]
    assert len(revised) >= 6
    for citation in revised:
        before = earlier[pmid(citation)]
        assert dated(citation) > dated(before)
        assert etree.tostring(citation.find("Article")) != etree.tostring(before.find("Article"))
    assert {c.find("PMID").get("Version") for c in revised} == {"1", "2"}


def test_retractions_point_at_each_other(files: Files) -> None:
    found: dict[str, set[tuple[int, int]]] = {"RetractionIn": set(), "RetractionOf": set()}
    for root in files.roots.values():
        for link in root.iter("CommentsCorrections"):
            pair = (pmid(link.getparent().getparent()), int(link.findtext("PMID")))
            found[link.get("RefType")].add(pair)
    assert {(b, a) for a, b in found["RetractionIn"]} & found["RetractionOf"]
