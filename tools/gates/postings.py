"""The diversity index's postings: which kept texts could share enough of their rarest words with a new one?

Two texts of ``m`` and ``n`` tokens that share ``a`` of them have a rarest common word. Whatever else they share is no
rarer, so it stands behind: with their tokens sorted, the rarest first, that word is at most at place ``m - a`` of the
one and at most at ``n - a`` of the other, counted from 0. Hence only the rarest words of a text are noted (the prefix
filter; Chaudhuri, Ganti and Kaushik, ICDE 2006), each with its place, and a note counts only where both places leave
room for as many shared tokens as the two lengths need (the positional filter; Xiao, Wang, Lin and Yu, PPJoin, WWW
2008). A note's room is one number, the most tokens that the other text may have; the room of a new text's word is the
most tokens that a kept text may have. So two comparisons decide over a whole posting at once.

Any one order of all words is right; in the order of their counts the postings are shortest. New notes go to short
arrays, one a word; now and then the index brings its words into order and packs all notes into three long arrays.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from tools.gates.rouge import least_shared

MOST = 0xFFFF
"""Tokens from which texts count as equally long: the filter lets more through, and drops nothing."""
_ROOM_BIT, _LENGTH_BIT = 48, 32
"""Where room and length begin in a note of 64 bits; the text's position is below them."""
_PLACE_BITS, _POSITION_BITS = 11, 32
_LAST_PLACE = (1 << _PLACE_BITS) - 1
"""The place of a note that stands behind it: the filter lets more through, and drops nothing."""

_BLOCK = 32_768
"""Texts whose words are sorted together, for the memory."""
_FEW, _MANY = 128, 512
"""Notes up to which none is left out, since that costs more, and from which those of one word are filtered alone."""

_LOWEST = np.uint64((1 << 32) - 1)
"""The lowest 32 bits."""

Positions = NDArray[np.uint32]
Notes = NDArray[np.uint64]


class Postings:
    """The rarest words of kept texts, each with the texts that have it.

    A word is a code point, and a greater one is rarer.

    Args:
        threshold: F-measure in (0, 1] above which a text counts as a repeat.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._least_share = (threshold - 1e-9) / 2
        """Shared tokens, of all that two texts have, below which no rounding makes them repeats."""
        self._added: dict[str, array[int]] = {}
        self._starts = [0]
        self._packed = np.empty(0, np.uint64)

    def add(self, position: int, encoded: str) -> None:
        """Note the rarest words of a text.

        Args:
            position: the text's, in [0, 2**32).
            encoded: its words, at least one.
        """
        length = len(encoded)
        same = min(length, MOST) << _LENGTH_BIT | position
        for place, word in self._rarest(encoded):
            note = self._room(length, place) << _ROOM_BIT | same
            notes = self._added.get(word)
            if notes is None:
                self._added[word] = array("Q", (note,))
            else:
                notes.append(note)

    def candidates(self, encoded: str) -> Positions:
        """Return the texts that could be repeated, in no order, perhaps more than once.

        Args:
            encoded: a text's words, at least one.
        """
        length, starts, known = len(encoded), self._starts, len(self._starts) - 1
        found = []
        for place, word in self._rarest(encoded):
            number = ord(word)
            if number < known and (start := starts[number]) < (end := starts[number + 1]):
                notes = self._packed[start:end]
                found.append(notes if end - start < _MANY else self._fitting(notes, length, place))
            if (added := self._added.get(word)) is not None:
                # A copy: while a view is held, by whoever looks at this frame, nothing can be appended.
                found.append(np.array(added, np.uint64))
        if not found:
            return np.empty(0, np.uint32)
        notes = np.concatenate(found)
        if len(notes) > _FEW:
            notes = notes[notes >= min(length, MOST) << _ROOM_BIT]
        return notes.astype(np.uint32)

    def _fitting(self, notes: Notes, length: int, place: int) -> Notes:
        """Return the notes that leave room for a text's word at this place, and for which that leaves room."""
        notes = notes[notes >= min(length, MOST) << _ROOM_BIT]
        return notes[(notes >> _LENGTH_BIT & MOST) <= self._room(length, place)]

    def pack(self, words: NDArray[np.uint32], lengths: NDArray[np.uint32]) -> None:
        """Note the rarest words of all texts anew.

        Args:
            words: code points of all texts, one text behind the other.
            lengths: words of each text, in the order of their positions.
        """
        self._added.clear()
        ends = np.cumsum(lengths, dtype=np.int64)
        blocks = []
        for first in range(0, len(lengths), _BLOCK):
            block = lengths[first : first + _BLOCK].astype(np.int64)
            end = int(ends[first + len(block) - 1])
            blocks.append(self._notes_of(words[end - int(block.sum()) : end], block, first))
        keys = np.concatenate(blocks) if blocks else np.empty(0, np.uint64)
        keys.sort()
        positions, places = keys >> _PLACE_BITS & _LOWEST, (keys & _LAST_PLACE).astype(np.int64)
        long = lengths.astype(np.int64)[positions]
        rooms = np.clip((long - places) / self._least_share - long, 0, MOST).astype(np.uint64)
        same = np.minimum(long, MOST).astype(np.uint64) << _LENGTH_BIT | positions
        self._packed = np.asarray(rooms << _ROOM_BIT | same, np.uint64)
        noted = (keys >> (_PLACE_BITS + _POSITION_BITS)).astype(np.uint32)
        last = int(noted[-1]) if len(noted) else -1
        self._starts = np.searchsorted(noted, np.arange(last + 2, dtype=np.uint32)).tolist()

    def _notes_of(self, words: NDArray[np.uint32], counts: NDArray[np.int64], first: int) -> NDArray[np.uint64]:
        """Return a number for each note: its word, its text's position and its place, from the highest bits down.

        Args:
            words: code points of some texts that stand together, one text behind the other.
            counts: words of each text.
            first: position of the first text.
        """
        owners = np.repeat(np.arange(first, first + len(counts), dtype=np.uint64), counts)
        keys = np.sort(owners << 32 | _LOWEST - words)
        places = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
        noted_of = np.zeros(int(counts.max(initial=0)) + 1, np.int64)
        for length in np.unique(counts[counts > 0]).tolist():
            noted_of[length] = self._noted(length)
        noted = places < np.repeat(noted_of[counts], counts)
        noted[1:] &= keys[1:] != keys[:-1]
        keys, told = keys[noted], np.minimum(places[noted], _LAST_PLACE).astype(np.uint64)
        word = _LOWEST - (keys & _LOWEST)
        return np.asarray(word << (_PLACE_BITS + _POSITION_BITS) | (keys >> 32) << _PLACE_BITS | told, np.uint64)

    def _rarest(self, encoded: str) -> list[tuple[int, str]]:
        """Return the first places of a text's rarest words, and the words."""
        rarest = sorted(encoded, reverse=True)[: self._noted(len(encoded))]
        if len(set(rarest)) == len(rarest):
            return list(enumerate(rarest))
        return [(place, word) for place, word in enumerate(rarest) if place == 0 or word != rarest[place - 1]]

    def _noted(self, length: int) -> int:
        """Return how many of a text's tokens, the rarest first, are noted and looked up."""
        return length - least_shared(length, self._threshold) + 1

    def _room(self, length: int, place: int) -> int:
        """Return the most tokens of another text, up to ``MOST``, if these from ``place`` on are all it can share."""
        return min(MOST, max(0, int((length - place) / self._least_share) - length))
