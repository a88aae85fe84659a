"""How a finding is told: templates of results and conclusions by verdict (grammar.py).

Each verdict has many wordings and the verdicts share words ("significant", "no difference",
"although"), so that no single word gives the answer away.
"""

_CLAIM_YES = (
    "{the_outcome} was [significantly|markedly|clearly|] {more} in {a} than in {b} {stats}.",
    "Compared with {b}, {a} had [a significantly|a markedly|a] {more} {outcome} {stats}.",
    "There was a [significant|strong|clear] difference in {the_outcome} between {a} and {b} "
    "{stats}[, in the expected direction|].",
    "After adjustment for age and sex, {subject} [remained|was] [significantly|independently] "
    "associated with {the_outcome} {stats}.",
    "{the_outcome} [differed significantly|differed] between {a} and {b} ({values}, {p}), and this "
    "[did not change|was not altered] after adjustment.",
    "[In {a}|Among {a}], {the_outcome} was {more} ({values}; {p}), with no [sign|evidence] of "
    "heterogeneity across centres.",
    "{the_outcome} was {values} in {a} and {b}, respectively ({p}).",
)
_CLAIM_NO = (
    "{the_outcome} did not differ [significantly|] between {a} and {b} {stats}.",
    "There was no [significant|] difference in {the_outcome} between {a} and {b} {stats}.",
    "{the_outcome} was [similar|comparable|almost the same] in {a} and {b} {stats}.",
    "No [significant|] association was found between {subject} and {the_outcome} {stats}.",
    "{subject} was not [significantly|independently|] associated with {the_outcome} {stats}.",
    "Although {the_outcome} was slightly {more} in {a} than in {b}, the difference was [small and "
    "not significant|not significant] {stats}.",
    "{the_outcome} changed significantly over time in [both|all] groups ({strong_p}), without a "
    "difference between {a} and {b} {stats}.",
    "{the_outcome} was {values} in {a} and {b}, respectively ({p}).",
)
_BORDERLINE = (
    "{the_outcome} tended to be {more} in {a} than in {b}, but [this did not reach|the difference "
    "just missed] significance {stats}.",
    "There was a trend towards a {more} {outcome} in {a} {stats}.",
    "The difference in {the_outcome} between {a} and {b} was of borderline significance {stats}.",
    "{a} had a numerically {more} {outcome} than {b} ({values}), [of borderline|with borderline] "
    "significance ({p}).",
)
_SUBGROUP = (
    "{the_outcome} was [significantly|] {more} in {a} in {group_1} ({p}), but not in {group_2} "
    "({p_2}).",
    "In {group_1}, {a} had a {more} {outcome} than {b} {stats}, whereas no difference was seen in "
    "{group_2} ({p_2}).",
    "A [significant|clear] difference between {a} and {b} was limited to {group_1} {stats}; "
    "results in {group_2} were inconsistent ({p_2}).",
)
_ADJUSTED = (
    "In the unadjusted analysis {the_outcome} was {more} in {a} ({p}), but the association was "
    "[attenuated|weakened] after adjustment ({p_2}).",
    "The difference in {the_outcome} was significant in the per-protocol analysis ({p}) but not by "
    "intention to treat ({p_2}).",
    "{subject} was associated with {the_outcome} in univariate analysis {stats}, but only partly "
    "after adjustment for confounders ({effect_2}).",
)
_SMALL = (
    "Only {n} of {planned} planned {units} were included, and {the_outcome} was {more} in {a} with "
    "a wide interval {stats}.",
    "{the_outcome} was {more} in {a} than in {b} {stats}, but the study was stopped early and "
    "underpowered.",
)
MAIN_RESULT: dict[tuple[str, str], tuple[str, ...]] = {
    ("yes", "plain"): _CLAIM_YES,
    ("yes", "adjusted"): (
        "In the unadjusted analysis {the_outcome} was {more} in {a} ({p}), and the association "
        "[persisted|remained significant] after adjustment ({p_2}).",
        "{the_outcome} was {more} in {a} in both {group_1} ({p}) and {group_2} ({p_2}).",
    ),
    ("no", "null"): _CLAIM_NO,
    ("no", "reverse"): (
        "Contrary to expectation, {the_outcome} was {less} in {a} than in {b} {stats}.",
        "Unexpectedly, {a} had a significantly {less} {outcome} than {b} {stats}.",
    ),
    ("maybe", "borderline"): _BORDERLINE,
    ("maybe", "subgroup"): _SUBGROUP,
    ("maybe", "adjusted"): _ADJUSTED,
    ("maybe", "small"): _SMALL,
}
SUPPORT: dict[str, tuple[str, ...]] = {  # a second sentence that agrees with the verdict
    "yes": (
        "The effect was [consistent|similar] in [all subgroups|{group_1} and {group_2}].",
        "{the_other_outcome} also [differed|changed] ({strong_p}).",
        "A dose-response relation was [evident|seen] ({strong_p}).",
        "The [result|finding] [persisted|was confirmed] in sensitivity analyses.",
    ),
    "no": (
        "{the_other_outcome} was [also similar|also unchanged|no different] ({noise_p}).",
        "Results were [unchanged|the same] in [all subgroups|{group_1} and {group_2}].",
        "No dose-response relation was [evident|seen] ({noise_p}).",
        "Adjustment for confounders did not alter this [null|] [result|finding].",
    ),
    "maybe": (
        "{the_other_outcome} [was unchanged|did not follow the same pattern] ({noise_p}).",
        "Results varied [across centres|between analyses].",
        "The finding was [sensitive|not robust] to the choice of model.",
        "The confidence interval [was wide|included both benefit and no effect].",
    ),
}
CELL_NEUTRAL: tuple[str, ...] = (
    "Cell viability did not differ between conditions ({noise_p}).",
    "{other_topic} was significantly [higher|lower] under {group_1} than under {group_2} "
    "({strong_p}).",
    "Silencing efficiency was {percent}%.",
    "There was no difference in passage number ({noise_p}).",
)
NEUTRAL_RESULT: tuple[str, ...] = (  # says nothing about the question
    "[Adverse events|Side effects] [did not differ|were similar] between groups ({noise_p}).",
    "Older age was [significantly|independently] associated with {other_topic} ({strong_p}).",
    "There was no difference in age or sex between the groups ({noise_p}).",
    "{other_topic} was significantly more common in {group_1} than in {group_2} ({strong_p}).",
    "[Follow-up was complete in|Data were available for] {percent}% [of cases|].",
    "No serious [harm|complication] was observed.",
)

DIAGNOSTIC_RESULT: dict[str, tuple[str, ...]] = {
    "yes": (
        "{subject} had a sensitivity of {sensitivity}% and a specificity of {specificity}%, with "
        "an AUC of {auc} ({auc_ci}).",
        "The AUC was {auc} ({auc_ci}), and agreement with {rival} was [excellent|high].",
    ),
    "no": (
        "{subject} had a sensitivity of only {sensitivity}% and a specificity of {specificity}% "
        "(AUC {auc}, {auc_ci}).",
        "The AUC was {auc} ({auc_ci}), no better than chance.",
        "Results did not differ between cases and controls (AUC {auc}; {noise_p}).",
    ),
    "maybe": (
        "Specificity was high ({specificity}%), but sensitivity was only {sensitivity}% (AUC "
        "{auc}, {auc_ci}).",
        "The AUC was moderate ({auc}; {auc_ci}) and varied between {group_1} and {group_2}.",
    ),
}
EQUIVALENCE_RESULT: dict[str, tuple[str, ...]] = {
    "yes": (
        "The difference in {the_outcome} was {gap} points, and the upper bound ({bound}) was "
        "within the margin of {margin}.",
        "{the_outcome} was similar; noninferiority was [shown|established] (upper bound {bound}).",
    ),
    "no": (
        "{the_outcome} was worse with {subject}: the difference of {gap} points exceeded the "
        "margin of {margin} ({strong_p}).",
        "Noninferiority was not [shown|met] (difference {gap}, upper bound {bound}), and {rival} "
        "was superior ({strong_p}).",
    ),
    "maybe": (
        "The difference in {the_outcome} was {gap} points, but the upper bound ({bound}) crossed "
        "the margin of {margin}.",
        "{the_outcome} was similar, yet the interval (upper bound {bound}) was too wide to "
        "establish noninferiority.",
    ),
}

CONCLUSIONS: dict[str, tuple[str, ...]] = {
    "yes": (
        "{subject} {claims} {topic} in {pop}.",
        "[These|Our] [data|results|findings] [show|indicate|confirm] that {subject} {claims} "
        "{topic} in {disease}.",
        "{subject} [clearly|consistently] {claims} {topic} in {pop} and [deserves further "
        "attention|should be studied in other settings].",
        "In {pop}, {subject} {claims} {topic}.",
    ),
    "no": (
        "{subject} does not {claim} {topic} in {pop}.",
        "[These|Our] [data|results|findings] [do not support|give no support for] the [view|idea] "
        "that {subject} {claims} {topic} in {disease}.",
        "We found no evidence that {subject} {claims} {topic} in {pop}.",
        "In {pop}, {subject} [has no effect on|is unrelated to] {topic}.",
    ),
    "maybe": (
        "{subject} may {claim} {topic} in some cases of {disease}, but [larger studies are "
        "needed|the evidence is not conclusive].",
        "Whether {subject} {claims} {topic} in {disease} remains uncertain.",
        "[These|Our] [data|results|findings] are inconclusive as to whether {subject} {claims} "
        "{topic} in {disease}.",
        "{subject} might {claim} {topic} in [selected cases|certain subgroups]; [confirmation is "
        "required|further trials are warranted].",
    ),
}
FAMILY_CONCLUSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("diagnostic", "yes"): (
        "{subject} is [an accurate|a reliable] test for {disease}.",
        "{subject} reliably {claims} {disease} and can replace {rival} in many cases.",
    ),
    ("diagnostic", "no"): (
        "{subject} is not useful in the diagnosis of {disease}.",
        "{subject} does not {claim} {disease} and cannot replace {rival}.",
    ),
    ("diagnostic", "maybe"): (
        "{subject} may help to rule in {disease}, but it is uncertain whether it can replace "
        "{rival}.",
        "The value of {subject} in {disease} remains uncertain.",
    ),
    ("equivalence", "yes"): (
        "{subject} is as effective as {rival} with regard to {topic} in {disease}.",
        "{subject} can replace {rival} in {pop}.",
    ),
    ("equivalence", "no"): (
        "{subject} is not as effective as {rival} in {disease}.",
        "{subject} should not replace {rival} in {pop}.",
    ),
    ("equivalence", "maybe"): (
        "It remains uncertain whether {subject} is as effective as {rival} in {disease}.",
        "{subject} may be an alternative to {rival}, but equivalence is not established.",
    ),
}
