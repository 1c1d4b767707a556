"""Rows in Alpaca's format, read one by one whatever is in the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.sources.reader import BadRow, Row, kind_of, read_rows

FIELDS = ("instruction", "input", "output")
ALPACA = 'with the strings "instruction", "input" and "output"'
"""What each object should be."""


@dataclass(frozen=True)
class AlpacaRow:
    """A row with its three fields."""

    number: int
    """Line in a file of lines, place in an array; from 1."""
    instruction: str
    input: str
    output: str


def read_alpaca(path: Path) -> Iterator[AlpacaRow | BadRow]:
    """Read a file's rows in order; a broken row comes as a fault, and reading goes on behind it.

    Raises:
        BadInput: the file cannot be opened, or is in another format.
    """
    for row in read_rows(path, ALPACA):
        yield row if isinstance(row, BadRow) else _alpaca_row(row)


def _alpaca_row(row: Row) -> AlpacaRow | BadRow:
    for field in FIELDS:
        if field not in row.fields:
            return row.rejected(f'lacks "{field}"')
        if not isinstance(value := row.fields[field], str):
            return row.rejected(f'"{field}" is {kind_of(value)}, not a string')
    return AlpacaRow(row.number, *(row.fields[field] for field in FIELDS))
