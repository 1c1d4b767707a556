"""The diversity index's postings: which kept texts could share enough tokens with a new one?

Two texts of ``m`` and ``n`` tokens that share ``a`` of them have a rarest common word. Whatever else they share is no
rarer: with their tokens sorted, the rarest first, it stands behind, so that word is at most at place ``m - a`` of the
one and at most at ``n - a`` of the other, counted from 0. Three filters come of this, and none drops a true repeat:

1. Only the rarest words of a text are noted and looked up (the prefix filter; Chaudhuri, Ganti and Kaushik, ICDE 2006).
2. A word's place in the new text says how long a kept one may be (the positional filter; Xiao, Wang, Lin and Yu,
   PPJoin, WWW 2008). A word's notes are sorted by length, so that those lie side by side.
3. A note has the bits of the words that stand at the noted one and behind it. The new text must share as many of them
   as the two lengths need tokens. One pass over the notes of all looked-up words decides that. Of a long text nearly
   all bits are set; there the place of the word in the kept text says how long the new one may be.

Any one order of all words is right; in the order of their counts the postings are shortest. New notes go to short
arrays, one a word; now and then the index brings its words into order and packs all notes into one long array.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.gates.rouge import least_shared
from tools.gates.signatures import bits_of, signatures

LONGEST = 0xFF
"""Tokens from which texts count as equally long: the filters let more through then, and drop nothing."""
_BLOCK = 32_768
"""Texts whose words are sorted together, for the memory."""
_FEW, _LONG = 16, 256
"""Notes up to which none is left out, since that costs more, and from which a word's notes are chosen by length."""

_NOTE = struct.Struct("QIBxH")
_NOTES = np.dtype([("bits", np.uint64), ("position", np.uint32), ("length", np.uint8), ("room", np.uint16)], align=True)
"""A note: bits of the words from the noted one on, the text's position and its length up to ``LONGEST``, and its room:
the most tokens that the other text may have, up to ``_MOST``, if the words from the noted one on are all they share."""
_MOST = 0xFFFF
_DENSE = 32
"""Tokens from which so many bits are set that a note's room tells more."""
_LENGTH_BITS = 8

Numbers = NDArray[np.int64]


class Postings:
    """The rarest words of kept texts, each with the texts that have it.

    A word is a code point, and a greater one is rarer.

    Args:
        threshold: F-measure in (0, 1] above which a text counts as a repeat.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._added: dict[str, bytearray] = {}
        self._starts = [0]
        self._packed = memoryview(b"")
        self._lengths = b""

    def add(self, position: int, encoded: str) -> None:
        """Note the rarest words of a text.

        Args:
            position: the text's, in [0, 2**32).
            encoded: its words, at least one.
        """
        ordered, length, last = sorted(encoded), min(len(encoded), LONGEST), ""
        bits, added = signatures(ordered), self._added
        rooms = limits_of(len(encoded), self._threshold).most
        for word, shared, room in zip(reversed(ordered), reversed(bits), rooms, strict=False):
            if word != last:
                note = _NOTE.pack(shared, position, length, room)
                if (notes := added.get(word)) is None:
                    added[word] = bytearray(note)
                else:
                    notes += note
                last = word

    def candidates(self, encoded: str) -> list[int]:
        """Return the texts that could be repeated, in no order, perhaps more than once.

        Args:
            encoded: a text's words, at least one.
        """
        limits, starts, known = limits_of(len(encoded), self._threshold), self._starts, len(self._starts) - 1
        ordered, last = sorted(encoded), ""
        found: list[bytearray | memoryview] = []
        for word, most in zip(reversed(ordered), limits.most, strict=False):
            if word == last:
                continue
            last, number = word, ord(word)
            if number < known and (start := starts[number]) < (end := starts[number + 1]):
                if end - start >= _LONG:
                    start = bisect_left(self._lengths, limits.least, start, end)
                    end = bisect_right(self._lengths, min(most, LONGEST), start, end)
                found.append(self._packed[start * _NOTE.size : end * _NOTE.size])
            if (added := self._added.get(word)) is not None:
                found.append(added)
        notes = np.frombuffer(b"".join(found), _NOTES)
        positions: NDArray[np.uint32] = notes["position"]
        if len(notes) > _FEW:
            bits, length = signatures(ordered)[-1], len(encoded)
            needed = bits_to_share(length, length - bits.bit_count(), self._threshold)
            enough = np.bitwise_count(notes["bits"] & bits) >= needed.take(notes["length"])
            if length > _DENSE:
                enough &= notes["room"] >= min(length, _MOST)
            positions = positions[enough]
        found_at: list[int] = positions.tolist()
        return found_at

    def pack(self, words: NDArray[np.uint32], lengths: NDArray[np.uint32]) -> None:
        """Note the rarest words of all texts anew.

        Args:
            words: code points of all texts, one text behind the other.
            lengths: words of each text, in the order of their positions.
        """
        self._added.clear()
        self._packed = memoryview(b"")
        ends = np.cumsum(lengths, dtype=np.int64)
        blocks = []
        for first in range(0, len(lengths), _BLOCK):
            block = lengths[first : first + _BLOCK].astype(np.int64)
            end = int(ends[first + len(block) - 1])
            blocks.append(self._notes_of(words[end - int(block.sum()) : end], block, first))
        keys, notes = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        blocks.clear()
        order = np.argsort(keys)
        notes, noted = notes[order], keys[order] >> _LENGTH_BITS
        self._packed, self._lengths = notes.view(np.uint8).data, notes["length"].tobytes()
        self._starts = np.searchsorted(noted, np.arange(int(noted.max(initial=0)) + 2)).tolist()

    def _notes_of(self, words: NDArray[np.uint32], counts: Numbers, first: int) -> tuple[Numbers, NDArray[np.void]]:
        """Return the notes of some texts that stand together.

        Args:
            words: code points, one text behind the other.
            counts: words of each text.
            first: position of the first text.

        Returns:
            A number for each note by which it is sorted, with its word above its length; and the notes.
        """
        owners = np.repeat(np.arange(len(counts)), counts)
        keys = np.sort(owners << 32 | words)
        word, at, ends = keys & 0xFFFFFFFF, np.arange(len(keys)), np.cumsum(counts)
        differ = np.ones(len(keys) + 1, np.bool_)
        differ[1:-1] = keys[1:] != keys[:-1]
        occurrences = at - np.maximum.accumulate(np.where(differ[:-1], at, 0))
        noted_of = np.zeros(int(counts.max(initial=0)) + 1, np.int64)
        for length in np.unique(counts[counts > 0]).tolist():
            noted_of[length] = length - least_shared(length, self._threshold) + 1
        at = at[differ[1:] & (at >= (ends - noted_of[counts])[owners])]
        owners = owners[at]
        starts, lengths = (ends - counts)[owners], counts[owners]
        # reduceat takes from each index to the next one, so every second result is of a gap. The last index may be the
        # end of all words, where one more must stand.
        bits = np.append(bits_of(word, occurrences), np.uint64(0))
        notes = np.zeros(len(at), _NOTES)
        notes["bits"] = np.bitwise_or.reduceat(bits, np.stack([starts, at + 1], axis=1).ravel())[::2]
        notes["position"], notes["length"] = owners + first, np.minimum(lengths, LONGEST)
        rooms = ((at + 1 - starts) / least_share(self._threshold)).astype(np.int64) - lengths
        notes["room"] = np.minimum(rooms, _MOST)
        return word[at] << _LENGTH_BITS | notes["length"], notes


class Limits(NamedTuple):
    """How many tokens a text can have that one of ``m`` tokens repeats."""

    least: int
    """Up to ``LONGEST``."""
    most: array[int]
    """Up to ``_MOST``, for the rarest common word at each place of the one."""


@lru_cache(maxsize=1 << 10)
def limits_of(m: int, threshold: float) -> Limits:
    """Return the lengths of texts that one of ``m`` tokens can repeat."""
    least, share = least_shared(m, threshold), least_share(threshold)
    most = (int((m - place) / share) - m for place in range(m - least + 1))
    return Limits(min(least, LONGEST), array("H", (min(length, _MOST) for length in most)))


@lru_cache(maxsize=1 << 12)
def bits_to_share(m: int, hidden: int, threshold: float) -> NDArray[np.uint8]:
    """Return, for each length up to ``LONGEST`` of another text, how many bits it must share with one of ``m`` tokens.

    Args:
        m: tokens of the one.
        hidden: how many more tokens it has than bits.
        threshold: F-measure above which a text counts as a repeat.
    """
    lengths = np.arange(LONGEST + 1)
    shared = least_share(threshold) * (m + lengths)
    possible = (shared <= m) & ((shared <= lengths) | (lengths == LONGEST))
    return np.where(possible, np.clip(np.ceil(shared) - hidden, 0, 0xFF), 0xFF).astype(np.uint8)


def least_share(threshold: float) -> float:
    """Return the share of two texts' tokens in their LCS below which no rounding makes them repeats."""
    return (threshold - 1e-9) / 2
