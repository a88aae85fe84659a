"""Copyright notices that publishers and databases leave at the end of an abstract."""

import re

_LONGEST = 400
"""No notice is longer; what stands further from the end is not looked at."""
# Nearly every paragraph has none of them; to look for words is faster than to match an expression.
_SIGNS = (
    *("©", "opyright", "reserved", "(c)", "(C)", "Published ", "RESERVED", "public domain"),
    "Creative Commons",
)

# "(PsycInfo Database Record (c) 2020 APA, all rights reserved).", and its older forms.
_DATABASE = re.compile(
    r"\s*(?:\(\s*Psyc[A-Za-z]+ Database Record\s*)?(?:©|\(\s*c\s*\))?\s*\b(?:19|20)\d\d\s+"
    r"(?:APA|American Psychological Association),?\s+all rights reserved\s*[.)]*"
    r"(?:\s*\(journal abstract\))?\s*\.?\Z",
    re.IGNORECASE,
)

# "Wiley Periodicals, Inc. © 2019"
_COMPANY = r"(?:(?:[A-Z][\w'-]*\.?|&|and|of),?\s+){1,6}(?:Inc|Ltd|Limited|LLC|GmbH)\.?\s+"
# A notice begins where a sentence may.
_OPENING = re.compile(
    r"(?:\A|(?<=[.?!)\]”\"’'*]))\s*(?:"
    rf"(?:Crown )?Copyright\b|©|{_COMPANY}(?=©|Copyright\b)|(?:\([cC]\)\s*|c)(?:19|20)\d\d\b|"
    r"Published (?:(?:19|20)\d\d )?by |Creative Commons |"
    r"This article is (?:protected by copyright|a U\.? ?S\.? Government work)|"
    r"(?i:all rights reserved)|(?:19|20)\d\d,? [A-Z].*\b[Rr]ights reserved)"
)
# Then it is names and numbers; of words in lower case it has only these.
_KNOWN = re.compile(
    "a|al|all|also|an|and|any|article|at|authors?'?|available|behalf|by|copyright|de|der|des|"
    "distributed|du|e-mail|editorial|email|et|exclusive|for|government|holder|in|is|issue|journal|"
    "la|licen[cs]ed?|licensee|material|of|on|online|open|access|or|part|permissions?|please|"
    "protected|public|domain|published|publisher|publishing|queries|reserved|rights|supplemental|"
    "terms|the|this|to|und|under|van|von|work"
)
_WORD = re.compile(r"(?<![^\W_])[^\W\d_][\w'-]*")
# "(c)", "c2001", "Author(s)", addresses, and a publisher's sentence with verbs.
_NO_WORDS = re.compile(
    r"\([cs]\)|\bc(?=\d{4}\b)|\S+@\S+|https?://\S+|"
    r"For permission to use \(where not already granted under a licen[cs]e\),? please go to"
)
_RIGHTS = re.compile(
    r"rights reserved|protected by copyright|public domain|Creative Commons .*licen[cs]e",
    re.IGNORECASE,
)
_SIGNED = re.compile(r"©|copyright", re.IGNORECASE)
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_HOLDER = re.compile(
    r"\b(?:Inc|Ltd|Limited|LLC|B\.? ?V|AG|GmbH|KG|SAS|Press|Publish(?:er|ers|ing)|Elsevier|Wiley|"
    r"Springer|Karger|Thieme|Verlag|Society|Association|College|Academy|University|Foundation|"
    r"Authors?|RSNA|AAAS|ASME)\b"
)


def without_notice(text: str) -> str:
    """Return a paragraph of an abstract without the copyright notice at its end, if it has one.

    A notice begins a sentence with a sign of its own ("©", "Copyright", "All rights reserved",
    "(c) 2001", "Published by") or a company before the sign, and up to the end names holder and
    year in capitals, numbers and a short list of other words; a sentence about copyright has a verb
    that is not on it.
    """
    start = max(0, len(text) - _LONGEST)
    end = text[start:]
    if not any(sign in end for sign in _SIGNS):
        return text
    if database := _DATABASE.search(text, start):
        kept = text[: database.start()].rstrip()
        # "... are discussed (PsycInfo ...)." has its stop behind the notice.
        return kept + "." if kept[-1:].isalnum() and text.endswith(".") else kept
    for opening in _OPENING.finditer(text, start):
        if _is_notice(text[opening.start() :]):
            return text[: opening.start()].rstrip()
    return text


def _is_notice(text: str) -> bool:
    words = _WORD.findall(_NO_WORDS.sub("", text))
    if any(not (word[0].isupper() or _KNOWN.fullmatch(word)) for word in words):
        return False
    if _RIGHTS.search(text):
        return True
    named = _HOLDER.search(text) is not None
    return named or (_SIGNED.search(text) is not None and _YEAR.search(text) is not None)
