"""Is a text English? A cheap test first, a statistical detector only where that test does not decide.

Words such as "the", "which" and "describe" occur in few other languages, and nearly every instruction has one: they
decide in microseconds (all but 35 of 9,229 instructions of Alpaca). The rest goes to lingua, and only when it has
enough words to be trusted: to its small models (48 MB), and where those doubt, to its large ones, which take 2.7
CPU-seconds and 317 MB once. Of 38 short instructions in 21 other languages lingua told 37, langdetect 33; of 60 English
ones without a word of the list lingua called none foreign, langdetect one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lingua import LanguageDetector

ANOTHER_SCRIPT = "another script"
_ENGLISH = frozenset(
    "the and to of with this that these those from how what which who when where why your you my are were does can "
    "could would should their there has have between about into each any some it's for given following using "
    "give write make list name find explain describe create generate suggest identify compose provide classify "
    "rewrite compare summarize summarise calculate convert determine develop construct analyze edit recommend tell "
    "design evaluate please english".split()
)
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH_SHARE, _FEWEST_WORDS = 0.1, 5
_OTHER_SCRIPT_SHARE, _FEWEST_LETTERS = 0.3, 4
_LANGUAGES = ("EN", "DE", "ES", "FI", "FR", "ID", "IT", "NL", "PL", "SV", "TR", "VI")
"""What the detector knows, one or more of each family in Latin letters: a language beside them is taken for the
nearest, and each costs 25 MB."""
_DOUBTFUL, _FOREIGN = 0.3, 0.15
"""Probability of English under which the small models doubt, and under which the large ones call a text foreign."""
_CERTAINLY_FOREIGN = 0.05
"""Probability of another wanted language under which the small models call a text foreign."""


SCRIPTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("zh",), ("CJK",)),
    **dict.fromkeys(("ja",), ("CJK", "HIRAGANA", "KATAKANA")),
    **dict.fromkeys(("ko",), ("HANGUL", "CJK")),
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "sr", "kk", "mn"), ("CYRILLIC",)),
    **dict.fromkeys(("ar", "fa", "ur"), ("ARABIC",)),
    **dict.fromkeys(("hi", "mr"), ("DEVANAGARI",)),
    "el": ("GREEK",), "he": ("HEBREW",), "th": ("THAI",), "hy": ("ARMENIAN",), "ka": ("GEORGIAN",),
    "bn": ("BENGALI",), "ta": ("TAMIL",), "te": ("TELUGU",), "gu": ("GUJARATI",), "pa": ("GURMUKHI",),
}  # fmt: skip
"""How the names of a language's letters begin in Unicode; one that is not here is written in Latin letters."""


def known_language(code: str) -> bool:
    """Return whether a language can be told: by lingua, or by its script."""
    from lingua import IsoCode639_1

    return code in SCRIPTS or (len(code) == 2 and code.isalpha() and hasattr(IsoCode639_1, code.upper()))


def other_language(text: str, wanted: str = "en") -> str | None:
    """Return the language of a text that is not the wanted one; ``None`` for that, and for a text too short to tell.

    Args:
        text: any text.
        wanted: a code of ISO 639-1. Of languages in a script other than Latin only the script is looked at.

    Returns:
        A code such as ``de``, of the nearest language that the detector knows, or ``ANOTHER_SCRIPT`` where over 30% of
        the letters are not Latin.
    """
    if wanted != "en":
        return _other_than(wanted, text[:2000])
    letters = [letter for letter in text[:2000] if letter.isalpha()]
    foreign = sum(not letter.isascii() and not _is_latin(letter) for letter in letters)
    if len(letters) >= _FEWEST_LETTERS and foreign > _OTHER_SCRIPT_SHARE * len(letters):
        return ANOTHER_SCRIPT
    words = _WORD.findall(_without_quotes(text[:2000]).lower())
    if len(words) < _FEWEST_WORDS or sum(word in _ENGLISH for word in words) >= _ENGLISH_SHARE * len(words):
        return None
    return _detected(" ".join(words))


def _other_than(wanted: str, text: str) -> str | None:
    letters = [letter for letter in _without_quotes(text) if letter.isalpha()]
    heads = SCRIPTS.get(wanted, ("LATIN",))
    foreign = sum(not unicodedata.name(letter, "").startswith(heads) for letter in letters)
    # A text of another script may have names and terms in Latin letters, which are many letters for few words.
    allowed = _OTHER_SCRIPT_SHARE if heads == ("LATIN",) else 1 - _OTHER_SCRIPT_SHARE
    if len(letters) >= _FEWEST_LETTERS and foreign > allowed * len(letters):
        return ANOTHER_SCRIPT
    words = _WORD.findall(_without_quotes(text).lower())
    if heads != ("LATIN",) or len(words) < _FEWEST_WORDS:
        return None
    # The large models, of which each language would need its own set, are for English alone: here doubt is no fault.
    found = _probabilities(" ".join(words), quick=True, also=wanted)
    return None if found[wanted] >= _CERTAINLY_FOREIGN else max(found, key=lambda code: found[code])


def _detected(text: str) -> str | None:
    if _probabilities(text, quick=True)["en"] >= _DOUBTFUL:
        return None
    found = _probabilities(text, quick=False)
    return None if found["en"] >= _FOREIGN else max(found, key=lambda code: found[code])


def _probabilities(text: str, *, quick: bool, also: str = "en") -> dict[str, float]:
    """Return each language's probability, by its ISO 639-1 code; ``also`` is one of them."""
    values = _detector(quick, also).compute_language_confidence_values(text)
    return {value.language.iso_code_639_1.name.lower(): value.value for value in values}


@cache
def _detector(quick: bool, also: str) -> LanguageDetector:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [IsoCode639_1.from_str(code) for code in {*_LANGUAGES, also.upper()}]
    builder = LanguageDetectorBuilder.from_iso_codes_639_1(*codes)
    return (builder.with_low_accuracy_mode() if quick else builder).build()


def _without_quotes(text: str) -> str:
    """Leave out what stands in quotation marks: an English instruction may quote the text to translate."""
    return re.sub(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|'[^']{12,}'", " ", text)


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")
