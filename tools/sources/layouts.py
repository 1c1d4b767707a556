"""Where the rows of a file begin and end: one a line, or elements of one JSON array; in bounded memory.

A broken element of an array ends where the next one seems to begin. That search is why no streaming JSON parser is
used: they end at the first fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

MAX_ROW_BYTES = 1 << 20
"""Longest row that is read, one mebibyte: some 170,000 words."""
_READ = 4 * MAX_ROW_BYTES
_HEAD = 120
_SPACE = re.compile(r"[\s,]+", re.ASCII)
_ROW_HEAD = re.compile(r'\{\s*"\w[^"\\]{0,63}"\s*:', re.ASCII)
_NEXT_ROW = re.compile(r'\}\s*,?\s*(?=\{\s*"\w[^"\\]{0,63}"\s*:)|(?=\{\s*"instruction"\s*:)', re.ASCII)
_ROW_END = re.compile(r"\s*(?:[,\]{]|\Z)", re.ASCII)
_OVERLAP = 256
_CONTINUATION = bytes(range(0x80, 0xC0))
"""Bytes that go on with a character of UTF-8."""


@dataclass(frozen=True)
class Piece:
    """The bytes of a row, or what stands in its place."""

    unit: Literal["line", "row"]
    """What ``number`` counts: lines of a file of lines, or elements of an array."""
    number: int
    """From 1."""
    data: bytes
    """Whole, or its first bytes where there is a fault."""
    line: int
    """Line of the file where it begins, from 1."""
    column: int
    """Character of that line where it begins, from 1."""
    fault: str = ""
    """Why it is not read; empty where the layout is right."""


def pieces(file: BinaryIO) -> Iterator[Piece]:
    """Yield the rows of a file from its current position on; blank lines do not count."""
    return _elements(file) if _is_array(file) else _lines(file)


def _is_array(file: BinaryIO) -> bool:
    """Tell the two layouts apart: an array begins with a bracket, and does not end on its first line if more follow."""
    start = file.tell()
    window = file.read(MAX_ROW_BYTES).lstrip()
    file.seek(start)
    first, _, rest = window.partition(b"\n")
    return window.startswith(b"[") and not (rest.strip() and _is_json(first))


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(file: BinaryIO) -> Iterator[Piece]:
    # Lines end at a line feed alone: U+2028 and its like may stand in a string.
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            _skip_line(file)
            yield Piece("line", number, line[:_HEAD], number, 1, too_long())
        elif line.strip():
            yield Piece("line", number, line.strip(b"\r\n"), number, 1)


def _skip_line(file: BinaryIO) -> None:
    while (more := file.readline(MAX_ROW_BYTES)) and not more.endswith(b"\n"):
        pass


def too_long() -> str:
    """Return the fault of a row over ``MAX_ROW_BYTES``."""
    return f"longer than {MAX_ROW_BYTES:,} bytes"


class _ArrayText:
    """The text of an array from the current position on, with at least one longest row in sight until the file ends.

    The bytes are seen as Latin-1, where each is one character: JSON's own signs are ASCII, so the layout can be read
    even where the letters cannot.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.ended = False
        self.at = 0
        self.text = ""
        self.line = self.column = 1
        self.advance(0)

    def advance(self, position: int) -> None:
        passed = self.text[self.at : position]
        if breaks := passed.count("\n"):
            self.line, self.column = self.line + breaks, 1
            passed = passed[passed.rindex("\n") + 1 :]
        self.column += len(passed.encode("latin-1").translate(None, _CONTINUATION))
        self.at = position
        if not self.ended and len(self.text) - self.at <= MAX_ROW_BYTES + _OVERLAP:
            more = self._file.read(_READ)
            self.ended = len(more) < _READ
            self.text = self.text[self.at :] + more.decode("latin-1")
            self.at = 0

    def skip_space(self) -> None:
        while found := _SPACE.match(self.text, self.at):
            self.advance(found.end())

    def value_end(self) -> int | None:
        """Return where the JSON value at this place ends, or ``None`` where there is no whole one."""
        try:
            _, end = _DECODER.raw_decode(self.text, self.at)
        except (ValueError, RecursionError):
            return None
        return end if _ROW_END.match(self.text, end) else None

    @property
    def is_exhausted(self) -> bool:
        return self.at == len(self.text)

    @property
    def is_closed(self) -> bool:
        """Whether the array's own bracket stands here, with nothing behind it."""
        return self.text[self.at] == "]" and self.ended and not self.text[self.at + 1 :].strip()


_DECODER = json.JSONDecoder(strict=False)


def _elements(file: BinaryIO) -> Iterator[Piece]:
    text = _ArrayText(file)
    text.advance(text.text.index("[") + 1)
    number, broken = 0, False
    text.skip_space()
    while not text.is_exhausted and not text.is_closed:
        number += 1
        end, line, column = text.value_end(), text.line, text.column
        broken = end is None
        if end is None:
            data, size = _skip_broken(text)
        else:
            data = text.text[text.at : end].encode("latin-1")
            size = len(data)
            text.advance(end)
        yield Piece("row", number, data, line, column, too_long() if size > MAX_ROW_BYTES else "")
        text.skip_space()
    if text.is_exhausted and not broken:
        fault = 'not there: the array has no "]" at its end, so the file may be cut off'
        yield Piece("row", number + 1, b"", text.line, text.column, fault)


def _skip_broken(text: _ArrayText) -> tuple[bytes, int]:
    """Move behind a broken row, to where the next one seems to begin; return what was skipped, and its bytes' number.

    Of a row that is longer than what is in sight only the head is returned.
    """
    boundary = _NEXT_ROW if text.text[text.at] == "{" else _ROW_HEAD
    head, skipped = "", 0
    while not (found := boundary.search(text.text, text.at + 1)) and not text.ended:
        keep_from = len(text.text) - _OVERLAP
        head = head or text.text[text.at : text.at + _HEAD]
        skipped += keep_from - text.at
        text.advance(keep_from)
    end = len(text.text) if found is None else found.end() if boundary is _NEXT_ROW else found.start()
    piece = text.text[text.at : end]
    text.advance(end)
    return (head or piece).rstrip("], \t\r\n").encode("latin-1"), skipped + len(piece)
