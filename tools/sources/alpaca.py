"""Rows in Alpaca's format, read one by one whatever is in the file.

    {"instruction": "...", "input": "", "output": "..."}

``input`` may be missing; other columns are carried along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from state.errors import BadInput
from tools.sources.conversations import flattened
from tools.sources.items import ANSWERS
from tools.sources.reader import BadRow, Row, kind_of, read_rows
from tools.sources.values import number_as_text, other_spelling

FIELDS = ("instruction", "input", "output")
ALPACA = 'with the strings "instruction" and "output", and "input" where there is one'
"""What each object should be."""


@dataclass(frozen=True)
class AlpacaRow:
    """A row with its three fields."""

    number: int
    """Line in a file of lines, place in an array; from 1."""
    instruction: str
    input: str
    output: str
    other: dict[str, Any] = field(default_factory=dict)
    """Its other columns, such as ``system``, ``history`` and ``id``."""


def read_alpaca(path: Path) -> Iterator[AlpacaRow | BadRow]:
    """Read a file's rows in order; a broken row comes as a fault, and reading goes on behind it.

    Raises:
        BadInput: the file cannot be opened, or is in another format.
    """
    for row in read_rows(path, ALPACA):
        yield row if isinstance(row, BadRow) else _alpaca_row(row)


def _alpaca_row(row: Row) -> AlpacaRow | BadRow:
    try:
        fields = flattened(row.fields)
    except BadInput as error:
        return row.rejected(str(error))
    if fields.get("instruction") is None and isinstance(fields.get("prompt"), str) and "output" in fields:
        fields["instruction"] = fields.pop("prompt")
    texts = {"input": ""} | {name: number_as_text(fields[name]) for name in FIELDS if name in fields}
    for name in FIELDS:
        if name not in texts:
            spellings = ANSWERS if name == "output" else (name,)
            return row.rejected(f'lacks "{name}"{other_spelling(row.fields, *spellings)}')
        if not isinstance(texts[name], str):
            return row.rejected(f'"{name}" is {kind_of(texts[name])}, not a string')
    other = {name: value for name, value in fields.items() if name not in FIELDS}
    return AlpacaRow(row.number, texts["instruction"], texts["input"], texts["output"], other)
