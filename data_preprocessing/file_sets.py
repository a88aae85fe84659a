"""Where NLM keeps what `fetch` fetches."""

from dataclasses import dataclass

NLM = "https://ftp.ncbi.nlm.nih.gov"
PMC_BUCKET = "https://pmc-oa-opendata.s3.amazonaws.com"


@dataclass(frozen=True)
class FileSet:
    """A folder of files that NLM publishes together."""

    folder: str
    pattern: str
    listed: bool = False
    """Verified by a file list beside it (PMC), not by MD5 (PubMed)."""
    if_missing: str = ""
    """What to tell where a mirror does not have the folder."""


def _pmc(licence: str) -> FileSet:
    return FileSet(
        f"pub/pmc/oa_bulk/{licence}/xml",
        rf"{licence}_xml\.[\w.-]+\.tar\.gz",
        listed=True,
        # https://pmc.ncbi.nlm.nih.gov/tools/get-full-text/, notice of April 13, 2026
        if_missing="NLM has ended its bulk packages of PMC in 2026: fetch_pmc reads its articles "
        "from the cloud service; this set is for mirrors and folders that have the packages",
    )


FILE_SETS = {
    "pubmed_baseline": FileSet("pubmed/baseline", r"pubmed\d\dn\d+\.xml\.gz"),
    "pubmed_updatefiles": FileSet("pubmed/updatefiles", r"pubmed\d\dn\d+\.xml\.gz"),
    "pmc_comm": _pmc("oa_comm"),
    "pmc_noncomm": _pmc("oa_noncomm"),
    "pmc_other": _pmc("oa_other"),
}

PUBMED = ("pubmed_baseline", "pubmed_updatefiles")
"""What NLM's server still has; PMC's articles come from its cloud service (`fetch_pmc`)."""

GROUPS = ("comm", "noncomm", "other")
"""Of PMC's articles by licence, as NLM divides them: commercial use allowed (CC0, CC BY, BY-SA,
BY-ND); not allowed (CC BY-NC...); open access without such a licence."""
