"""A bound on how many tokens two texts can share, by 64 bits of each.

Each word has one of 64 bits, so a shared word is a shared bit. A text of ``n`` tokens with ``b`` different bits has at
most ``n - b`` tokens beyond the first of each bit; so two texts share at most ``n - b`` tokens more than bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_KEPT = np.dtype([("bits", np.uint64), ("wanting", np.float64)])
"""Of a kept text: its signature; and the shared bits that a repeat must have for this text's length, less its tokens
beyond its bits. They lie side by side, since the texts that are looked at lie anywhere."""


class Signatures:
    """The signatures of kept texts. A word is a code point.

    Args:
        threshold: F-measure in (0, 1] above which a text counts as a repeat.
    """

    def __init__(self, threshold: float) -> None:
        self._least_share = (threshold - 1e-9) / 2
        """Shared tokens, of all that two texts have, below which no rounding makes them repeats."""
        self._count = 0
        self._kept = np.empty(1_024, _KEPT)

    def add(self, encoded: str) -> None:
        """Append a text's signature."""
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
        bits = signature(encoded)
        self._kept[self._count] = bits, bits.bit_count() - (1 - self._least_share) * len(encoded)
        self._count += 1

    def renew(self, words: NDArray[np.uint32], lengths: NDArray[np.uint32]) -> None:
        """Make all signatures anew, of words that have other code points now.

        Args:
            words: code points of all texts, one text behind the other.
            lengths: words of each text.
        """
        bits = np.zeros(len(lengths), np.uint64)
        some = lengths > 0
        starts = (np.cumsum(lengths, dtype=np.int64) - lengths)[some]
        if some.any():
            bits[some] = np.bitwise_or.reduceat(np.uint64(1) << (words & 63).astype(np.uint64), starts)
        self._kept["bits"][: self._count] = bits
        self._kept["wanting"][: self._count] = np.bitwise_count(bits) - (1 - self._least_share) * lengths

    def reachable(self, encoded: str, positions: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return, for each of these kept texts, whether a text could share enough tokens with it."""
        kept = self._kept.take(positions)
        shared = np.bitwise_count(kept["bits"] & np.uint64(signature(encoded)))
        enough: NDArray[np.bool_] = shared >= kept["wanting"] + self._least_share * len(encoded)
        return enough


def signature(encoded: str) -> int:
    """Return 64 bits: a word's is its code point's rest, so that the 64 most frequent words differ."""
    bits = 0
    for word in encoded:
        bits |= 1 << (ord(word) & 63)
    return bits
