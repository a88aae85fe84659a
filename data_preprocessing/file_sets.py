"""Where NLM keeps what `fetch` fetches."""

from dataclasses import dataclass

NLM = "https://ftp.ncbi.nlm.nih.gov"


@dataclass(frozen=True)
class FileSet:
    """A folder of files that NLM publishes together."""

    folder: str
    pattern: str
    listed: bool = False
    """Verified by a file list beside it (PMC), not by MD5 (PubMed)."""


def _pmc(licence: str) -> FileSet:
    return FileSet(f"pub/pmc/oa_bulk/{licence}/xml", rf"{licence}_xml\.[\w.-]+\.tar\.gz", True)


FILE_SETS = {
    "pubmed_baseline": FileSet("pubmed/baseline", r"pubmed\d\dn\d+\.xml\.gz"),
    "pubmed_updatefiles": FileSet("pubmed/updatefiles", r"pubmed\d\dn\d+\.xml\.gz"),
    "pmc_comm": _pmc("oa_comm"),
    "pmc_noncomm": _pmc("oa_noncomm"),
    "pmc_other": _pmc("oa_other"),
}
