"""Rows of files that are tables or one JSON object: CSV, Parquet, pandas' forms, a list of rows within an object.

What is read is what can be meant in one way alone; anything else stays what it is, and its reader says what it lacks.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from state.errors import BadInput
from state.extras import demand_extra
from tools.sources.layouts import MAX_ROW_BYTES, Piece, too_long
from tools.sources.opening import PARQUET, plain_suffix

LONGEST_OBJECT = 128 * 2**20
"""Bytes of a file that is one object; it must be held as a whole."""
FIELDS = frozenset(
    """instruction input output prompt completion response question answer chosen rejected conversations messages text
    reference rating overall_rating label output_1 output_2 model_output checks category instances history
    system""".split()
)
"""Names of a row's fields: what tells the names of columns from the labels of rows."""
STRUCTURED = frozenset({"checks", "context", "conversations", "conversation", "messages", "history", "instances"})
"""Fields whose text in a cell of a table is JSON."""
LISTS = frozenset(
    """data dataset rows records examples items samples entries instructions prompts questions tasks results train
    validation test""".split()
)
"""Names under which an object has a list of rows."""
_PAGE = 1000
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[\s,]*", re.ASCII)


def table_pieces(path: Path, file: BinaryIO) -> Iterator[Piece] | None:
    """Return the rows of a file that is a table or one object; ``None`` where rows are lines or an array's elements.

    Args:
        path: for its suffix, and for errors.
        file: the file, unpacked; read from its current position on, to which it is set back where it is no table.

    Raises:
        BadInput: it is a table, and cannot be read as one.
    """
    start = file.tell()
    if file.read(len(PARQUET)) == PARQUET:
        return _as_pieces(_parquet(path, file))
    file.seek(start)
    suffix = plain_suffix(path)
    if suffix in (".csv", ".tsv"):
        return _csv(path, file, "\t" if suffix == ".tsv" else "")
    rows = _object_rows(path, file)
    file.seek(start)
    return None if rows is None else _as_pieces(iter(rows))


def _as_pieces(rows: Iterator[Any]) -> Iterator[Piece]:
    for number, row in enumerate(rows, 1):
        if isinstance(row, Piece):
            yield row
            continue
        try:
            data = json.dumps(row, default=str).encode()
        except (ValueError, RecursionError):
            yield Piece("row", number, b"", number, 1, "not values that JSON has")
            continue
        yield Piece("row", number, data, number, 1, too_long() if len(data) > MAX_ROW_BYTES else "")


def _parquet(path: Path, file: BinaryIO) -> Iterator[dict[str, Any]]:
    demand_extra("train", "Parquet")
    import pyarrow
    from pyarrow import parquet

    try:
        for page in parquet.ParquetFile(file).iter_batches(_PAGE):
            yield from page.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path}: is no Parquet that can be read ({str(error).splitlines()[0][:120]})") from error


def _csv(path: Path, file: BinaryIO, delimiter: str) -> Iterator[Piece]:
    csv.field_size_limit(MAX_ROW_BYTES // 2)  # a longer line comes in pieces
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        head = text.readline(MAX_ROW_BYTES)
        rest = iter(lambda: text.readline(MAX_ROW_BYTES), "")
        lines = csv.reader(chain([head], rest), delimiter=delimiter or _delimiter(head), strict=True)
        first = _cells(lines) or []
        if isinstance(first, str):
            raise BadInput(f"{path}: {first}")
        names = [name.strip() for name in first]
        if len(set(names)) != len(names) or not all(names[1:]):
            raise BadInput(f"{path}: its first line must name each column, once; it has {', '.join(names)[:120]}")
        number = 0
        while (cells := _cells(lines)) is not None:
            if cells:
                number += 1
                yield _csv_row(names, cells, number, lines.line_num)
    finally:
        text.detach()


def _cells(lines: Any) -> list[str] | str | None:
    """Return the cells of the next line, or why it has none; ``None`` at the end."""
    try:
        return next(lines, None)
    except csv.Error as error:
        return f"not CSV ({error} at line {lines.line_num})"


def _delimiter(head: str) -> str:
    return next((one for one in (",", "\t", ";") if one in head), ",")


def _csv_row(names: Sequence[str], cells: list[str] | str, number: int, line: int) -> Piece:
    if isinstance(cells, str):
        return Piece("row", number, b"", line, 1, cells)
    data = "\t".join(cells).encode("utf-8", "surrogateescape")
    fault = ""
    if len(cells) != len(names):
        fault = f"it has {len(cells)} cells, and the first line names {len(names)} columns"
    elif strange := next((one for one in "".join(cells) if "\udc80" <= one <= "\udcff"), ""):
        fault = f"not UTF-8 (0x{ord(strange) - 0xDC00:02x}); save the file as UTF-8"
    elif len(data) > MAX_ROW_BYTES:
        fault = too_long()
    if fault:
        return Piece("row", number, data, line, 1, fault)
    # The column without a name is the index that pandas writes.
    row = {name: _cell(name, cell) for name, cell in zip(names, cells, strict=True) if name and cell}
    return Piece("row", number, json.dumps(row).encode(), line, 1)


def _cell(name: str, cell: str) -> Any:
    if name in STRUCTURED and cell.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _object_rows(path: Path, file: BinaryIO) -> list[Any] | None:
    """Return the rows of a file that is objects on one line or, in a file named .json, over several lines."""
    start = file.tell()
    first = next(_lines(file), b"")
    if not first.lstrip().startswith(b"{"):
        return None
    more = next(_lines(file), b"")
    over_several = bool(more) and plain_suffix(path) == ".json" and first.endswith(b"\n") and not _objects(first)
    if more and first.endswith(b"\n") and not over_several:
        return None
    file.seek(start)
    whole = file.read(LONGEST_OBJECT + 1).strip()
    if len(whole) > LONGEST_OBJECT or (b"\n" in whole and not over_several):
        return None
    found = _objects(whole)
    if len(found) != 1:
        return found or None
    rows = rows_of(path, found[0])
    return found if rows is None and over_several else rows


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return (line for line in iter(lambda: file.readline(MAX_ROW_BYTES), b"") if line.strip())


def _objects(data: bytes) -> list[dict[str, Any]]:
    """Return the objects that stand one behind the other in a text; none where it is anything else."""
    found: list[dict[str, Any]] = []
    try:
        text = data.decode()
        at = 0
        while at < len(text):
            value, at = _DECODER.raw_decode(text, at)
            found.append(value)
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
    except (ValueError, RecursionError):
        return []
    return found if all(isinstance(value, dict) for value in found) else []


def rows_of(path: Path, found: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows that an object holds; ``None`` where it is a row itself.

    Args:
        path: the file, for errors.
        found: what pandas writes (``orient`` split, table, columns, list or index), a list of rows (``LISTS``), or
            what the hub's viewer answers, ``{"rows": [{"row": {...}}]}``.

    Raises:
        BadInput: it holds rows in more than one way, or columns of different lengths.
    """
    columns, data = found.get("columns"), found.get("data")
    if isinstance(columns, list) and _is_list_of(columns, str) and isinstance(data, list) and _is_list_of(data, list):
        if any(len(cells) != len(columns) for cells in data):
            raise BadInput(f'{path}: a row of its "data" has another number of cells than there are "columns"')
        return [dict(zip(columns, cells, strict=True)) for cells in data]
    if found and all(isinstance(value, list) for value in found.values()) and _are_columns(found):
        if len({len(column) for column in found.values()}) > 1:
            lengths = ", ".join(f"{name} {len(column)}" for name, column in found.items())
            raise BadInput(f"{path}: its columns differ in length ({lengths[:160]})")
        return [dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)]
    if found and "fields" not in found and all(isinstance(value, dict) and value for value in found.values()):
        return _by_label(found)
    return _within(path, found)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(part, kind) for part in value)


def _are_columns(found: Mapping[str, list[Any]]) -> bool:
    """Tell columns from a row whose fields are lists of turns, and from lists of rows."""
    named = FIELDS & found.keys()
    return any(not _is_list_of(found[name], dict) for name in named - STRUCTURED) or any(
        found[name] and _is_list_of(found[name], list) for name in named & STRUCTURED
    )


def _by_label(found: Mapping[str, dict[str, Any]]) -> list[Any] | None:
    """Return the rows of objects within an object: columns with the rows' labels, or rows by their labels."""
    inner = set().union(*found.values())
    if FIELDS & found.keys() and not FIELDS & inner:
        return [{name: column.get(label) for name, column in found.items()} for label in _in_order(found)]
    if FIELDS & inner and not FIELDS & found.keys():
        return list(found.values())
    return None


def _in_order(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(label for column in found.values() for label in column))


def _within(path: Path, found: Mapping[str, Any]) -> list[Any] | None:
    if FIELDS & found.keys():
        return None
    lists = {name: part for name, part in found.items() if name in LISTS and _is_list_of(part, dict)}
    if len(lists) > 1:
        raise BadInput(f"{path}: holds several lists of rows ({', '.join(lists)}); give each a file of its own")
    return [_shown(row, number) for rows in lists.values() for number, row in enumerate(rows, 1)] if lists else None


def _shown(row: Mapping[str, Any], number: int) -> Any:
    """Return the row that the hub's viewer has packed; one whose cells it has cut off cannot be used."""
    if not isinstance(row.get("row"), dict) or FIELDS & row.keys():
        return row
    cut = row.get("truncated_cells")
    return Piece("row", number, b"", number, 1, f"cut off by the hub's viewer ({cut})") if cut else row["row"]
