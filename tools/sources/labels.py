"""People's labels, against which a judge is measured: single ratings or choices between two answers.

    {"prompt": "...", "output": "...", "rating": 4}                         a rating from 1 to 5
    {"prompt": "...", "output_1": "...", "output_2": "...", "label": 1}     which is better: 1, 2, or 0 for a tie

``a``, ``b`` and ``tie`` are read as 1, 2 and 0; ``instruction`` and ``input`` stand for ``prompt`` as everywhere. A
file holds one kind. Other labels are read by a mapping, such as ``0=1,1=2`` where 0 means the first answer.
"""

from __future__ import annotations

import json
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
CHOICES: Mapping[str, int] = {"1": 1, "2": 2, "0": 0, "a": 1, "b": 2, "tie": 0}
"""What a label says, by its text in lower case: the first answer, the second, or neither."""


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


def read_labels(path: Path, mapping: Mapping[str, int] | None = None) -> Labels:
    """Return a file's labels.

    Args:
        path: a file of JSON objects, one a line or in one array.
        mapping: what the file's labels mean, as in ``CHOICES``; see ``read_mapping``. ``None``: they are ``CHOICES``.

    Raises:
        BadInput: the file cannot be read or has no rows, one is broken or has no label (its place is named), both kinds
            are in one file, all labels are the same, so that agreement cannot be measured, or the labels are 0 and 1
            alone, which elsewhere name the two answers, and no mapping says what they mean.
    """
    rows = list(require_rows(path, LABELS))
    if mapping is None and {_label_text(row.fields["label"]) for row in rows if "label" in row.fields} == {"0", "1"}:
        raise BadInput(
            f"{path}: its labels are 0 and 1 alone, and Corral reads 1 as the first answer, 2 as the second, 0 as tie; "
            "say what they mean: --mapping 0=1,1=2 (0 is the first), 0=2,1=1 (0 is the second) or 0=0,1=1 (0 is a tie)"
        )
    choices = CHOICES if mapping is None else mapping
    return checked_labels([_label(row.fields, choices, f"{path}, {row.place}") for row in rows], str(path))


def read_mapping(text: str) -> dict[str, int]:
    """Return a mapping of labels from its text.

    Args:
        text: ``LABEL=MEANING`` with commas between, such as ``0=1,1=2``; the meaning is 1, 2, or 0 for a tie.

    Raises:
        BadInput: it is no such text.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    found = {label.strip().lower(): meaning.strip() for label, _, meaning in pairs}
    if len(found) != len(pairs) or not all(found) or not set(found.values()) <= {"0", "1", "2"}:
        raise BadInput(
            f"--mapping {text!r}: give LABEL=MEANING with commas between, such as 0=1,1=2; a meaning is 1 for "
            "the first answer, 2 for the second, 0 for a tie"
        )
    return {label: int(meaning) for label, meaning in found.items()}


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


def _label(row: Mapping[str, Any], choices: Mapping[str, int], where: str) -> RatedItem | ChosenPair:
    if "output_1" in row or "output_2" in row:
        return _pair(row, choices, where)
    rating = first_of(row, "rating", "overall_rating")
    if rating is None:
        raise BadInput(f"{where}: unrated; a row needs 'rating', or 'output_1', 'output_2' and 'label'")
    if isinstance(rating, bool):
        raise BadInput(f"{where}: 'rating' is a number from 1 to 5, not {json.dumps(rating)}")
    return valid(RatedItem, {"item": item_of(row, where), "rating": rating}, where)


def _pair(row: Mapping[str, Any], choices: Mapping[str, int], where: str) -> ChosenPair:
    label = choices.get(_label_text(row.get("label")))
    if label is None:
        raise BadInput(f"{where}: 'label' is {_meanings(choices)}, not {json.dumps(row.get('label'))[:80]}")
    named = row if first_of(row, "prompt", "instruction") else {"prompt": row.get("input")}
    common = {name: row[name] for name in ("checks", "context") if name in row} | {"prompt": prompt_of(named, where)}
    first, second = (item_of(common | {"output": row.get(f"output_{n}")}, f"{where}, output_{n}") for n in (1, 2))
    return ChosenPair(first=first, second=second, label=label)


def _label_text(label: Any) -> str:
    """Return a label as text: 1 for 1.0, which a table's column with gaps in it makes of 1."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip().lower() if isinstance(label, int | str) and not isinstance(label, bool) else ""


def _meanings(choices: Mapping[str, int]) -> str:
    if choices is CHOICES:
        return "1, 2 or 0 for a tie"
    return f"one of {', '.join(choices)} (the mapping)"
