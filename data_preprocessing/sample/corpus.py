"""The whole sample corpus: every folder, and MANIFEST.json as its independent truth."""

import hashlib
import json
import random
from pathlib import Path

from data_preprocessing.sample import hoc, pmc_files, pubmed_files, pubmedqa
from data_preprocessing.sample.citations import Citation, question_article
from data_preprocessing.sample.packing import compress, write_whole
from data_preprocessing.sample.pubmed_files import PubMedFile
from modelzoo_mediswift.errors import UserError

CITATIONS = 3000  # at scale 1
QUESTIONS = 1200
PACKAGED_ARTICLES = 52
MANIFEST = "MANIFEST.json"
_NOTICE = (
    "Everything here is generated. Drugs, genes, diseases, people, journals, numbers and findings "
    "are invented and mean nothing in medicine."
)


def write_sample(out: Path, *, seed: int = 0, scale: float = 1.0) -> dict[str, object]:
    """Write the sample corpus to `out` and return its manifest, which is written last.

    The same seed and scale give the same bytes. `scale` multiplies all counts; every edge case is
    kept at any scale. The names of the files are always the same, so that an earlier sample in
    `out` is replaced.

    Raises:
        UserError: if `scale` is not within [0.03, 20], or `out` is a file.
    """
    if not 0.03 <= scale <= 20:
        raise UserError(f"sample: scale: expected a number in [0.03, 20], got {scale}")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder for the sample corpus, found a file")
    files, manifest = _generate(seed, scale)
    # taken away first and written last: a folder with a manifest is whole
    (out / MANIFEST).unlink(missing_ok=True)
    for name, data in files.items():
        write_whole(out / name, data)
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    write_whole(out / MANIFEST, text.encode("utf-8"))
    return manifest


def _generate(seed: int, scale: float) -> tuple[dict[str, bytes], dict[str, object]]:
    """All files by name, and the manifest."""
    # each part has its own generator, so that a change to one leaves the others as they are
    chance = {
        part: random.Random(f"{part} {seed}")
        for part in ("questions", "pubmed", "full text", "hoc", "xml", "json", "more questions")
    }
    questions = pubmedqa.draw_questions(chance["questions"], round(QUESTIONS * scale))
    articles = [question_article(chance["questions"], question) for question in questions]
    known = [index for index, q in enumerate(questions) if q.split == "train"]
    held, placed = pubmed_files.lay_out(
        chance["pubmed"], [articles[index] for index in known], round(CITATIONS * scale)
    )
    for index, citation in zip(known, placed, strict=True):
        questions[index].pmid = citation.pmid
    pubmedqa.number_the_rest(chance["questions"], questions)

    packaged = max(6, round(PACKAGED_ARTICLES * scale))
    told = pubmed_files.link_full_text(
        chance["full text"],
        held,
        {q.pmid for q in questions},
        [pmc_files.packaged_pmcid(index) for index in range(packaged // 2)],
    )
    singles, package = pmc_files.draw_plans(chance["full text"], told, packaged)
    full_texts, expected_pmc, full_text_words = pmc_files.pmc_files(
        chance["full text"], singles, package
    )
    hoc_texts, expected_hoc = hoc.hoc_files(chance["hoc"], scale)
    asked = pubmedqa.question_files(chance["json"], questions) | pubmedqa.more_questions(
        chance["more questions"], round(QUESTIONS * scale)
    )
    files = (
        {f"pubmed/{f.name}": _packed(f, chance["xml"]) for f in held}
        | {f"pmc/{name}": data for name, data in full_texts.items()}
        | {f"pubmedqa/{name}": data for name, data in asked.items()}
        | {f"hoc/{name}": data for name, data in hoc_texts.items()}
    )
    manifest: dict[str, object] = {
        "notice": _NOTICE,
        "seed": seed,
        "scale": scale,
        "counts": {
            "pubmed_citations": sum(len(f.citations) for f in held),
            "pubmed_words": sum(_words(c) for f in held for c in f.citations),
            "pmc_articles": len(singles) + len(package),
            "pmc_words": full_text_words,
            "questions": len(questions),
        },
        "expected": {
            "pubmed": pubmed_files.expected(held),
            "pmc": expected_pmc,
            "pubmedqa": pubmedqa.expected(questions),
            "hoc": expected_hoc,
        },
        "examples": pubmed_files.examples(held),
        "files": {name: _identity(data) for name, data in files.items()},
    }
    return files, manifest


def _identity(data: bytes) -> dict[str, object]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _packed(held: PubMedFile, rng: random.Random) -> bytes:
    data = held.xml(rng)
    return compress(data) if held.name.endswith(".gz") else data


def _words(citation: Citation) -> int:
    texts = [citation.title, *(section.text for section in citation.abstract)]
    return sum(len(text.split()) for text in texts)
