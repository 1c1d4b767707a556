"""64 bits that bound how many tokens two texts can share.

Each occurrence of a word has one of the bits, its second another than its first. What two texts share has the same bits
in both. So a text of ``m`` tokens with ``b`` bits shares at most ``m - b`` tokens more than it shares bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_LAST_BIT = 63
_AGAIN = 29
"""Bits between a word's occurrences: odd, so that 64 of one word have 64 bits."""


def signatures(ordered: Iterable[str]) -> list[int]:
    """Return, for each word, the bits of all words up to it.

    Args:
        ordered: words, each a code point, equal ones side by side.
    """
    found, bits, last, number = [], 0, "", 0
    for word in ordered:
        number = number + _AGAIN if word == last else ord(word)
        bits |= 1 << (number & _LAST_BIT)
        found.append(bits)
        last = word
    return found


def bits_of(words: NDArray[np.int64], occurrences: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the bit of each word of some texts.

    Args:
        words: code points.
        occurrences: how often each word stood in its text before.
    """
    numbers = (words + _AGAIN * occurrences) & _LAST_BIT
    return np.uint64(1) << numbers.astype(np.uint64)
