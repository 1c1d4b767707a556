"""People's labels, against which a judge is measured: single ratings or choices between two answers.

    {"prompt": "...", "output": "...", "rating": 4}                         a rating from 1 to 5
    {"prompt": "...", "output_1": "...", "output_2": "...", "label": 1}     which is better: 1, 2, or 0 for a tie

``a``, ``b`` and ``tie`` are read as 1, 2 and 0; ``instruction`` and ``input`` stand for ``prompt`` as everywhere. A
file holds one kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from state.errors import BadInput
from state.records import Record
from tools.sources.items import Item, first_of, item_of, prompt_of, valid
from tools.sources.reader import require_rows

LABELS = 'each with "prompt", "output" and "rating", or with "prompt", "output_1", "output_2" and "label"'
"""What each object should be."""
CHOICES: Mapping[Any, int] = {1: 1, 2: 2, 0: 0, "1": 1, "2": 2, "0": 0, "a": 1, "b": 2, "tie": 0}


class RatedItem(Record):
    """An answer with a person's rating."""

    item: Item
    rating: float = Field(ge=1, le=5)


class ChosenPair(Record):
    """Two answers to one prompt, and which a person likes better."""

    first: Item
    second: Item
    label: Literal[0, 1, 2]
    """1 or 2, or 0 for a tie."""


Labels = Sequence[RatedItem] | Sequence[ChosenPair]


def read_labels(path: Path) -> Labels:
    """Return a file's labels.

    Raises:
        BadInput: the file cannot be read or has no rows, one is broken or has no label (its place is named), both kinds
        are in one file, or all labels are the same, so that agreement cannot be measured.
    """
    return checked_labels([_label(row.fields, f"{path}, {row.place}") for row in require_rows(path, LABELS)], str(path))


def checked_labels(labels: Sequence[RatedItem | ChosenPair], where: str) -> Labels:
    """Return labels that can be measured on.

    Raises:
        BadInput: none, both kinds, or one-sided.
    """
    ratings = [label for label in labels if isinstance(label, RatedItem)]
    pairs = [label for label in labels if isinstance(label, ChosenPair)]
    if not labels:
        raise BadInput(f"{where} has no labels")
    if ratings and pairs:
        raise BadInput(f"{where} mixes {len(ratings)} ratings with {len(pairs)} pairs; give each a file of its own")
    if len({label.rating for label in ratings} | {pair.label for pair in pairs}) < 2:
        same = f"every rating is {ratings[0].rating:g}" if ratings else f"every label is {pairs[0].label}"
        raise BadInput(f"{where} is one-sided: {same}, so agreement beyond chance cannot be measured")
    return ratings or pairs


def _label(row: Mapping[str, Any], where: str) -> RatedItem | ChosenPair:
    if "output_1" in row or "output_2" in row:
        return _pair(row, where)
    rating = first_of(row, "rating", "overall_rating")
    if rating is None:
        raise BadInput(f"{where}: unrated; a row needs 'rating', or 'output_1', 'output_2' and 'label'")
    return valid(RatedItem, {"item": item_of(row, where), "rating": rating}, where)


def _pair(row: Mapping[str, Any], where: str) -> ChosenPair:
    label = row.get("label")
    label = label.strip().lower() if isinstance(label, str) else label
    if label is None or isinstance(label, bool) or label not in CHOICES:
        raise BadInput(f"{where}: 'label' is 1, 2 or 0 for a tie, not {row.get('label')!r}")
    named = {
        "prompt": prompt_of(row if first_of(row, "prompt", "instruction") else {"prompt": row.get("input")}, where)
    }
    common = named | {name: row[name] for name in ("checks", "context") if row.get(name) is not None}
    first, second = (item_of(common | {"output": row.get(f"output_{n}")}, f"{where}, output_{n}") for n in (1, 2))
    return ChosenPair(first=first, second=second, label=CHOICES[label])
