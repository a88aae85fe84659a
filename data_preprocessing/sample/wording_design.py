"""How a study is set up: templates of questions, titles, background and methods (grammar.py)."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "treatment": (
        "Does {subject} {claim} {topic} in {pop}?",
        "Can {subject} {claim} {topic} in {pop}?",
        "Is {subject} effective in {claiming} {topic} in {pop}?",
        "Does adding {subject} to standard care {claim} {topic} in {disease}?",
        "{disease} and {topic}: does treatment with {subject} help?",
        "Is {subject} [superior to|better than] {rival} for {claiming} {topic} in {disease}?",
    ),
    "intervention": (
        "Does {subject} {claim} {topic} in {pop}?",
        "Can {subject} {claim} {topic} [after treatment for|in] {disease}?",
        "Is {subject} [useful|effective] for {claiming} {topic} in {pop}?",
        "{subject} in {disease}: does it {claim} {topic}?",
        "Should {subject} be offered to {claim} {topic} in {pop}?",
    ),
    "marker": (
        "Does {subject} {claim} {topic} in {pop}?",
        "Is {subject} [associated with|a predictor of] {topic} in {pop}?",
        "Can {subject} be used to {claim} {topic} in {disease}?",
        "{subject} and {topic} in {disease}: is there a relationship?",
        "Is {subject} an independent [predictor|marker] of {topic} in {disease}?",
    ),
    "variant": (
        "Does {subject} {claim} {topic} in {pop}?",
        "Is {subject} [associated with|related to] {topic} in {pop}?",
        "{disease}: is {subject} a [risk factor for|determinant of] {topic}?",
        "Do carriers of {subject} differ in {topic} when they have {disease}?",
    ),
    "exposure": (
        "Is {subject} [associated with|related to] {topic} in {pop}?",
        "Does {subject} {claim} {topic} in {pop}?",
        "Is {subject} a risk factor for [poor outcome, such as {topic},|worse {topic}] in "
        "{disease}?",
        "{subject} and {topic}: is there a link in {pop}?",
    ),
    "cells": (
        "Does {subject} {claim} {topic} in {cells}?",
        "Is {subject} [required|necessary] for {topic} in {cells}?",
        "Is {topic} of {cells} controlled by {subject}?",
        "Does {subject} regulate {topic} in {cells} derived from {disease}?",
    ),
    "diagnostic": (
        "Is {subject} [accurate|useful] in the diagnosis of {disease}?",
        "Can {subject} {claim} {disease} in {people} with suspected illness?",
        "Does {subject} reliably distinguish {disease} from other conditions?",
    ),
    "equivalence": (
        "Is {subject} as effective as {rival} with regard to {topic} in {disease}?",
        "Can {subject} replace {rival} in {pop} without harm?",
        "{subject} or {rival} in {disease}: are they equivalent for {topic}?",
    ),
}

TITLES: tuple[str, ...] = (  # of articles that are not phrased as a question
    "[Effect|Influence|Role] of {subject} [on|in] {topic} in {pop}.",
    "{subject} and {topic} in {disease}: a [multicentre|single-centre|prospective] study.",
    "The relationship between {subject} and {topic} in {pop}.",
    "{topic} in {pop}: [results of|experience with] {subject} [in {n} cases|].",
    "[Evaluation|Assessment] of {subject} in {disease}.",
)
DIAGNOSTIC_TITLES: tuple[str, ...] = (
    "[Accuracy|Value|Use] of {subject} in the [diagnosis|detection] of {disease}.",
    "{subject} for suspected {disease}: a study of {n} {people}.",
    "Diagnosing {disease} [with|by] {subject}.",
)
VERDICT_TITLES: dict[str, tuple[str, ...]] = {
    "yes": (
        "{subject} {claims} {topic} in {pop}.",
        "{topic} is {claimed} by {subject} in {disease}.",
    ),
    "no": (
        "{subject} does not {claim} {topic} in {pop}.",
        "No [effect|influence] of {subject} on {topic} in {pop}.",
    ),
    "maybe": (
        "{subject} may {claim} {topic} in [some|selected] cases of {disease}.",
        "Uncertain [value|role] of {subject} for {topic} in {disease}.",
    ),
}

BACKGROUND: tuple[str, ...] = (
    "{topic} is a [common|frequent|serious] problem in {pop}.",
    "{disease} ({abbr}) is often complicated by changes in {topic}.",
    "The [role|value] of {subject} in {disease} is [unclear|debated|controversial].",
    "[Few studies have|Little work has] examined {subject} in {pop}.",
    "Data on {subject} and {topic} in {disease} are [scarce|limited|conflicting].",
    "[Early|Small] studies of {subject} in {disease} gave [mixed|promising|conflicting] results.",
    "{subject} has been [proposed|suggested] as a [target|factor] in {disease} ({abbr}).",
)
CELL_BACKGROUND: tuple[str, ...] = (
    "[Changes in|Abnormal] {topic} [contribute|are thought to contribute] to {disease} ({abbr}).",
    "The [role|function] of {subject} in {cells} is [unclear|unknown].",
    "{subject} is [highly expressed|present] in {cells} [but its function is unknown|].",
    "[Few studies have|Little work has] linked {subject} to {topic}.",
)
DIAGNOSTIC_BACKGROUND: tuple[str, ...] = (
    "The diagnosis of {disease} ({abbr}) is [often delayed|difficult].",
    "{rival} is the reference standard for {disease} but is [invasive|costly].",
    "The accuracy of {subject} in {disease} is [unknown|debated|unclear].",
)
OBJECTIVE: tuple[str, ...] = (
    "[We|This study] [investigated|examined|tested] whether {subject} [would|could] {claim} "
    "{topic} in {pop}.",
    "To [determine|assess|examine] whether {subject} {claims} {topic} in {pop}.",
    "To [evaluate|study] the [relation|link] between {subject} and {topic} in {disease}.",
    "The aim was to [evaluate|assess] {subject} in {pop} with respect to {topic}.",
)

METHODS: dict[str, tuple[str, ...]] = {
    "treatment": (
        "In a [randomised|double-blind] trial at {centres} centres, {n} {people} with {disease} "
        "received {subject} or {rival} for {months} months.",
        "{n} {people} with {disease} were [randomly assigned|randomised] to {subject} or {rival}; "
        "the primary end point was {the_outcome} at {months} months.",
        "We reviewed {n} {people} with {abbr} treated with {subject} or {rival} between "
        "{start} and {end}.",
    ),
    "intervention": (
        "{n} {people} with {disease} were [randomised|allocated] to {subject} or {rival}. "
        "{the_outcome} was [recorded|measured] at {months} months.",
        "A [controlled|cluster randomised] trial compared {subject} with {rival} in {n} {people} "
        "from {centres} centres.",
        "In a before-and-after study, {n} {people} were followed for {months} months.",
    ),
    "marker": (
        "{subject} was measured in {n} {people} with {disease}, who were followed for {months} "
        "months. Cox models were adjusted for age and sex.",
        "In a [prospective|retrospective] cohort of {n} {people} with {abbr}, {subject} was "
        "determined by [ELISA|immunoassay|real-time PCR].",
        "Samples from {n} {people} were tested, and {the_outcome} was compared across tertiles.",
    ),
    "variant": (
        "{n} {people} with {disease} were genotyped by [PCR|sequencing], and {the_outcome} was "
        "compared between carriers and non-carriers.",
        "This [case-control|cohort] study genotyped {n} {people} from {centres} centres.",
    ),
    "exposure": (
        "A [cohort|cross-sectional|case-control] study included {n} {people} with {disease} seen "
        "between {start} and {end}.",
        "{subject} was assessed by [questionnaire|interview] in {n} {people} with {abbr}, and "
        "logistic regression was adjusted for [age and sex|known confounders].",
        "Registry data on {n} {people} were linked to {the_outcome} at {months} months.",
    ),
    "cells": (
        "{subject} was silenced with siRNA in {cells}, and {topic} was measured after "
        "[24|48|72] h in {n} experiments.",
        "We used [CRISPR|shRNA] to [delete|silence] {subject} in {cells} and quantified {topic} by "
        "[flow cytometry|western blotting|microscopy].",
    ),
    "diagnostic": (
        "{n} {people} with suspected {disease} underwent {subject}; {rival} was the reference "
        "standard.",
        "We [prospectively|retrospectively] compared {subject} with {rival} in {n} {people}.",
    ),
    "equivalence": (
        "{n} {people} with {disease} were randomised to {subject} or {rival}; the margin for the "
        "difference in {topic} was {margin} points.",
        "A noninferiority trial (margin {margin} points) compared {subject} with {rival} in {n} "
        "{people}.",
    ),
}
CELL_METHODS: tuple[str, ...] = (
    "Rescue experiments used a silencing-resistant construct.",
    "{the_other_outcome} was measured in parallel.",
    "All experiments were repeated under {group_1} and {group_2}.",
    "Cells were obtained from donors with {disease} where stated.",
    "Statistical comparisons used [Student's t test|ANOVA|a linear mixed model].",
)
MORE_METHODS: tuple[str, ...] = (
    "[Analyses were|The analysis was] by intention to treat.",
    "The [primary|main] outcome was {the_outcome}, and {the_other_outcome} was secondary.",
    "Outcomes were assessed by [staff|raters] who did not know the [allocation|group].",
    "The mean age was {age} years, and {percent}% had a previous episode.",
    "Follow-up lasted {months} months.",
    "Missing data were handled by multiple imputation.",
    "Group differences were tested with [Student's t test|the chi-square test|mixed models].",
)
