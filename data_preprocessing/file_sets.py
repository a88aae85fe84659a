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
    if_missing: str = ""
    """What to tell where a mirror does not have the folder."""


def _pmc(licence: str) -> FileSet:
    return FileSet(
        f"pub/pmc/oa_bulk/{licence}/xml",
        rf"{licence}_xml\.[\w.-]+\.tar\.gz",
        listed=True,
        # https://pmc.ncbi.nlm.nih.gov/tools/get-full-text/, notice of April 13, 2026
        if_missing="NLM has ended its own bulk packages of PMC in 2026: give the base URL of a "
        "mirror that has them, or a folder, or parse articles from its cloud service "
        "(docs/data_at_scale.md)",
    )


FILE_SETS = {
    "pubmed_baseline": FileSet("pubmed/baseline", r"pubmed\d\dn\d+\.xml\.gz"),
    "pubmed_updatefiles": FileSet("pubmed/updatefiles", r"pubmed\d\dn\d+\.xml\.gz"),
    "pmc_comm": _pmc("oa_comm"),
    "pmc_noncomm": _pmc("oa_noncomm"),
    "pmc_other": _pmc("oa_other"),
}
