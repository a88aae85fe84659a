"""A Hallmarks of Cancer corpus in BLUE's raw form: one sentence a line, ten labels each."""

import random
import re

from data_preprocessing.sample import words
from data_preprocessing.sample.grammar import sentence

SIZES = {"train": 110, "dev": 16, "test": 32}  # documents at scale 1
FIRST_PMID = 99_000_001
HALLMARKS: tuple[tuple[str, ...], ...] = (  # label digit -> sentences, in alphabetical order
    (  # activating invasion and metastasis
        "{gene} [promoted|enhanced] the invasion and migration of {cells}.",
        "Loss of {gene} [reduced|suppressed] lung metastasis in mice bearing {disease}.",
        "Epithelial-mesenchymal transition was induced by {marker} in {cells}.",
        "{drug} inhibited matrix degradation and the metastatic spread of {cells}.",
    ),
    (  # avoiding immune destruction
        "{gene} helped {disease} to [evade|escape] cytotoxic T cells.",
        "Blocking {gene} restored the killing of tumour cells by natural killer cells.",
        "Regulatory T cells and low antigen presentation shielded {disease} from immune attack.",
        "{drug} increased the immune recognition of {cells} (p < 0.01).",
    ),
    (  # cellular energetics
        "{gene} shifted {cells} towards aerobic glycolysis and lactate production.",
        "Glucose uptake was [raised|increased] in {disease} with high {gene}.",
        "{drug} lowered glutamine metabolism and ATP levels in {cells}.",
        "The Warburg effect was reversed when {gene} was silenced.",
    ),
    (  # enabling replicative immortality
        "Telomerase activity was [high|detected] in {percent}% of {disease} samples.",
        "{gene} maintained telomere length in {cells} and prevented senescence.",
        "{drug} caused telomere shortening and replicative senescence in {cells}.",
        "Cells immortalised by {gene} continued to divide beyond the usual limit.",
    ),
    (  # evading growth suppressors
        "The tumour suppressor {gene} was [lost|methylated] in {percent}% of {disease}.",
        "{cells} escaped contact inhibition when {gene} was inactivated.",
        "Growth arrest at the G1 checkpoint was bypassed in {disease}.",
        "{drug} restored the growth-inhibitory signal of {marker} in {cells}.",
    ),
    (  # genomic instability and mutation
        "Chromosomal aberrations and DNA double-strand breaks were frequent in {disease}.",
        "{gene} mutations were found in {percent}% of {disease} and impaired DNA repair.",
        "{drug} induced DNA damage and micronuclei in {cells}.",
        "Microsatellite instability was linked to the loss of {gene}.",
    ),
    (  # inducing angiogenesis
        "{gene} [stimulated|induced] angiogenesis and raised microvessel density in {disease}.",
        "{drug} blocked the formation of new blood vessels in xenografts.",
        "Vascular growth factor was secreted by {cells} under hypoxia.",
        "Endothelial tube formation depended on {marker}.",
    ),
    (  # resisting cell death
        "{drug} induced apoptosis in {cells} through caspase cleavage.",
        "{gene} protected {cells} from [apoptosis|programmed cell death].",
        "Overexpression of {gene} inhibited cell death caused by {drug}.",
        "Autophagy allowed {cells} to survive treatment with {drug}.",
    ),
    (  # sustaining proliferative signaling
        "{gene} [stimulated|increased] the proliferation of {cells}.",
        "{drug} inhibited cell growth and the phosphorylation of {gene}.",
        "Growth factor receptor signalling was constantly active in {disease}.",
        "Silencing of {gene} reduced colony formation and cyclin levels in {cells}.",
    ),
    (  # tumor promoting inflammation
        "Chronic inflammation with high {marker} preceded {disease}.",
        "{marker} secreted by macrophages [favoured|promoted] tumour-associated inflammation.",
        "{drug} reduced inflammatory infiltrates and cytokine release in {disease}.",
        "Inflammatory cells and {marker} were abundant around {disease} lesions.",
    ),
)
PAIRS: tuple[tuple[int, int, str], ...] = (
    (7, 8, "{drug} inhibited proliferation and induced apoptosis in {cells}."),
    (0, 6, "{gene} promoted both angiogenesis and metastasis of {disease}."),
    (4, 8, "{cells} grew without growth factors and ignored growth arrest after loss of {gene}."),
    (
        7,
        9,
        "{marker} linked chronic inflammation to the survival and reduced apoptosis of {cells}.",
    ),
)
NEUTRAL = (
    "Tissue was obtained from {percent} cases of {disease}.",
    "{cells} were cultured as described previously.",
    "The expression of {gene} was measured by real-time PCR.",
    "These findings may help to guide the treatment of {disease}.",
    "{disease} is a [rare|common] disease with a poor outcome.",
    "The role of {gene} in {disease} is not known.",
    "Further studies of {drug} are [needed|warranted].",
    "{drug} was given at a dose of {percent} mg/kg for two weeks.",
    "We examined the relation between {gene} and clinical stage (n = {percent}).",
    "Protein levels were determined by western blotting.",
)


def _slots(rng: random.Random) -> dict[str, str]:
    return {
        "gene": rng.choice(words.GENES),
        "drug": rng.choice(words.DRUGS),
        "marker": rng.choice(words.MARKERS),
        "cells": rng.choice(words.CELLS),
        "disease": rng.choice(words.DISEASES).name,
        "percent": str(rng.randint(12, 88)),
    }


def _spaced(text: str) -> str:
    """Set punctuation off with spaces, as the corpus does."""
    text = re.sub(r"([(),%])", r" \1 ", text[:-1]) + " ."
    return " ".join(text.split())


def _document(rng: random.Random, first: int) -> list[tuple[set[int], str]]:
    """Sentences with their labels; one to three hallmarks a document, `first` among them."""
    slots = _slots(rng)
    others = rng.sample([d for d in range(10) if d != first], rng.choice((0, 0, 0, 1, 1, 2)))
    told: list[tuple[set[int], str]] = []
    for digit in (first, *others):
        for _ in range(rng.randint(1, 3)):
            told.append(({digit}, _spaced(sentence(HALLMARKS[digit], slots, rng))))
    if rng.random() < 0.15:
        one, two, template = rng.choice(PAIRS)
        told.append(({one, two}, _spaced(sentence((template,), slots, rng))))
    for template in rng.sample(NEUTRAL, rng.randint(4, 7)):
        told.append((set(), _spaced(sentence((template,), slots, rng))))
    rng.shuffle(told)
    return told


def hoc_files(rng: random.Random, scale: float) -> tuple[dict[str, bytes], dict[str, object]]:
    """The three files and what they hold; every label occurs in every file of ten documents."""
    files: dict[str, bytes] = {}
    expected: dict[str, object] = {}
    pmid = FIRST_PMID
    for split, size in SIZES.items():
        rows, label_counts = ["labels\tsentence\tindex"], [0] * 10
        documents = max(10, round(size * scale))
        for number in range(documents):
            found: set[int] = set()
            for position, (labels, text) in enumerate(_document(rng, number % 10)):
                digits = ",".join(f"{digit}_{int(digit in labels)}" for digit in range(10))
                rows.append(f"{digits}\t{text}\t{pmid}_s{position}")
                found |= labels
            for digit in found:
                label_counts[digit] += 1
            pmid += rng.randint(1, 40)
        files[f"{split}.tsv"] = ("\r\n".join(rows) + "\r\n").encode("utf-8")
        expected[split] = {
            "documents": documents,
            "sentences": len(rows) - 1,
            "documents_per_label": label_counts,
        }
    return files, expected
