"""Moses' `tokenizer.perl -l en -a` with escapes, as parts of a `tokenizers` pipeline.

The parts go into tokenizer.json, so whoever loads that file has Moses without any code of ours:

    text -normalizer-> Moses tokens between blanks, in the byte alphabet -pre-tokenizer-> tokens

The Perl program rewrites the line with `s/(..)x(..)/$1 x $2/g`. A `Replace` normalizer has no
references to groups, so every rule here only ever inserts or exchanges a fixed string, at a place
that look-around describes. Where Perl's matches eat a neighbour, and the next match therefore
fails, a look-behind counts back to see whose turn it is. It looks back a bounded distance (REACH),
so that no text makes it slow. A newline ends a line, as it does for the program, and is a token of
its own.

Patterns begin with a literal or a class wherever they can: the search for a start is fast then.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenizers import Regex, decoders, normalizers, pre_tokenizers

from data_preprocessing.moses_characters import (
    DIGITS,
    LETTER_NUMBERS,
    LETTERS,
    LOWER_CASE,
    character_class,
)
from data_preprocessing.moses_prefixes import NON_BREAKING, NON_BREAKING_BEFORE_DIGITS

REACH = 16
"""How many links of a chain (`'a'a'a`, `,,,,`) a look-behind follows back."""
LONGEST_ABBREVIATION = 100
"""How many characters a look-behind goes back for the start of a word that ends in a period."""


class Rule(NamedTuple):
    """Everything that matches `pattern` becomes `content`."""

    name: str
    pattern: str
    content: str

    def normalizer(self) -> normalizers.Normalizer:
        return normalizers.Replace(Regex(self.pattern), self.content)

    def decoder(self) -> decoders.Decoder:
        return decoders.Replace(Regex(self.pattern), self.content)


# Python's \s, which the reference uses, without the blank and the newline.
_WHITE_SPACE = (
    r"[\t\x0B\f\r\x1C-\x1F\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}"
    r"\x{202F}\x{205F}\x{3000}]"
)
_CONTROL = r"[\x00-\x08\x0E-\x1B]"
# All but letters, digits and the five characters that can be inside a word.
_SYMBOL = rf"[^{character_class(LETTERS, DIGITS)} \n.'`,\-]"

# From here on symbols stand between blanks. A word then holds letters, digits and . ' ` , - only,
# and "not a digit, not one of these" says "letter" without the long table.
_DIGIT = character_class(DIGITS)
_NUMBER = character_class(DIGITS, LETTER_NUMBERS)
_LETTER = rf"[^{_DIGIT} .'`,\-\n]"
_LETTER_OR_DIGIT = r"[^ .'`,\-\n]"
_NO_LETTER = rf"[{_DIGIT} .'`,\-]"  # a blank counts, a line's end does not: something must be there
_NO_LETTER_NO_QUOTE = rf"[{_DIGIT} .`,\-]"


def _comma() -> str:
    """Commas to set apart: all but those with a digit behind them that the first match leaves.

    Perl looks for `[^number],` first, left to right, and each match eats both characters. In a run
    of commas it thus takes every second one, beginning with the first if a character that is no
    number stands before the run, and with the second otherwise.
    """
    other, pairs = rf"[^{_NUMBER},\n]", rf"(?:,,){{0,{REACH}}}"
    return rf",(?:(?![{_NUMBER}])|(?<={other}{pairs},)|(?<=(?:^|[{_NUMBER}]),{pairs},))"


def _apostrophe_apart() -> str:
    """Apostrophes that get a blank on both sides.

    Before a letter: if punctuation or a blank precedes. Before anything else: if a letter precedes,
    or if it is the turn of Perl's `[^letter]'[^letter]`, which eats three characters per match. Its
    search surely starts anew after a letter, at a line's start, and between two characters that are
    neither letters nor apostrophes; from there on the characters fall into the groups below.
    """
    x, y = _NO_LETTER, _NO_LETTER_NO_QUOTE
    groups = rf"(?:''{x}|{y}'{x}|'{y}'{x}){{0,{REACH}}}"
    turn = rf"(?:(?:^|{_LETTER}){groups}(?:'?{y}|')|{y}{y}'{x}{groups}(?:'?{y}|')|{y}{y})"
    before_letter = rf"(?={_LETTER})(?<=[ .'`,\-]')"
    before_other = rf"(?={x})(?<={_LETTER}'|{turn}')"
    return rf"'(?:{before_letter}|{before_other})"


def _apostrophe_of_contraction() -> str:
    """Apostrophes between letters (every second one in `a'b'c'd`), and those of `1990's`."""
    start = rf"(?:^|[^'\n]|(?:^|{_NO_LETTER})')"
    chain = rf"(?:'{_LETTER}'{_LETTER}){{0,{REACH}}}"
    return rf"'(?:(?={_LETTER})(?<={start}{_LETTER}{chain}')|(?=s)(?<=[{_NUMBER}]'))"


def _period() -> str:
    """Periods that end a sentence: the last character of a word, which is no abbreviation.

    It stays if the next word begins in lower case, if the word is a known prefix, or if the word
    has another period and a letter before it (`e.g.`, but not `1.5.`).
    """
    word_start = r"(?:^|[ \n])"
    ends_word = rf"(?=$| +[^{character_class(LOWER_CASE)} ])(?<=[^ .\n]\.)"
    prefix = rf"(?<!{word_start}(?:{'|'.join(NON_BREAKING)})\.)"
    numeric = rf"(?! +[0-9])|(?<!{word_start}(?:{'|'.join(NON_BREAKING_BEFORE_DIGITS)})\.)"
    no_other_period = rf"(?<!\.[^ .\n]{{0,{LONGEST_ABBREVIATION}}}\.)"
    no_letter = rf"(?<={word_start}[{_DIGIT}.'`,\-]{{1,{LONGEST_ABBREVIATION}}}\.)"
    return rf"\.{ends_word}{prefix}(?:{numeric})(?:{no_other_period}|{no_letter})"


RULES: tuple[Rule, ...] = (
    Rule("white space is a blank", _WHITE_SPACE, " "),
    Rule("one blank at a time", "  +", " "),
    Rule("control characters vanish", _CONTROL, ""),
    Rule("a line begins and ends with a word", r"^ +|(?<! ) ++$", ""),
    Rule("blank before a symbol, and before two or more periods",
         rf"(?={_SYMBOL})(?<=[^ \n])|(?=\.\.)(?<=[^ .\n])", " "),
    Rule("blank after them", rf"{_SYMBOL}\K(?=[^ \n])|\.(?<=\.\.)\K(?=[^ .\n])", " "),
    Rule("hyphen inside a word", rf"(?<={_LETTER_OR_DIGIT})-(?={_LETTER_OR_DIGIT})", " @-@ "),
    Rule("comma, except within a number", _comma(), " , "),
    Rule("period and quote that end a line", r"\.'$", " . '"),
    Rule("apostrophe by itself", _apostrophe_apart(), " ' "),
    Rule("apostrophe of a contraction", _apostrophe_of_contraction(), " '"),
    Rule("period that ends a sentence", _period(), " ."),
)  # fmt: skip
"""Moses' rules in its order, from a line to its tokens between blanks."""

ESCAPES: tuple[tuple[str, str], ...] = (
    ("&", "&amp;"),  # first, for the others bring in ampersands
    ("|", "&#124;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ("'", "&apos;"),
    ('"', "&quot;"),
    ("[", "&#91;"),
    ("]", "&#93;"),
)


def moses_normalizer() -> normalizers.Normalizer:
    """Text to Moses tokens in the byte alphabet, each word after a blank (`Ġ`), lines after `Ċ`.

    The bytes are mapped here, for the whole text, and not by the pre-tokenizer, word by word: that
    makes the whole pipeline nearly twice as fast.
    """
    return normalizers.Sequence(
        [
            *(rule.normalizer() for rule in RULES),
            *(normalizers.Replace(character, entity) for character, entity in ESCAPES),
            normalizers.Prepend(" "),  # the first word of a line has the same form as the others
            normalizers.Replace("\n", "\n "),
            normalizers.ByteLevel(),
        ]
    )


def moses_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Split normalized text into words, each with the one blank before it, and newlines."""
    return pre_tokenizers.Split(Regex("Ġ[^ĠĊ]+|Ċ"), behavior="removed", invert=True)


_IDEOGRAPH = r"[\p{Han}\p{Hiragana}\p{Katakana}]"

SPACING: tuple[Rule, ...] = (
    Rule("no blank before closing punctuation", r" (?=[,;:?!%)\]}’”…®™°*]|\.+(?: |$))", ""),
    Rule("contraction", r" (?='[^ \d'.,-])|(?<=’) (?=(?:d|ll|m|re|s|t|ve)(?: |$))", ""),
    Rule("possessive, prime (5')", r"(?<=[^ (\[–—/-]) (?=')", ""),
    Rule("no blank after opening brackets and the like", r"(?<=[(\[{“‘$£€#~]) ", ""),
    Rule("slash", " (?=/)|(?<=/) ", ""),
    Rule("dashes and other hyphens", " (?=[‐‑—])|(?<=[‐‑—]) ", ""),
    Rule("1–2 and 1·2", r"(?<=\d) (?=[·–] \d)|(?<=\d [·–]) (?=\d)", ""),
    Rule("minus", r"(?<=−) (?=\d)", ""),
    Rule("°C", "(?<=°) (?=[CFK](?:[^a-z]|$))", ""),
    Rule("plus (CD4+, but 1 + 2 and +/-)", r"(?<=[0-9A-Za-z]) (?=\+(?!/[-−]| \d))", ""),
    Rule("hyphen beside a bracket", r"(?<=[)\]%'’+®/]) (?=-)|(?<=[A-Za-z0-9)\]']-) (?=[(\[])", ""),
    Rule("ideographs", rf"(?<={_IDEOGRAPH}) (?={_IDEOGRAPH})", ""),
    Rule("text that was escaped before", "(?<=&) (?=(?:amp|apos|gt|lt|quot);)", ""),
    # A match reaches from a quotation mark to its partner, so the pairs are counted by the way.
    Rule("closing quotation mark", r'"[^"\n]*\K "', '"'),
    Rule("opening quotation mark", r'(?:^|(?<=[ (\[]))" ', '"'),
)  # fmt: skip
"""Where biomedical text has no blank between two tokens, by what is more frequent in it."""


def moses_decoder() -> decoders.Decoder:
    """Bytes to text, escapes and `@-@` undone, blanks removed where text usually has none.

    Apart from white space and control characters the decoded text is the encoded one. White space
    that Moses has inserted cannot be told from what was there; SPACING guesses.
    """
    return decoders.Sequence(
        [
            decoders.ByteLevel(),
            Rule("first word of a line", "^ ", "").decoder(),
            decoders.Replace(" @-@ ", "-"),
            *(decoders.Replace(entity, character) for character, entity in reversed(ESCAPES)),
            *(rule.decoder() for rule in SPACING),
        ]
    )


def moses_tokens(text: str) -> list[str]:
    """The pre-tokens of `text` in Moses' form, a newline being the token `"\\n"`."""
    pieces = _PRE_TOKENIZER.pre_tokenize_str(_NORMALIZER.normalize_str(text))
    return [_BYTES.decode([piece]).removeprefix(" ") for piece, _ in pieces]


_NORMALIZER = moses_normalizer()
_PRE_TOKENIZER = moses_pre_tokenizer()
_BYTES = decoders.ByteLevel()
