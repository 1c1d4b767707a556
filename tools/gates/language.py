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


def other_language(text: str) -> str | None:
    """Return the language of a text that is not English; ``None`` for English, and for a text too short to tell.

    Returns:
        A code such as ``de``, of the nearest language that the detector knows, or ``ANOTHER_SCRIPT`` where over 30% of
        the letters are not Latin.
    """
    letters = [letter for letter in text[:2000] if letter.isalpha()]
    foreign = sum(not letter.isascii() and not _is_latin(letter) for letter in letters)
    if len(letters) >= _FEWEST_LETTERS and foreign > _OTHER_SCRIPT_SHARE * len(letters):
        return ANOTHER_SCRIPT
    words = _WORD.findall(_without_quotes(text[:2000]).lower())
    if len(words) < _FEWEST_WORDS or sum(word in _ENGLISH for word in words) >= _ENGLISH_SHARE * len(words):
        return None
    return _detected(" ".join(words))


def _detected(text: str) -> str | None:
    if _probabilities(text, quick=True)["en"] >= _DOUBTFUL:
        return None
    found = _probabilities(text, quick=False)
    return None if found["en"] >= _FOREIGN else max(found, key=lambda code: found[code])


def _probabilities(text: str, *, quick: bool) -> dict[str, float]:
    """Return each language's probability, by its ISO 639-1 code."""
    values = _detector(quick).compute_language_confidence_values(text)
    return {value.language.iso_code_639_1.name.lower(): value.value for value in values}


@cache
def _detector(quick: bool) -> LanguageDetector:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [IsoCode639_1.from_str(code) for code in _LANGUAGES]
    builder = LanguageDetectorBuilder.from_iso_codes_639_1(*codes)
    return (builder.with_low_accuracy_mode() if quick else builder).build()


def _without_quotes(text: str) -> str:
    """Leave out what stands in quotation marks: an English instruction may quote the text to translate."""
    return re.sub(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|'[^']{12,}'", " ", text)


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")
