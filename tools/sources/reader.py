"""The one reader of rows: JSON objects in a UTF-8 file, one a line or in one array, in bounded memory; or a table.

Who must have every row asks ``require_rows``, which raises at the first fault. Who can go on without one asks
``read_rows``, which hands a broken row on as a fault with its place.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from state.errors import BadInput
from tools.sources.layouts import Piece, pieces
from tools.sources.llama_factory import described
from tools.sources.opening import opened
from tools.sources.tables import table_pieces
from tools.sources.values import present

MAX_DEPTH = 100
"""Deepest nesting of lists and objects that is read: what stores a row recurses once a level."""
_SHOWN = 120
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_TOO_DEEP = f"not JSON that can be read (nested deeper than {MAX_DEPTH} levels)"


@dataclass(frozen=True)
class Row:
    """A readable row."""

    place: str
    """Where it stands: ``line 3`` of a file of lines, ``row 3`` of an array."""
    number: int
    """The number in ``place``, from 1."""
    fields: dict[str, Any]
    """Its content; a field that holds null or NaN is left out."""
    text: str
    """Its first characters."""

    def rejected(self, fault: str) -> BadRow:
        """Return the row as one that a reader of some format cannot use."""
        return BadRow(self.place, self.number, fault, self.text)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read, and why."""

    place: str
    number: int
    fault: str
    text: str
    """Its first characters; bytes that are not UTF-8 are escaped."""


def read_rows(path: Path, wanted: str) -> Iterator[Row | BadRow]:
    """Read a file's rows in order, broken ones too; blank lines do not count.

    Args:
        path: a file of JSON objects, one a line or in one array, UTF-8 with or without a byte order mark; CSV, Parquet
            or one object that holds rows, see ``tools.sources.tables``; compressed or not. Or ``seeds:NAME``, for one
            that comes with Corral.
        wanted: what the objects should be, for the error; see ``unusable``.

    Raises:
        BadInput: the file cannot be opened, or is of another format, see ``tools.sources.opening``.
    """
    renamed = described(path)
    try:
        with opened(path) as file:
            for piece in table_pieces(path, file) or pieces(file):
                row = _row(piece)
                yield _renamed(row, renamed) if renamed and isinstance(row, Row) else row
    except OSError as error:
        raise unusable(path, f"cannot be read ({error.strerror or type(error).__name__})", wanted) from error


def _renamed(row: Row, renamed: Callable[[dict[str, Any]], dict[str, Any]]) -> Row | BadRow:
    try:
        return replace(row, fields=renamed(row.fields))
    except LookupError as error:
        return row.rejected(str(error.args[0]))


def require_rows(path: Path, wanted: str) -> Iterator[Row]:
    """Read a file's rows in order, of which there must be one and none may be broken.

    Args:
        path: as for ``read_rows``.
        wanted: as for ``read_rows``.

    Raises:
        BadInput: as ``read_rows``; or a row is broken, or there is none. The message names file and place.
    """
    empty = True
    for row in read_rows(path, wanted):
        if isinstance(row, BadRow):
            raise BadInput(f"{path}, {row.place}: {row.fault}")
        empty = False
        yield row
    if empty:
        raise unusable(path, "has no rows", wanted)


def bytes_of_rows(path: Path) -> bytes:
    """Return a file's bytes; where it is a table, its rows as JSON, one a line, which any name may stand over.

    Raises:
        BadInput: it is a table, and a row cannot be read.
        OSError: it cannot be read.
    """
    try:
        with opened(path) as file:
            is_table = table_pieces(path, file) is not None or described(path) is not None
    except BadInput:
        is_table = False  # who reads its copy says what is wrong
    if not is_table:
        return path.read_bytes()
    return "".join(json.dumps(row.fields) + "\n" for row in require_rows(path, "each a row")).encode()


def unusable(path: Path, fault: str, wanted: str) -> BadInput:
    """Return the error about a whole file.

    Args:
        path: the file.
        fault: what is wrong with it.
        wanted: what each object should be, in words that go on "a file of JSON objects, one a line or in one array,".
    """
    return BadInput(f"{path}: {fault}; give a file of JSON objects, one a line or in one array, {wanted}")


def kind_of(value: Any) -> str:
    """Name a JSON value's type as JSON does, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type[Any], str] = {dict: "an object", list: "a list", str: "a string"}
    return names.get(type(value), "a number")


def _row(piece: Piece) -> Row | BadRow:
    place, text = f"{piece.unit} {piece.number}", piece.data[:_SHOWN].decode("utf-8", "backslashreplace")
    found = piece.fault or _content(piece)
    if isinstance(found, str):
        return BadRow(place, piece.number, found, text)
    return Row(place, piece.number, found, text)


def _content(piece: Piece) -> dict[str, Any] | str:
    """Return a row's object, or why it has none."""
    if b"\0" in piece.data:
        return f"holds a NUL byte (byte {piece.data.index(0) + 1})"
    try:
        content = json.loads(piece.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 (0x{piece.data[error.start]:02x} at byte {error.start + 1}); save the file as UTF-8"
    except json.JSONDecodeError as error:
        return _syntax_fault(piece, error)
    except ValueError:  # the only other one that json.loads raises
        return f"not JSON that can be read (a number has more than {sys.get_int_max_str_digits():,} digits)"
    except RecursionError:
        return _TOO_DEEP
    if not isinstance(content, dict):
        return f"not an object but {kind_of(content)}"
    return _inner_fault(content, escaped=b"\\u" in piece.data) or cast(dict[str, Any], present(content))


def _syntax_fault(piece: Piece, error: json.JSONDecodeError) -> str:
    if piece.unit == "line" and piece.data.strip() in (b"{", b"["):
        return "not JSON (an object that goes on over several lines; write each in one line, or all in one array)"
    column = error.colno + (piece.column - 1 if error.lineno == 1 else 0)
    line = "" if piece.unit == "line" else f"line {piece.line + error.lineno - 1}, "
    message = error.msg.removesuffix(" at")
    return f"not JSON ({message} at {line}column {column})"


def _inner_fault(content: dict[str, Any], *, escaped: bool) -> str:
    """Return what makes an object's values unfit to be kept, if anything; ``escaped``: it has characters as escapes.

    A NUL or half of a surrogate pair can only come from an escape.
    """
    waiting = [(name, part, 2) for name, value in content.items() for part in (name, value)]
    while waiting:
        name, part, depth = waiting.pop()
        if isinstance(part, dict | list):
            if depth > MAX_DEPTH:
                return _TOO_DEEP
            inner = [*part, *part.values()] if isinstance(part, dict) else part
            waiting += [(name, one, depth + 1) for one in inner]
        elif escaped and isinstance(part, str) and (found := _UNSTORABLE.search(part)):
            what = "a NUL character" if found.group() == "\0" else "half of a surrogate pair"
            return f"{json.dumps(name)} holds {what}, which no database takes"
    return ""
