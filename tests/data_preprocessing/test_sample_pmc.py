"""The sample's PMC files: every paragraph accounted for by a reader that only knows lxml."""

import csv
import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from data_preprocessing.sample import write_sample

PACKAGE = "oa_comm_xml.PMC090xxxxxx.baseline.2024-12-18"
ENTITIES = {"lsqb": "[", "rsqb": "]", "plus": "+", "percnt": "%", "plusmn": "±"}


class Files:
    def __init__(self, folder: Path) -> None:
        self.raw = {path.name: path.read_bytes() for path in (folder / "pmc").glob("*.nxml")}
        with tarfile.open(folder / "pmc" / f"{PACKAGE}.tar.gz") as archive:
            self.members = archive.getmembers()
            for member in self.members:
                stream = archive.extractfile(member)
                assert stream is not None
                self.raw[f"{PACKAGE}.tar.gz/{member.name}"] = stream.read()
        table = (folder / "pmc" / f"{PACKAGE}.filelist.csv").read_text("utf-8")
        self.rows = list(csv.DictReader(io.StringIO(table)))
        manifest = json.loads((folder / "MANIFEST.json").read_text("utf-8"))
        self.expected = manifest["expected"]["pmc"]
        self.pubmed = manifest["expected"]["pubmed"]

    def root(self, name: str) -> Any:
        text = self.raw[name].decode("utf-8")
        for entity, character in ENTITIES.items():
            text = text.replace(f"&{entity};", character)
        return etree.fromstring(text.encode("utf-8"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    out = tmp_path_factory.mktemp("sample")
    write_sample(out, scale=0.05)
    return Files(out)


def place(paragraph: Any) -> str | None:
    """Where a p element stands, under the manifest's names; None for the licence."""
    above = [element.tag for element in paragraph.iterancestors()]
    if "license" in above:
        return None
    abstract = next(paragraph.iterancestors("abstract"), None)
    if abstract is not None:
        kind = abstract.get("abstract-type")
        return f"{kind}_abstract" if kind else "abstract"
    names = {
        "trans-abstract": "translated_abstract",
        "sub-article": "sub_article",
        "ack": "acknowledgement",
        "app": "appendix",
        "supplementary-material": "supplement",
        "table-wrap-foot": "table_foot",
        "caption": "caption",
        "list-item": "list",
        "def": "definition",
        "disp-quote": "quote",
        "boxed-text": "boxed",
    }
    inside = [name for tag, name in names.items() if tag in above]
    if inside:
        return inside[0]
    return "section" if above[0] == "sec" else "body"


def test_every_paragraph_is_in_the_manifest(files: Files) -> None:
    assert files.expected.keys() == files.raw.keys()
    for name, about in files.expected.items():
        places = Counter(place(p) for p in files.root(name).iter("p"))
        places.pop(None, None)
        assert dict(places) == about["paragraphs"], name


def test_identifiers_titles_and_languages(files: Files) -> None:
    for name, about in files.expected.items():
        root = files.root(name)
        meta = root.find("front/article-meta")
        ids = {e.get("pub-id-type"): e.text for e in meta.findall("article-id")}
        assert ids.get("pmc", ids.get("pmcid", "").removeprefix("PMC")) == str(about["pmcid"])
        assert ids.get("pmid") == (str(about["pmid"]) if about["pmid"] else None)
        assert "".join(meta.find("title-group/article-title").itertext()) == about["title"]
        assert root.get("article-type") == about["article_type"]
        assert root.get("{http://www.w3.org/XML/1998/namespace}lang") == about["language"]


def test_every_edge_case_is_there(files: Files) -> None:
    about = files.expected.values()
    assert any(a["pmid"] is None for a in about)
    assert any(a["language"] == "es" for a in about)
    assert any(a["article_type"] == "correction" for a in about)
    assert {a["licence"] for a in about} == {"CC BY", "CC BY-NC", "CC0"}
    assert any(files.root(name).find("body") is None for name in files.raw)
    tags = {e.tag for name in files.raw for e in files.root(name).iter() if isinstance(e.tag, str)}
    assert tags >= {
        *("list", "def-list", "disp-quote", "boxed-text", "table-wrap", "fig", "sub-article"),
        *("inline-formula", "disp-formula", "tex-math", "xref", "supplementary-material"),
        *("ack", "app", "trans-abstract", "{http://www.w3.org/1998/Math/MathML}math"),
    }
    doctypes = {re.search(rb"DTD.*? v(\d\.\d)", data).group(1) for data in files.raw.values()}  # type: ignore[union-attr]
    assert doctypes >= {b"1.0", b"2.3", b"3.0", b"1.2", b"1.3"}


def test_some_entities_are_known_to_the_dtd_only(files: Files) -> None:
    data = files.raw["PMC90000002.nxml"]
    assert b"&percnt;" in data
    with pytest.raises(etree.XMLSyntaxError, match=r"Entity '.*' not defined"):
        etree.fromstring(data)


def test_package_is_laid_out_as_bulk_files(files: Files) -> None:
    assert [row["Article File"] for row in files.rows] == [m.name for m in files.members]
    for row, member in zip(files.rows, files.members, strict=True):
        about = files.expected[f"{PACKAGE}.tar.gz/{member.name}"]
        assert member.name == f"PMC090xxxxxx/{row['AccessionID']}.xml"
        assert row["AccessionID"] == f"PMC{about['pmcid']}"
        assert row["PMID"] == str(about["pmid"])
        assert row["License"] == about["licence"]
        assert (member.mtime, member.uid, member.uname) == (1_734_480_000, 0, "")


def test_some_articles_are_also_in_pubmed(files: Files) -> None:
    shared = [a for a in files.expected.values() if a["pmid"] and a["pmid"] < 95_000_000]
    assert len(shared) == files.pubmed["final"]["with_pmcid"] == 3
