"""Reading Alpaca-format files row by row, in bounded memory, whatever is in them.

Two layouts are read: one JSON object a line, and one JSON array of objects. A broken row is handed on as a fault with
its number, and reading goes on behind it: in a file of lines at the next line, in an array where the next row seems to
begin. That search is why no streaming JSON parser is used: they end at the first fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from state.errors import BadInput

FIELDS = ("instruction", "input", "output")
MAX_ROW_BYTES = 1 << 20
"""Longest row that is read, one mebibyte: some 170,000 words."""
_READ = 4 * MAX_ROW_BYTES
_SHOWN = 120
_SPACE = re.compile(r"[\s,]+", re.ASCII)
_ROW_HEAD = re.compile(r'\{\s*"\w[^"\\]{0,63}"\s*:', re.ASCII)
_NEXT_ROW = re.compile(r'\}\s*,?\s*(?=\{\s*"\w[^"\\]{0,63}"\s*:)|(?=\{\s*"instruction"\s*:)', re.ASCII)
_ROW_END = re.compile(r"\s*(?:[,\]{]|\Z)", re.ASCII)
_OVERLAP = 256
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Row:
    """A readable row."""

    number: int
    """Line in a file of lines, place in an array; from 1."""
    instruction: str
    input: str
    output: str


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read, and why."""

    number: int
    fault: str
    text: str
    """Its first characters, escaped where they are no text."""


@dataclass(frozen=True)
class _Raw:
    number: int
    data: bytes
    too_long: bool = False


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """Read a file's rows in order; blank lines are no rows.

    Raises:
        BadInput: the file cannot be opened, is empty, or is in UTF-16 or UTF-32.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
                raise BadInput(f"{path}: is in UTF-16 or UTF-32; save it as UTF-8")
            file.seek(3 if head.startswith(b"\xef\xbb\xbf") else 0)
            raw_rows = _array_rows(file) if _is_array(file) else _line_rows(file)
            for raw in raw_rows:
                yield _parse(raw)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(f"{path}: cannot be read ({reason}); give a readable JSON or JSONL file") from error


def _is_array(file: BinaryIO) -> bool:
    """Tell the two layouts apart: an array begins with a bracket, and does not end on its first line if more follow."""
    start = file.tell()
    window = file.read(MAX_ROW_BYTES).lstrip()
    file.seek(start)
    first, _, rest = window.partition(b"\n")
    if not window.startswith(b"["):
        return False
    return not (rest.strip() and _is_json(first))


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _line_rows(file: BinaryIO) -> Iterator[_Raw]:
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            _skip_line(file)
            yield _Raw(number, line[:_SHOWN], too_long=True)
        elif line.strip():
            yield _Raw(number, line.strip(b"\r\n"))


def _skip_line(file: BinaryIO) -> None:
    while (more := file.readline(MAX_ROW_BYTES)) and not more.endswith(b"\n"):
        pass


class _ArrayReader:
    """The text of an array from the current position on, with at least one longest row in sight until the file ends.

    The bytes are seen as Latin-1, where each is one character: JSON's own signs are ASCII, so the layout can be read
    even where the letters cannot.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ended = False
        self._at = 0
        self.text = ""
        self.advance(0)

    @property
    def at(self) -> int:
        return self._at

    @property
    def ended(self) -> bool:
        return self._ended

    def advance(self, position: int) -> None:
        self._at = position
        if not self._ended and len(self.text) - self._at <= MAX_ROW_BYTES + _OVERLAP:
            more = self._file.read(_READ)
            self._ended = len(more) < _READ
            self.text = self.text[self._at :] + more.decode("latin-1")
            self._at = 0


def _array_rows(file: BinaryIO) -> Iterator[_Raw]:
    reader = _ArrayReader(file)
    reader.advance(reader.text.index("[") + 1)
    decoder = json.JSONDecoder(strict=False)
    number = 0
    while True:
        _skip_space(reader)
        if reader.at == len(reader.text) or _is_the_end(reader):
            return
        number += 1
        end = _end_of_value(decoder, reader)
        if end is None:
            yield _skip_broken(reader, number)
        else:
            data = reader.text[reader.at : end].encode("latin-1")
            yield _Raw(number, data, too_long=len(data) > MAX_ROW_BYTES)
            reader.advance(end)


def _end_of_value(decoder: json.JSONDecoder, reader: _ArrayReader) -> int | None:
    """Return where the JSON value at the reader's place ends, or ``None`` where there is no whole one."""
    try:
        _, end = decoder.raw_decode(reader.text, reader.at)
    except (ValueError, RecursionError):
        return None
    return end if _ROW_END.match(reader.text, end) else None


def _is_the_end(reader: _ArrayReader) -> bool:
    return reader.text[reader.at] == "]" and reader.ended and not reader.text[reader.at + 1 :].strip()


def _skip_broken(reader: _ArrayReader, number: int) -> _Raw:
    """Move behind a broken row, to where the next one seems to begin, and return what was skipped."""
    boundary = _NEXT_ROW if reader.text[reader.at] == "{" else _ROW_HEAD
    head, skipped = "", 0
    while True:
        found = boundary.search(reader.text, reader.at + 1)
        if found or reader.ended:
            break
        keep_from = len(reader.text) - _OVERLAP
        head = head or reader.text[reader.at : reader.at + _SHOWN]
        skipped += keep_from - reader.at
        reader.advance(keep_from)
    end = len(reader.text) if found is None else found.end() if boundary is _NEXT_ROW else found.start()
    piece = reader.text[reader.at : end]
    reader.advance(end)
    too_long = skipped + len(piece) > MAX_ROW_BYTES
    return _Raw(number, (head or piece).rstrip("], \t\r\n").encode("latin-1"), too_long)


def _skip_space(reader: _ArrayReader) -> None:
    while found := _SPACE.match(reader.text, reader.at):
        reader.advance(found.end())


def _parse(raw: _Raw) -> Row | BadRow:
    fault, content = _fault_or_content(raw)
    if fault:
        return BadRow(raw.number, fault, raw.data[:_SHOWN].decode("utf-8", "backslashreplace"))
    return Row(raw.number, *(content[field] for field in FIELDS))


def _fault_or_content(raw: _Raw) -> tuple[str, dict[str, Any]]:
    if raw.too_long:
        return f"longer than {MAX_ROW_BYTES:,} bytes", {}
    if b"\0" in raw.data:
        return f"holds a NUL byte (byte {raw.data.index(0) + 1})", {}
    try:
        content = json.loads(raw.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 (0x{raw.data[error.start]:02x} at byte {error.start + 1})", {}
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at character {error.pos + 1})", {}
    except (ValueError, RecursionError) as error:
        return f"not JSON that can be read ({type(error).__name__})", {}
    if not isinstance(content, dict):
        return f"not an object but {_kind(content)}", {}
    return next(filter(None, (_field_fault(content, field) for field in FIELDS)), ""), content


def _field_fault(content: dict[str, Any], field: str) -> str:
    if field not in content:
        return f'lacks "{field}"'
    value = content[field]
    if not isinstance(value, str):
        return f'"{field}" is {_kind(value)}, not a string'
    if "\0" in value:
        return f'"{field}" holds a NUL character'
    if _SURROGATE.search(value):
        return f'"{field}" holds half of a surrogate pair'
    return ""


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type[Any], str] = {dict: "an object", list: "a list", str: "a string"}
    return names.get(type(value), "a number")
