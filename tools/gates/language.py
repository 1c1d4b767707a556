"""Is a text English? A cheap test first, a statistical detector only where that test does not decide.

Words such as "the", "which" and "describe" occur in few other languages, and nearly every instruction has one: they
decide in microseconds. The rest goes to langdetect (a port of Google's language-detection; one millisecond), with its
seed fixed, and only when it has enough words to be trusted.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

ANOTHER_SCRIPT = "another script"
_ENGLISH = frozenset(
    "the and to of with this that these those from how what which who when where why your you my are were does can "
    "could would should their there has have between about into each any some it's for given following using "
    "give write make list name find explain describe create generate suggest identify compose provide classify "
    "rewrite compare summarize summarise calculate convert determine develop construct analyze edit recommend tell "
    "design evaluate".split()
)
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH_SHARE, _FEWEST_WORDS, _SURE = 0.1, 5, 0.99
_OTHER_SCRIPT_SHARE, _FEWEST_LETTERS = 0.3, 4


def other_language(text: str) -> str | None:
    """Return the language of a text that is not English; ``None`` for English, and for a text too short to tell.

    Returns:
        A code such as ``de``, or ``ANOTHER_SCRIPT`` where over 30% of the letters are not Latin.
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
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    DetectorFactory.seed = 0
    try:
        best = detect_langs(text)[0]
    except LangDetectException:
        return None
    return str(best.lang) if best.lang != "en" and best.prob >= _SURE else None


def _without_quotes(text: str) -> str:
    """Leave out what stands in quotation marks: an English instruction may quote the text to translate."""
    return re.sub(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|'[^']{12,}'", " ", text)


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")
