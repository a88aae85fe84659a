"""Coverage-guided fuzzing of the two parsers (pip install atheris).

    python tests/fuzz/fuzz_parsers.py {pubmed,jats} CORPUS [libFuzzer's options]

CORPUS is a folder; where it is empty, files of the sample corpus are put in, and what reaches new
code is added. Whatever the bytes, a parser may only give records, count damage, or raise UserError:
anything else, more than ten seconds for one input, or more than 1 GB of memory, ends the run and
leaves the input in ./crash-*. For hours on end: -max_total_time=36000 -fork=8.
"""

import contextlib
import gzip
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["data_preprocessing"]):
    from data_preprocessing.jats_rules import JatsOptions
    from data_preprocessing.pmc_jats import read_jats
    from data_preprocessing.pubmed_xml import read_pubmed
    from data_preprocessing.records import Deletion, Record
    from data_preprocessing.sample import write_sample
    from data_preprocessing.xml_reading import ReadLog
    from modelzoo_mediswift.errors import UserError

LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=20000"]
LONGEST_SEED = 20_000  # bytes
TAGS = {
    "pubmed": "PubmedArticleSet PubmedArticle MedlineCitation PMID Article ArticleTitle Abstract "
    "AbstractText OtherAbstract DeleteCitation ReferenceList AuthorList PubmedBookArticle "
    "BookDocument Year MedlineDate sup math DateRevised OtherID",
    "jats": "article front article-meta body back p sec title label list list-item def-list "
    "def-item term def xref ref-list ref table table-wrap tr td caption fig sub-article sup bold "
    "inline-formula tex-math abstract response floats-group pmc-articleset",
}
PIECES = ["<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "&lsqb;", "&x;", " id=", "<!DOCTYPE"]


def check(record: Record) -> None:
    """What holds for every record."""
    for text in (record.title, record.text):
        text.encode()
        assert "\x01" not in text
        assert all(line and line == " ".join(line.split()) for line in text.splitlines() if text)
    assert record.pmid is None or 0 <= record.pmid < 10**18
    assert record.year is None or 1600 <= record.year < 2100


def fuzz_pubmed(path: Path) -> None:
    for item in read_pubmed(path):
        if not isinstance(item, Deletion):
            check(item)


def fuzz_jats(path: Path) -> None:
    inputs = set()
    for options in (JatsOptions(), JatsOptions(True, True, True)):
        log = ReadLog()
        try:
            for record in read_jats(path, log, options):
                check(record)
        except UserError:
            pass
        dropped = sum(log.counts[name] for name in log.counts if ".dropped." in name)
        assert log.counts["paragraphs.in"] == log.counts["paragraphs.out"] + dropped
        if not log.counts["damaged_record"]:  # damage in a table counts where tables are read
            inputs.add(log.counts["paragraphs.in"])
    assert len(inputs) <= 1  # whatever is kept, as many come in


TARGETS: dict[str, Callable[[Path], None]] = {"pubmed": fuzz_pubmed, "jats": fuzz_jats}


def write_seeds(target: str, folder: Path) -> None:
    """Put the sample's smaller files in `folder`, citations one by one."""
    with tempfile.TemporaryDirectory() as work:
        write_sample(Path(work), seed=0, scale=0.1)
        documents = []
        if target == "pubmed":
            for path in sorted(Path(work).rglob("*.xml.gz")):
                head, *citations = gzip.decompress(path.read_bytes()).split(b"<PubmedArticle>")
                end = b"</PubmedArticleSet>"
                documents += [
                    head + b"<PubmedArticle>" + citation.removesuffix(end) + end
                    for citation in citations[:20]
                ]
        else:
            for path in sorted(Path(work).rglob("*.tar.gz")):
                with tarfile.open(path) as archive:
                    members = [archive.extractfile(m) for m in archive if m.isfile()]
                    documents += [member.read() for member in members if member]
        small = [document for document in documents if len(document) <= LONGEST_SEED]
        for number, document in enumerate(small[:60]):
            (folder / f"seed{number:03d}").write_bytes(document)


def write_dictionary(target: str, path: Path) -> None:
    tags = [piece for tag in TAGS[target].split() for piece in (f"<{tag}>", f"</{tag}>", f"<{tag}")]
    path.write_text("".join(f'"{piece}"\n' for piece in tags + PIECES))


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    target, corpus = sys.argv[1], Path(sys.argv[2])
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        write_seeds(target, corpus)
    with tempfile.TemporaryDirectory() as work:
        dictionary = Path(work) / "dictionary"
        write_dictionary(target, dictionary)
        document = Path(work) / "PMC1.xml"
        run = TARGETS[target]

        def one_input(data: bytes) -> None:
            document.write_bytes(data)
            with contextlib.suppress(UserError):
                run(document)

        options = [*LIMITS, f"-dict={dictionary}", *sys.argv[3:]]
        atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
