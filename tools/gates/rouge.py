"""ROUGE-L as ``rouge_score`` 0.1.2 computes it, down to the last bit of its floating point.

The diversity gate only asks whether the F-measure is above the threshold. The question is inverted here: for two
lengths, ``least_lcs`` is the shortest common subsequence at which the answer is yes. Whole numbers are then enough, and
a library that counts subsequences quickly can decide. The float formula is kept in its original order of operations
because it settles the ties: 7 of 9 and 11 tokens is a true F of 0.7 that comes out just above it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_WORDS = re.compile("[a-z0-9]+")
_SPACELESS = (
    r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    r"\U00020000-\U0003ffff"
)
"""Kana, Han, Thai, Lao, Burmese and Khmer: scripts that set no spaces between words."""
_ANY_WORDS = re.compile(rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])[^\W_])+")


def tokens(text: str) -> list[str]:
    """Split a text into lower-case runs of ``a-z0-9``: ``rouge_score``'s tokenizer without its stemmer."""
    return _WORDS.findall(text.lower())


def tokens_of_any_script(text: str) -> list[str]:
    """Split a text into lower-case words of any script, and where a script has no spaces into letters."""
    return _ANY_WORDS.findall(unicodedata.normalize("NFC", text).lower())


def sees(text: str) -> bool:
    """Return whether ``rouge_score``'s tokenizer sees at least half of a text's letters and digits."""
    there = sum(map(str.isalnum, text))
    return 2 * sum(map(len, tokens(text))) >= there


def f_measure(lcs: int, m: int, n: int) -> float:
    """Return ROUGE-L's F-measure in [0, 1] of two texts of ``m`` and ``n`` tokens that share ``lcs`` in order.

    The formula is ``2pr / (p + r)`` with ``p = lcs / n`` and ``r = lcs / m`` (Lin, 2004), in ``rouge_score``'s order of
    operations. Symmetric in ``m`` and ``n``; 0 where nothing is shared.
    """
    if lcs == 0:
        return 0.0
    precision, recall = lcs / n, lcs / m
    return 2 * precision * recall / (precision + recall)


@lru_cache(maxsize=1 << 16)
def least_lcs(m: int, n: int, threshold: float) -> int:
    """Return the least LCS at which texts of ``m`` and ``n`` tokens score above ``threshold``.

    More than ``min(m, n)`` means that no pair of these lengths can. ``m`` and ``n`` are at least 1.
    """
    shared = max(1, int(threshold * (m + n) / 2) - 1)
    while shared <= min(m, n) and f_measure(shared, m, n) <= threshold:
        shared += 1
    return shared


@lru_cache(maxsize=1 << 12)
def least_shared(m: int, threshold: float) -> int:
    """Return how many tokens any text must share with one of ``m`` tokens to score above ``threshold``.

    The cheapest partner is one that lies wholly inside, so this is the least ``a`` for which lengths ``m`` and ``a``
    with an LCS of ``a`` score above the threshold; ``m + 1`` where even an equal text does not.
    """
    shared = max(1, int(threshold * m / (2 - threshold)) - 1)
    while shared <= m and f_measure(shared, m, shared) <= threshold:
        shared += 1
    return shared
