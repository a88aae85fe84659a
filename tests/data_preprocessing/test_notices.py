"""Copyright notices at the end of abstracts."""

import re
from collections import Counter
from pathlib import Path

import pytest
from lxml import etree

from data_preprocessing.byte_streams import utf8_chunks
from data_preprocessing.jats_text import article_text
from data_preprocessing.notices import without_notice
from data_preprocessing.pubmed_text import abstract_text

SAID = "Frogs jump (p < 0.05)."


@pytest.mark.parametrize(
    "notice",
    [
        "(PsycInfo Database Record (c) 2024 APA, all rights reserved).",
        "(PsycINFO Database Record (c) 2012 APA, all rights reserved)",
        "( PsycINFO Database Record ( c) 2002 APA, all rights reserved)",
        "(PsycTests Database Record © 2020 American Psychological Association, all rights "
        "reserved)",
        "(PsycINFO Database Record (c) 2012 APA, all rights reserved) (journal abstract)",
        "(c) 2015 APA, all rights reserved).",
        "This article is protected by copyright. All rights reserved.",
        "This article is a U.S. Government work and is in the public domain in the USA.",
        "Copyright © 2012 John Wiley & Sons, Ltd.",
        "Copyright 2001 Academic Press.",
        "Copyright 2002 S. Karger AG, Basel",
        "Crown Copyright © 2019. Published by Elsevier Ltd. All rights reserved.",
        "© 2015 The Authors. Journal of Orthopaedic Research Published by Wiley Periodicals, Inc. "
        "J Orthop Res 33:1646–1654, 2015.",
        "© 2022. The Author(s).",
        "©2023 Tottori University Medical Press.",
        "© 2024 Walter de Gruyter GmbH, Berlin/Boston.",
        "© RSNA, 2018 Online supplemental material is available for this article.",
        "(c) 2001 Elsevier Science B.V. All rights reserved.",
        "2010 Elsevier Ltd. All rights reserved.",
        "Published by Elsevier Inc.",
        "ALL RIGHTS RESERVED.",
        "c2001 COSPAR Published by Elsevier Science Ltd. All rights reserved.",
        "c2001 AIAA. Published by Elsevier Science Ltd.",
        "Wiley Periodicals, Inc. © 2019 International League Against Epilepsy.",
        "John Wiley & Sons, Ltd. Copyright 2011.",
        "Creative Commons Attribution license.",
        "Published by the BMJ Publishing Group Limited. For permission to use (where not already "
        "granted under a licence) please go to http://www.bmj.com/company/rights-and-licensing/.",
    ],
)
def test_a_notice_goes_and_the_sentence_before_it_stays(notice: str) -> None:
    assert without_notice(f"{SAID} {notice}") == SAID
    assert without_notice(notice) == ""
    # Not in the middle of a paragraph.
    assert without_notice(f"{SAID} {notice} Toads walk.") == f"{SAID} {notice} Toads walk."


@pytest.mark.parametrize(
    "text",
    [
        "We searched MEDLINE, EMBASE and the PsycINFO database.",
        "Items came from the PsycInfo Database Record (c) and from APA.",
        "All rights reserved for patients were respected.",
        "We ask who holds the rights. Copyright law of 1976 says nothing of genes.",
        "Copyright © 2015 software was used.",
        "Randomization used OpenClinica, version 3.3. © 2015 OpenClinica, LLC. Data were sent.",
        "The generic product was compared with Zocor©, in 43 volunteers in 2015.",
        "Serious games help. InsuOnLine© was well accepted in 2014.",
        "Doses were: (a) 500 mg. (b) 1000 mg. (c) 2000 IU.",
        "The rule is old. (c) 2001 patients were asked.",
        "Guidelines differ. Published by several societies in 2015, they await review.",
        "Published by chance.",
        "Mice carried c2001. c2001 mutants of the Frog Society died.",
        "The kit is made by Frog Diagnostics, Inc. © marks are left out.",
        "Creative Commons licences were preferred.",
        "Reuse differs. Creative Commons was founded in 2001.",
        "We wrote to the Frog Press. For permission to use it please go to http://frog.org.",
        "Patients were seen in 2010. 2010 Elsevier articles were read.",
        "Основной результат. © 2015 года исследование было завершено.",
        "This article is protected by copyright of a kind that nobody knows.",
        "",
    ],
)
def test_a_sentence_stays(text: str) -> None:
    assert without_notice(text) == text


def test_a_stop_behind_the_notice_is_the_sentences() -> None:
    tail = "(PsycInfo Database Record (c) 2020 APA, all rights reserved)."
    assert without_notice(f"Implications are discussed {tail}") == "Implications are discussed."


def test_only_the_end_is_looked_at() -> None:
    long = "© 2001 " + "Frog " * 100 + "Press."
    assert without_notice(f"{SAID} {long}") == f"{SAID} {long}"


def test_pubmed_abstracts_lose_it_and_it_is_counted() -> None:
    counts: Counter[str] = Counter()
    abstract = etree.fromstring(
        '<Abstract><AbstractText Label="AIM">Frogs jump. (PsycInfo Database Record (c) 2020 APA, '
        "all rights reserved).</AbstractText><AbstractText>Copyright 1999 Academic Press."
        "</AbstractText></Abstract>"
    )
    assert abstract_text(abstract, counts) == "AIM: Frogs jump."
    assert counts["copyright_notice"] == 2


def test_jats_abstracts_lose_it_and_the_body_does_not() -> None:
    article = etree.fromstring(
        "<article><front><article-meta><abstract><p>Frogs jump. Copyright © 2012 John Wiley &amp; "
        "Sons, Ltd.</p><sec><title>Copyright</title><p>© 2012 The Authors.</p></sec></abstract>"
        "</article-meta></front><body><p>We used R. © 2015 R Foundation.</p></body></article>"
    )
    text, ledger = article_text(article)
    assert text == "Frogs jump.\nWe used R. © 2015 R Foundation."
    assert ledger == {"kept": 2, "copyright_notice": 1}


@pytest.mark.real_data
def test_nearly_all_that_nlm_calls_copyright_information(real_data: Path) -> None:
    """NLM has cut these out of the abstracts that publishers send."""
    found: set[str] = set()
    for path in (real_data / "pubmed_xml").rglob("*.xml*"):
        document = b"".join(utf8_chunks(path)).decode()
        found.update(re.findall("<CopyrightInformation>([^<>&]+)<", document))
    left = [notice for notice in found if without_notice(f"{SAID} {notice}") != SAID]
    assert len(found) > 30
    assert left == []
