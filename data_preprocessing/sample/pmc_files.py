"""The PMC folder: a few single files with edge cases and one package laid out as NLM's bulk."""

import csv
import io
import random
import tarfile
from collections.abc import Sequence

from data_preprocessing.sample.citations import Citation
from data_preprocessing.sample.findings import VERDICTS, draw_finding
from data_preprocessing.sample.packing import compress
from data_preprocessing.sample.pmc import FEATURES, ArticlePlan, JatsWriter
from data_preprocessing.sample.studies import tell

FIRST_PMCID = 90_000_001
FIRST_PMID = 95_000_001  # of articles that the PubMed files do not have
PACKAGE = "oa_comm_xml.PMC090xxxxxx.baseline.2024-12-18"
PACKAGE_FOLDER = "PMC090xxxxxx"
_PACKAGE_DATE = 1_734_480_000  # 2024-12-18, the time of every member
_PACKAGED = ("structured abstract", "list", "table", "figure", "formula", "acknowledgement")
_SINGLE: tuple[dict[str, object], ...] = (  # the edge cases, one file each
    {
        "features": frozenset(FEATURES) - {"entities", "no body", "sub-article"},
        "doctype": "jats-1.3",
    },
    {"features": frozenset({"entities", "table", "figure"}), "doctype": "nlm-2.3"},
    {"features": frozenset({"sub-article", "boxed text"}), "doctype": "jats-1.2"},
    {"features": frozenset({"loose body paragraphs", "list"}), "doctype": "nlm-1.0"},
    {"features": frozenset({"structured abstract", "no body"}), "doctype": "jats-1.0"},
    {"language": "es", "doctype": "jats-1.0", "licence": "CC BY-NC"},
    {"article_type": "correction", "doctype": "nlm-3.0", "licence": "CC0"},
    {"features": frozenset({"formula", "definition list"}), "doctype": "nlm-3.0"},
)
_WITHOUT_PMID = (3, 5)  # places in _SINGLE


def _plan(
    rng: random.Random, pmcid: int, pmid: int | None, known: Citation | None, **wanted: object
) -> ArticlePlan:
    if known and known.study:
        study, pmid, year = known.study, known.pmid, known.year
    else:
        study = tell(rng, draw_finding(rng, rng.choice(VERDICTS)), short=False, ask=False)
        year = rng.randint(2003, 2023)
    return ArticlePlan(pmcid, pmid, study, year, **wanted)  # type: ignore[arg-type]


def draw_plans(
    rng: random.Random, known: Sequence[Citation], packaged: int
) -> tuple[list[ArticlePlan], list[ArticlePlan]]:
    """Single files and `packaged` articles; the first of the package are those of `known`."""
    pmid = FIRST_PMID
    singles = []
    for index, wanted in enumerate(_SINGLE):
        own = None if index in _WITHOUT_PMID else pmid + index
        singles.append(_plan(rng, FIRST_PMCID + index, own, None, **wanted))
    package = []
    for index in range(packaged):
        features = frozenset(f for f in _PACKAGED if rng.random() < 0.5)
        package.append(
            _plan(
                rng,
                packaged_pmcid(index),
                pmid + 100 + index,
                known[index] if index < len(known) else None,
                features=features,
                doctype=rng.choice(("nlm-2.3", "nlm-3.0", "jats-1.0", "jats-1.2")),
            )
        )
    return singles, package


def packaged_pmcid(index: int) -> int:
    """The PMCID of an article of the package."""
    return FIRST_PMCID + 1000 + 3 * index


def _expected(plan: ArticlePlan, writer: JatsWriter) -> dict[str, object]:
    return {
        "pmcid": plan.pmcid,
        "pmid": plan.pmid,
        "title": writer.title,
        "article_type": plan.article_type,
        "language": plan.language,
        "licence": plan.licence,
        "features": sorted(plan.features),
        "paragraphs": dict(sorted(writer.paragraphs.items())),
    }


def pmc_files(
    rng: random.Random, singles: Sequence[ArticlePlan], package: Sequence[ArticlePlan]
) -> tuple[dict[str, bytes], dict[str, object], int]:
    """All files of the folder, what a correct reader finds in each, and the words written."""
    files: dict[str, bytes] = {}
    expected: dict[str, object] = {}
    members: dict[str, bytes] = {}
    written = 0
    for plan in (*singles, *package):
        writer = JatsWriter(rng, plan)
        data = writer.article().encode("utf-8")
        written += writer.words
        if plan in singles:
            name = f"PMC{plan.pmcid}.nxml"
            files[name] = data
        else:
            member = f"{PACKAGE_FOLDER}/PMC{plan.pmcid}.xml"
            members[member] = data
            name = f"{PACKAGE}.tar.gz/{member}"
        expected[name] = _expected(plan, writer)
    files[f"{PACKAGE}.tar.gz"] = _package(members)
    files[f"{PACKAGE}.filelist.csv"] = _file_list(package)
    return files, expected, written


def _package(members: dict[str, bytes]) -> bytes:
    """A .tar.gz whose bytes depend on nothing but the members."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), _PACKAGE_DATE, 0o644
            archive.addfile(member, io.BytesIO(data))
    return compress(packed.getvalue())


def _file_list(package: Sequence[ArticlePlan]) -> bytes:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        (
            "Article File",
            "Article Citation",
            "AccessionID",
            "LastUpdated (YYYY-MM-DD HH:MM:SS)",
            "PMID",
            "License",
            "Retracted",
        )
    )
    for plan in package:
        writer.writerow(
            (
                f"{PACKAGE_FOLDER}/PMC{plan.pmcid}.xml",
                f"Ann Invent Med. {plan.year}; 1:1",
                f"PMC{plan.pmcid}",
                "2024-12-18 00:00:00",
                plan.pmid or "",
                plan.licence,
                "no",
            )
        )
    return table.getvalue().encode("utf-8")
