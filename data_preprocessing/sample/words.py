"""The invented vocabulary: drugs, genes, diseases and outcomes that exist nowhere else."""

from dataclasses import dataclass
from typing import Literal


def _listed(names: str) -> tuple[str, ...]:
    return tuple(names.split())


_DRUG_HEADS = _listed(
    "quel brevo zantu dorvi pexa talmi nuvo serqui jolva kemta ombri fyra hexu wilda ygro lurdo "
    "mivu cavo teru sindra rabu vonta"
)
_DRUG_TAILS = _listed("tinib limab statin gliptin sartan profen mycin lukast")
DRUGS = tuple(
    head + _DRUG_TAILS[(index + shift) % len(_DRUG_TAILS)]
    for shift in (0, 3)
    for index, head in enumerate(_DRUG_HEADS)
)

GENES = _listed(
    "KLRX2 ZNT5B MIRF1 TAPQ3 DRV12 PLOX4 SEMB7 HYX1 CRUM9 VANT2 FOLQ1 BRX6 NODZ3 ARKL5 GLIX2 "
    "TMQ14 SORV1 EPHX8 WDQ21 CASL3 RUNQ4 LMX9B PTGX1 HSQ7"
)
MARKERS = _listed(
    "IL-47 IL-52 TNF-κ TGF-β9 IFN-σ CXCL-27 CCL-41 miR-9304 miR-8817 galectin-21 cystatin-Q "
    "ferrostatin-2 pro-ANX S100-K vitamin-K7 lipoprotein-z endoglin-5 calpactin-α"
)
CELLS = (
    "HVK-12 cells",
    "LC-407 cells",
    "MDK-3 cells",
    "SNB-88 cells",
    "human velar fibroblasts",
    "murine septal macrophages",
    "primary keroid keratinocytes",
    "lumenal epithelial cells",
    "cultured meliotic endothelial cells",
    "CD61+ stromal cells",
)


@dataclass(frozen=True)
class Disease:
    name: str
    abbreviation: str
    specialty: str


DISEASES = tuple(
    Disease(*row.split(", "))
    for row in """\
velar neuropathy, VN, Neurology
Tolvanen syndrome, TS, Genetics
chronic septal arthritis, CSA, Rheumatology
keroid dermatitis, KD, Dermatology
lumenal colitis, LC, Gastroenterology
Brandvik disease, BD, Internal Medicine
type 4 tubular nephropathy, T4TN, Nephrology
corvic carcinoma, CC, Oncology
marginal glandular carcinoma, MGC, Oncology
pulmonary meliosis, PM, Pulmonology
Osk fever, OF, Infectious Diseases
cortical angiopathy, CA, Neurology
spinal ostealgia, SO, Orthopedics
ocular striatitis, OS, Ophthalmology
hepatic feruosis, HF, Hepatology
valvular lipomatosis, VL, Cardiology
myeloid parvocytosis, MP, Hematology
gestational hyperfolemia, GH, Obstetrics
juvenile plaque uveopathy, JPU, Ophthalmology
thoracic fibroplasia, TF, Surgery
secondary hypercorvinism, SHC, Endocrinology
adult-onset myalgic ataxia, AMA, Neurology
vesicular bronchopathy, VB, Pulmonology
tarsal synovosis, TSS, Rheumatology
chronic mural cystitis, CMC, Urology
postural cephalgia, PC, Neurology
laminar pancreatosis, LP, Gastroenterology
diffuse atrial sclerosis, DAS, Cardiology
""".splitlines()
)

Kind = Literal["percent", "score", "days", "metres", "fold"]


@dataclass(frozen=True)
class Outcome:
    """Something measured: `name` reads after "the", `topic` after "reduce" or "predict"."""

    name: str
    topic: str
    kind: Kind
    better: Literal["lower", "higher"]


OUTCOMES = tuple(
    Outcome(name, topic, kind, better)  # type: ignore[arg-type]
    for name, topic, kind, better in (
        row.split(", ")
        for row in """\
relapse rate, relapse, percent, lower
readmission rate, hospital readmission, percent, lower
infection rate, postoperative infection, percent, lower
mortality rate, in-hospital mortality, percent, lower
incidence of thrombosis, venous thrombosis, percent, lower
rate of treatment failure, treatment failure, percent, lower
rate of ulcer recurrence, ulcer recurrence, percent, lower
incidence of delirium, delirium, percent, lower
rate of graft rejection, graft rejection, percent, lower
frequency of falls, falls, percent, lower
rate of preterm delivery, preterm delivery, percent, lower
transfusion rate, blood transfusion, percent, lower
incidence of renal injury, acute renal injury, percent, lower
rate of vision loss, vision loss, percent, lower
mean pain score, pain, score, lower
mean fatigue score, fatigue, score, lower
disease activity score, disease activity, score, lower
mean anxiety score, anxiety, score, lower
itch severity score, itch, score, lower
symptom burden score, symptom burden, score, lower
length of hospital stay, hospital stay, days, lower
time to recovery, time to recovery, days, lower
response rate, treatment response, percent, higher
healing rate, wound healing, percent, higher
remission rate, remission, percent, higher
rate of medication adherence, medication adherence, percent, higher
quality of life score, quality of life, score, higher
cognitive performance score, cognitive performance, score, higher
sleep quality score, sleep quality, score, higher
muscle strength score, muscle strength, score, higher
6-minute walk distance, walking capacity, metres, higher
""".splitlines()
    )
)
PROCESSES = tuple(
    Outcome(process, process, "fold", "lower")
    for process in (
        "migration",
        "proliferation",
        "apoptosis",
        "autophagy",
        "adhesion",
        "IL-47 secretion",
        "collagen synthesis",
        "mitochondrial respiration",
        "barrier permeability",
        "calcium uptake",
    )
)
INTERVENTIONS = (
    "early mobilisation",
    "telephone follow-up",
    "nurse-led education",
    "mindfulness training",
    "preoperative carbohydrate loading",
    "a high-fibre diet",
    "warm-air humidification",
    "pelvic floor training",
    "home-based rehabilitation",
    "a discharge checklist",
    "music during dressing changes",
    "a text-message reminder",
    "low-level light therapy",
    "supervised resistance exercise",
    "restrictive fluid therapy",
    "shared decision making",
)
EXPOSURES = (
    "night-shift work",
    "low vitamin K7 intake",
    "maternal smoking",
    "short sleep duration",
    "living near a main road",
    "a family history of Osk fever",
    "previous abdominal surgery",
    "obesity",
    "delayed referral",
    "a high sodium intake",
    "occupational dust exposure",
    "childhood adversity",
    "preoperative anaemia",
    "social isolation",
)
TESTS = (
    "contrast-enhanced ultrasound",
    "diffusion-weighted MRI",
    "handheld capnometry",
    "the Lindqvist score",
    "point-of-care IL-47 testing",
    "thermal imaging",
    "urinary cystatin-Q",
    "low-dose thoracic CT",
    "the six-item Arvo questionnaire",
    "near-infrared spectroscopy",
)
POPULATIONS = ("patients", "adults", "older patients", "children", "outpatients", "women", "adults")
SUBGROUPS = (
    ("the first year", "the second year"),
    ("urban centres", "rural centres"),
    ("mild disease", "severe disease"),
)
ADULT_SUBGROUPS = (
    *SUBGROUPS,
    ("women", "men"),
    ("men", "women"),
    ("older participants", "younger participants"),
    ("smokers", "non-smokers"),
)
CELL_SUBGROUPS = (("normoxia", "hypoxia"), ("early passages", "late passages"))
SURNAMES = _listed(
    "Arvola Bexley Corvin Dramsted Elmquist Farrow Grindal Hollis Ivarsen Jarneby Kestrel Lunde "
    "Marchetti Nordlund Okafor Pellworth Quist Rossander Sorrel Tamsin Ulvik Varga Wexford Ylva "
    "Zorin Abara Benedek Castellan Duarte Egede"
)
FORENAMES = _listed(
    "Anna Bela Carl Dina Elif Farid Greta Hugo Ines Jonas Kira Lars Mina Noor Oskar Petra Rafael "
    "Sofia Tariq Una Viktor Wei Yusuf Zoe"
)
CITIES = _listed("Norvale Estermoor Halvik Port-Sarn Quenby Lindmark Vastergo Tresco")
JOURNALS = (
    ("Annals of Invented Medicine", "Ann Invent Med"),
    ("Journal of Synthetic Clinical Findings", "J Synth Clin Find"),
    ("Fictional Archives of Surgery", "Fict Arch Surg"),
    ("Imaginary Biochemistry Letters", "Imag Biochem Lett"),
    ("Specimen Reports in Epidemiology", "Spec Rep Epidemiol"),
    ("Sample Journal of Nursing", "Sample J Nurs"),
    ("International Example Oncology", "Int Ex Oncol"),
    ("Placeholder Reviews of Neurology", "Placehold Rev Neurol"),
)
