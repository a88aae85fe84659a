"""English words that keep the period that follows them, as Moses knows them.

Words with a period inside (`i.e`, `U.S`) are not listed: a rule covers all of them.
"""

from __future__ import annotations

from string import ascii_uppercase

# Ranks, titles and forms of address.
_TITLES = """
Adj Adm Adv Asst Bart Brig Bros Capt Cmdr Col Comdr Con Corp Cpl DR Dr Drs Ens Gen Gov Hon Hr Insp
Lt MM MR MRS MS Maj Messrs Mlle Mme Mr Mrs Ms Msgr Ord Pfc Ph Prof Pvt Rep Reps Res Rev Rt Sen Sens
Sfc Sgt Sr St Supt Surg
"""
# Neither May, which is a word, nor Sept.
_MONTHS = "Jan Feb Mar Apr Jun Jul Aug Sep Oct Nov Dec"
_OTHERS = "Bldg Hosp Op Nos Nr Rs rev v vs"

# A single capital is taken for an initial: `J. Smith`, but `vitamin E.` at a line's end as well.
NON_BREAKING = (*ascii_uppercase, *_TITLES.split(), *_MONTHS.split(), *_OTHERS.split())

NON_BREAKING_BEFORE_DIGITS = ("Art", "No", "pp")
"""These keep it only where the next word begins with a digit: `No. 5`, but `I said No .`"""
