"""One PMC article as JATS XML, with a count of every paragraph written."""

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from data_preprocessing.sample import foreign, words
from data_preprocessing.sample.fulltext import REFERENCES, Writer
from data_preprocessing.sample.markup import MATHML, NOTICE, Element, element, leaf, mixed, render
from data_preprocessing.sample.studies import Study

_ARCHIVING = "Journal Archiving and Interchange DTD"
DOCTYPES = {
    "nlm-1.0": (f"-//NLM//DTD {_ARCHIVING} v1.0 20021201//EN", "archivearticle.dtd"),
    "nlm-2.3": (f"-//NLM//DTD {_ARCHIVING} v2.3 20070202//EN", "archivearticle.dtd"),
    "nlm-3.0": (f"-//NLM//DTD {_ARCHIVING} v3.0 20080202//EN", "archivearticle3.dtd"),
    "jats-1.0": (
        f"-//NLM//DTD JATS (Z39.96) {_ARCHIVING} v1.0 20120330//EN",
        "JATS-archivearticle1.dtd",
    ),
    "jats-1.2": (
        f"-//NLM//DTD JATS (Z39.96) {_ARCHIVING} v1.2 20190208//EN",
        "JATS-archivearticle1.dtd",
    ),
    "jats-1.3": (
        f"-//NLM//DTD JATS (Z39.96) {_ARCHIVING} with MathML3 v1.3 20210610//EN",
        "JATS-archivearticle1-3-mathml3.dtd",
    ),
}
FEATURES = (  # what an article may contain beyond title, abstract and sections
    "loose body paragraphs",
    "list",
    "definition list",
    "quote",
    "boxed text",
    "table",
    "figure",
    "formula",
    "acknowledgement",
    "appendix",
    "supplement",
    "graphical abstract",
    "summary abstract",
    "translated abstract",
    "sub-article",
    "entities",
    "structured abstract",
    "no body",
)
_ENTITIES = {"[": "&lsqb;", "]": "&rsqb;", "+": "&plus;", "%": "&percnt;", "±": "&plusmn;"}
_LICENCES = {
    "CC BY": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
}


@dataclass(frozen=True)
class ArticlePlan:
    """What to write: identifiers, document type and features."""

    pmcid: int
    pmid: int | None
    study: Study
    year: int
    doctype: str = "jats-1.2"
    article_type: str = "research-article"
    language: str = "en"
    licence: str = "CC BY"
    features: frozenset[str] = field(default_factory=frozenset)


class JatsWriter:
    """Builds one article; `paragraphs` counts the p elements by where they stand."""

    def __init__(self, rng: random.Random, plan: ArticlePlan) -> None:
        self.rng = rng
        self.plan = plan
        self.prose = Writer(rng, plan.study)
        self.paragraphs: Counter[str] = Counter()
        self.words = 0
        self.title = plan.study.title
        if plan.language != "en":
            self.title = foreign.words_for(rng, "spa")[2]
        elif plan.article_type == "correction":
            self.title = f"Correction: {plan.study.title}"
        self.modern = plan.doctype.startswith("jats") or plan.doctype == "nlm-3.0"

    def has(self, feature: str) -> bool:
        assert feature in FEATURES, feature
        return feature in self.plan.features

    def content(self, text: str) -> str:
        """Escaped text with citations as xref elements and, if asked for, DTD-only entities."""
        self.words += len(text.split())
        text = escape(text)
        if self.has("entities"):
            kept = re.split(r"(\[\[\d+\]\])", text)
            for symbol, entity in _ENTITIES.items():
                kept[::2] = [part.replace(symbol, entity) for part in kept[::2]]
            text = "".join(kept)
            opening, closing = "&lsqb;", "&rsqb;"
        else:
            opening, closing = "[", "]"
        xref = rf'{opening}<xref ref-type="bibr" rid="B\1">\1</xref>{closing}'
        return re.sub(r"\[\[(\d+)\]\]", xref, text)

    def p(self, place: str, text: str, *, tail: str = "") -> Element:
        """One paragraph; `tail` is XML that stands inside it, after the text."""
        self.paragraphs[place] += 1
        return mixed("p", self.content(text) + tail)

    def article(self) -> str:
        """The whole file."""
        plan = self.plan
        public, system = DOCTYPES[plan.doctype]
        parts = [self.front(), None if self.has("no body") else self.body(), self.back()]
        if self.has("sub-article"):
            parts += [self.sub_article(kind) for kind in ("decision-letter", "reply")]
        root = element("article", *parts, article_type=plan.article_type)
        root.attributes |= {
            "xmlns:xlink": "http://www.w3.org/1999/xlink",
            "xmlns:mml": MATHML,
            "xml:lang": plan.language,
        }
        return (
            f'<!DOCTYPE article PUBLIC "{public}" "{system}">\n<!-- {NOTICE} -->\n'
            f"<?properties open_access?>\n{render(root)}\n"
        )

    def front(self) -> Element:
        return element("front", self.journal(), self.article_meta())

    def journal(self) -> Element:
        name, short = self.rng.choice(words.JOURNALS)
        title = leaf("journal-title", name)
        if self.modern:
            title = element("journal-title-group", title)
        return element(
            "journal-meta",
            leaf("journal-id", short, journal_id_type="nlm-ta"),
            title,
            leaf("issn", "9999-0000", pub_type="epub"),
            element("publisher", leaf("publisher-name", "Invented Press")),
        )

    def article_meta(self) -> Element:
        plan = self.plan
        pmc = (
            leaf("article-id", f"PMC{plan.pmcid}", pub_id_type="pmcid")
            if plan.doctype == "jats-1.3"
            else leaf("article-id", str(plan.pmcid), pub_id_type="pmc")
        )
        pmid = leaf("article-id", str(plan.pmid), pub_id_type="pmid") if plan.pmid else None
        surname, forename = self.rng.choice(words.SURNAMES), self.rng.choice(words.FORENAMES)
        name = element("name", leaf("surname", surname), leaf("given-names", forename))
        link = _LICENCES[plan.licence]
        terms = leaf(
            "license-p" if plan.doctype.startswith("jats") else "p",
            f"This invented article may be used under the terms of {plan.licence}.",
        )
        licence = element("license", terms, license_type="open-access")
        licence.attributes["xlink:href"] = link
        return element(
            "article-meta",
            pmid,
            pmc,
            leaf("article-id", f"10.99999/pmc.{plan.pmcid}", pub_id_type="doi"),
            element("title-group", mixed("article-title", self.content(self.title))),
            element("contrib-group", element("contrib", name, contrib_type="author")),
            element("pub-date", leaf("year", str(plan.year)), pub_type="epub"),
            element("permissions", leaf("copyright-year", str(plan.year)), licence),
            *self.abstracts(),
        )

    def abstracts(self) -> list[Element]:
        sections = self.plan.study.sections
        if self.plan.language != "en":
            return [element("abstract", self.p("abstract", foreign.words_for(self.rng, "spa")[1]))]
        if self.has("structured abstract"):
            parts = [
                element("sec", leaf("title", s.label.capitalize()), self.p("abstract", s.text))
                for s in sections
            ]
        else:
            parts = [self.p("abstract", " ".join(s.text for s in sections))]
        found = [element("abstract", *parts)]
        if self.has("graphical abstract"):
            picture = element("fig", element("graphic"), id="GA")
            found.append(
                element(
                    "abstract",
                    self.p("graphical_abstract", self.prose.caption()),
                    picture,
                    abstract_type="graphical",
                )
            )
        if self.has("summary abstract"):
            text = self.p("summary_abstract", self.prose.remark())
            found.append(element("abstract", text, abstract_type="summary"))
        if self.has("translated abstract"):
            text = self.p("translated_abstract", foreign.words_for(self.rng, "spa")[1])
            found.append(element("trans-abstract", text, xml__lang="es"))
        return found

    def body(self) -> Element:
        if self.plan.language != "en":
            texts = [foreign.words_for(self.rng, "spa")[1] for _ in range(4)]
            return element("body", self.section("Resultados", texts))
        if self.plan.article_type == "correction":
            return element("body", self.p("body", self.prose.remark()))
        parts: list[Element] = []
        if self.has("loose body paragraphs"):
            parts += [self.p("body", self.prose.remark()) for _ in range(2)]
        parts.append(self.section("Introduction", self.prose.introduction()))
        methods = [self.section(t, ps) for t, ps in self.prose.methods().items()]
        methods[1].children += self.method_extras()
        parts.append(element("sec", leaf("title", "Methods"), *methods, sec_type="methods"))
        results = [self.section(t, ps) for t, ps in self.prose.results().items()]
        results[0].children += self.floats()
        parts.append(element("sec", leaf("title", "Results"), *results, sec_type="results"))
        discussion = self.section("Discussion", self.prose.discussion())
        if self.has("quote"):
            quoted = self.p("quote", self.prose.item())
            discussion.children.append(element("disp-quote", quoted))
        parts += [discussion, self.section("Conclusions", self.prose.conclusions())]
        if self.has("boxed text"):
            box = element("sec", leaf("title", "Key points"), self.p("boxed", self.prose.item()))
            parts.append(element("boxed-text", box, self.p("boxed", self.prose.item()), id="BX1"))
        if self.has("loose body paragraphs"):
            parts.append(self.p("body", self.prose.remark()))
        return element("body", *parts)

    def section(self, title: str, paragraphs: list[str]) -> Element:
        return element(
            "sec", leaf("title", title), *(self.p("section", text) for text in paragraphs)
        )

    def method_extras(self) -> list[Element]:
        """Lists and formulas, which stand among the paragraphs or inside one."""
        found: list[Element] = []
        if self.has("list"):
            items = [element("list-item", self.p("list", self.prose.item())) for _ in range(3)]
            found.append(element("list", *items, list_type="order"))
        if self.has("definition list"):
            items = [
                element(
                    "def-item", leaf("term", term), element("def", self.p("definition", meaning))
                )
                for term, meaning in (("OR", "Odds ratio"), ("CI", "Confidence interval"))
            ]
            found.append(element("def-list", *items))
        if self.has("formula"):
            mean = (
                '<inline-formula><tex-math id="M1">\\documentclass{minimal}\\begin{document}'
                "$\\bar{x}$\\end{document}</tex-math></inline-formula>"
            )
            display = (
                '<disp-formula id="E1"><label>(1)</label><mml:math><mml:mi>y</mml:mi>'
                "<mml:mo>=</mml:mo><mml:mi>a</mml:mi><mml:mo>+</mml:mo><mml:mi>b</mml:mi>"
                "<mml:mi>x</mml:mi></mml:math></disp-formula>"
            )
            found.append(self.p("section", "The mean was written as ", tail=f"{mean} throughout."))
            text = "The linear model was as follows: "
            found.append(self.p("section", text, tail=f"{display}where y is the outcome."))
        return found

    def floats(self) -> list[Element]:
        found: list[Element] = []
        if self.has("table"):
            rows = [
                element("tr", *(leaf("td", str(cell)) for cell in row))
                for row in (("Age, years", 61, 60), ("Women, %", 48, 51), ("Smokers, %", 22, 19))
            ]
            head = element("tr", *(leaf("th", text) for text in ("Variable", "A", "B")))
            found.append(
                element(
                    "table-wrap",
                    leaf("label", "Table 1"),
                    element("caption", self.p("caption", self.prose.caption())),
                    element("table", element("thead", head), element("tbody", *rows)),
                    element(
                        "table-wrap-foot",
                        element("fn", self.p("table_foot", "Values are means or percentages.")),
                    ),
                    id="T1",
                    position="float",
                )
            )
        if self.has("figure"):
            caption = element(
                "caption",
                leaf("title", "Main result."),
                self.p("caption", self.prose.caption()),
            )
            picture = element("graphic")
            picture.attributes["xlink:href"] = f"{self.plan.pmcid}-g001"
            found.append(element("fig", leaf("label", "Figure 1"), caption, picture, id="F1"))
        return found

    def back(self) -> Element:
        parts: list[Element] = []
        if self.has("acknowledgement"):
            thanks = self.p("acknowledgement", "We thank all invented participants.")
            parts.append(element("ack", leaf("title", "Acknowledgements"), thanks))
        if self.has("appendix"):
            text = self.p("appendix", self.prose.remark())
            appendix = element("app", leaf("title", "Appendix A"), text, id="A1")
            parts.append(element("app-group", appendix))
        if self.has("supplement"):
            media = element("media", element("caption", self.p("supplement", "Additional data.")))
            parts.append(
                element(
                    "sec",
                    leaf("title", "Supplementary Material"),
                    element("supplementary-material", media, id="S1"),
                    sec_type="supplementary-material",
                )
            )
        citation = "mixed-citation" if self.modern else "citation"
        references = [
            element(
                "ref",
                leaf(
                    citation,
                    f"{self.rng.choice(words.SURNAMES)} et al. An invented reference. "
                    f"{self.rng.choice(words.JOURNALS)[1]}. {self.rng.randint(1985, 2020)}.",
                ),
                id=f"B{number}",
            )
            for number in range(1, REFERENCES + 1)
        ]
        parts.append(element("ref-list", leaf("title", "References"), *references))
        return element("back", *parts)

    def sub_article(self, kind: str) -> Element:
        front = element("front-stub", element("title-group", leaf("article-title", kind.title())))
        texts = [self.p("sub_article", self.prose.remark()) for _ in range(2)]
        return element(
            "sub-article", front, element("body", *texts), article_type=kind, id=f"SA-{kind}"
        )
