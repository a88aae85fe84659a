"""PubMed XML and JATS to records, against pubmed_parser, on one core.

    python benchmarks/parse_speed.py REAL_DATA [--megabytes 53]

REAL_DATA holds pubmed_xml/*.xml.gz (PubMed's files) and pmc_jats/*.tar.gz (PMC's packages). The
citations are repeated until there are so many MB of XML. pubmed_parser is compared with if it can
be imported (pip install pubmed_parser, into an environment of its own). Time is the processor's;
MB are of decompressed XML. Content is characters of titles, abstracts and paragraphs.
"""

import argparse
import gzip
import re
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from data_preprocessing.pmc_jats import read_jats, read_jats_tar
from data_preprocessing.pubmed_xml import read_pubmed
from data_preprocessing.records import Record

try:
    import pubmed_parser
except ImportError:
    pubmed_parser = None


def seconds(*works: Callable[[], int]) -> list[tuple[float, int]]:
    """The best time of three runs of each, and what it returned.

    They run in turns, since a machine's speed may change from one minute to the next.
    """
    times: list[list[float]] = [[] for _ in works]
    for _ in range(3):
        results = []
        for work, taken in zip(works, times, strict=True):
            start = time.process_time()
            results.append(work())
            taken.append(time.process_time() - start)
    return [(min(taken), result) for taken, result in zip(times, results, strict=True)]


def characters(record: Record) -> int:
    return len(record.title) + len(record.text)


def repeated_citations(folder: Path, out: Path, megabytes: float) -> int:
    """One PubMed file of all citations in `folder`, again and again; its size in bytes."""
    citations = []
    for path in sorted((folder / "pubmed_xml").glob("*.xml.gz")):
        xml = gzip.decompress(path.read_bytes())
        citations += re.findall(rb"<PubmedArticle>.*?</PubmedArticle>", xml, re.DOTALL)
    once = b"\n".join(citations)
    times = max(1, round(megabytes * 1e6 / len(once)))
    xml = b"<PubmedArticleSet>" + (once + b"\n") * times + b"</PubmedArticleSet>"
    out.write_bytes(gzip.compress(xml, 6))
    return len(xml)


def report(name: str, size: int, found: tuple[float, int]) -> float:
    speed = size / found[0] / 1e6
    print(f"{name}: {speed:.1f} MB/s, {found[1]:,} characters")
    return speed


def pubmed(folder: Path, work: Path, megabytes: float) -> None:
    path = work / "pubmed.xml.gz"
    size = repeated_citations(folder, path, megabytes)
    print(f"PubMed: {size / 1e6:.0f} MB of XML, {path.stat().st_size / 1e6:.0f} MB compressed")

    def ours() -> int:
        return sum(characters(item) for item in read_pubmed(path) if isinstance(item, Record))

    def theirs() -> int:
        articles = pubmed_parser.parse_medline_xml(str(path))
        return sum(len(a["title"] or "") + len(a["abstract"] or "") for a in articles)

    found = seconds(ours, theirs) if pubmed_parser else seconds(ours)
    mine = report("  this project", size, found[0])
    if pubmed_parser:
        print(f"  ratio {mine / report('  pubmed_parser', size, found[1]):.2f}")


def jats(folder: Path, work: Path) -> None:
    package = min((folder / "pmc_jats").glob("*.tar.gz"))
    with tarfile.open(package) as archive:
        archive.extractall(work / "jats", filter="data")
    articles = sorted((work / "jats").rglob("*.xml"))
    size = sum(path.stat().st_size for path in articles)
    print(f"JATS: {len(articles)} articles, {size / 1e6:.0f} MB of XML")

    def ours() -> int:
        return sum(characters(record) for record in read_jats_tar(package))

    failed = set()

    def theirs() -> int:
        total = 0
        for path in articles:
            try:
                about = pubmed_parser.parse_pubmed_xml(str(path))
                total += len(about["full_title"] or "") + len(about["abstract"] or "")
                paragraphs = pubmed_parser.parse_pubmed_paragraph(str(path), all_paragraph=True)
                total += sum(len(paragraph["text"]) for paragraph in paragraphs)
            except (KeyError, ValueError, TypeError, AttributeError, IndexError):
                failed.add(path)
        return total

    def ours_from_files() -> int:
        return sum(characters(record) for path in articles for record in read_jats(path))

    works = [ours, ours_from_files, *([theirs] if pubmed_parser else [])]
    found = seconds(*works)
    packed = report("  this project (from the .tar.gz)", size, found[0])
    plain = report("  this project (from extracted files)", size, found[1])
    if pubmed_parser:
        peer = report("  pubmed_parser (from extracted files)", size, found[2])
        print(
            f"  ratio {plain / peer:.2f} from the same files, {packed / peer:.2f} from the archive"
        )
        print(f"  {len(failed)} articles that it cannot read")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--megabytes", type=float, default=53)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        pubmed(arguments.real_data, Path(work), arguments.megabytes)
        jats(arguments.real_data, Path(work))


if __name__ == "__main__":
    main()
