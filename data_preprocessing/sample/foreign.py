"""A few sentences in other languages, for vernacular titles, other abstracts and one article."""

import random

from data_preprocessing.sample import words

_LANGUAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "spa": (
        "Efecto de {drug} en pacientes con {abbr}",
        (
            "Se estudiaron {n} pacientes con {abbr} tratados con {drug} durante {m} meses.",
            "El objetivo fue evaluar la seguridad y la eficacia de {drug}.",
            "No se observaron diferencias entre los grupos en cuanto a la edad o el sexo.",
            "La concentración de {marker} fue más baja después del tratamiento (p = 0,02).",
            "Se necesitan más estudios para confirmar estos resultados.",
        ),
    ),
    "ger": (
        "Wirkung von {drug} bei Patienten mit {abbr}",
        (
            "Untersucht wurden {n} Patienten mit {abbr}, die über {m} Monate {drug} erhielten.",
            "Ziel war es, die Verträglichkeit und den Nutzen von {drug} zu prüfen.",
            "Zwischen den Gruppen fanden sich keine Unterschiede im Alter oder Geschlecht.",
            "Der Spiegel von {marker} war nach der Behandlung niedriger (p = 0,02).",
            "Weitere Studien müssen diese Ergebnisse bestätigen.",
        ),
    ),
    "fre": (
        "Effet de {drug} chez les malades atteints de {abbr}",
        (
            "Nous avons suivi {n} malades atteints de {abbr} et traités par {drug} pendant {m} "
            "mois.",
            "Le but était d'évaluer la tolérance et l'efficacité de {drug}.",
            "Aucune différence d'âge ou de sexe n'a été observée entre les groupes.",
            "Le taux de {marker} était plus bas après le traitement (p = 0,02).",
            "D'autres études sont nécessaires pour confirmer ces résultats.",
        ),
    ),
}
LANGUAGES = tuple(_LANGUAGES)


def words_for(rng: random.Random, language: str | None = None) -> tuple[str, str, str]:
    """A language code (ISO 639-2 as PubMed writes it), an abstract in it, and a title."""
    language = language or rng.choice(LANGUAGES)
    title, sentences = _LANGUAGES[language]
    slots = {
        "drug": rng.choice(words.DRUGS),
        "abbr": rng.choice(words.DISEASES).abbreviation,
        "marker": rng.choice(words.MARKERS),
        "n": rng.randint(20, 300),
        "m": rng.randint(3, 24),
    }
    text = " ".join(line.format(**slots) for line in sentences)
    return language, text, title.format(**slots)
