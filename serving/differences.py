"""Where two answers differ, for a person who compares them: runs of words that the other one has not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz.distance import LCSseq

from state.records import Record

MOST_PARTS = 6_000
"""Words, or else lines, of an answer that are compared: the time grows with the product of both."""
WORDS = re.compile(r"\s+|[^\s]+")
LINES = re.compile(r"\n|[^\n]+")


class Part(Record):
    """A part of an answer."""

    text: str
    differs: bool


def marked(a: str, b: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return both answers in parts; joined, they are the answers again.

    Words are compared; in long answers lines; in longer ones still, nothing is, and one part differs.
    """
    for pattern in (WORDS, LINES):
        parts = pattern.findall(a), pattern.findall(b)
        if max(map(len, parts)) <= MOST_PARTS:
            return _of_sequences(*parts)
    return (Part(text=a, differs=a != b),), (Part(text=b, differs=a != b),)


def _of_sequences(a: Sequence[str], b: Sequence[str]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    codes = list(LCSseq.opcodes(a, b))
    sides: tuple[list[Part], list[Part]] = ([], [])
    for place, code in enumerate(codes):
        spans = ("".join(a[code.src_start : code.src_end]), "".join(b[code.dest_start : code.dest_end]))
        # A space between two words that differ is not what they have in common.
        between = 0 < place < len(codes) - 1 and not spans[0].strip()
        for side, text in zip(sides, spans, strict=True):
            _append(side, text, differs=code.tag != "equal" or between)
    return tuple(sides[0]), tuple(sides[1])


def _append(side: list[Part], text: str, *, differs: bool) -> None:
    if side and text and side[-1].differs == differs:
        side[-1] = Part(text=side[-1].text + text, differs=differs)
    elif text:
        side.append(Part(text=text, differs=differs))
