"""Decisions in a file: the lines that ``corral review RUN --json`` prints, with the decisions filled in."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from state.errors import BadInput
from state.faults import first_fault
from state.records import DecisionKind, Draft, Ratings
from tools.people.stars import read_ratings
from tools.sources.reader import require_rows

WANTED = 'each with "item_id" and "decision"'
"""What each object should be."""


class DecisionLine(BaseModel):
    """One line's decision."""

    model_config = ConfigDict(extra="forbid")

    item_id: str
    decision: DecisionKind
    text: str = ""
    comment: str = ""
    ratings: Ratings = {}
    rater: str = ""

    @field_validator("ratings", mode="before")
    @classmethod
    def _in_any_form(cls, given: Any) -> Any:
        return read_ratings(given)


def read_decisions(path: Path, rater: str, now: datetime, ignored: Collection[str]) -> Iterator[tuple[str, Draft]]:
    """Yield each line's place and draft; a line without a decision is left out.

    Args:
        path: a file of JSON objects, one a line or in one array.
        rater: who decided, where a line does not say.
        now: when.
        ignored: fields that may stand there and say nothing: those of an item as it was printed.

    Raises:
        BadInput: the file cannot be read, or a line does not fit; its place is named.
    """
    for row in require_rows(path, WANTED):
        fields = {name: value for name, value in row.fields.items() if name not in ignored}
        if not fields.get("decision"):
            continue
        place = f"{path}, {row.place}"
        try:
            line = DecisionLine.model_validate(fields)
            draft = Draft(**line.model_dump() | {"rater": line.rater or rater, "decided_at": now})
        except ValidationError as error:
            raise BadInput(f"{place}: {first_fault(error)}; nothing was saved") from error
        yield place, draft
