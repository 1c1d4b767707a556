"""An item's form: what a person has typed into it, and the decision that it holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import ValidationError
from starlette.datastructures import FormData

from graph.reviews import ReviewItem
from state.errors import BadInput
from state.faults import first_fault
from state.records import Criterion, Draft

CRITERIA: tuple[Criterion, ...] = tuple(sorted(get_args(Criterion), key=lambda name: name != "overall"))
"""What may be rated; a digit rates the first one."""


def draft_of(form: FormData, item: ReviewItem, rater: str) -> Draft:
    """Return the decision that a form holds.

    Raises:
        BadInput: it is none, or a rating is out of range.
    """
    typed = typed_in(form)
    text = typed["text"] if typed["decision"] == "edit" else ""
    if text and text == one_newline(item.texts[0]):
        text = item.texts[0]  # a form turns every end of a line into one kind
    try:
        fields = {"decision": typed["decision"], "comment": typed["comment"], "ratings": typed["ratings"]}
        own = {"item_id": item.item_id, "rater": rater, "text": text, "decided_at": datetime.now(UTC)}
        return Draft.model_validate(fields | own)
    except ValidationError as error:
        raise BadInput(f"the decision: {first_fault(error)}") from error


def typed_in(form: FormData) -> dict[str, Any]:
    """Return what a person has typed into an item's form."""
    given = {name: str(form.get(f"rating_{name}", "")) for name in CRITERIA}
    return {
        "decision": str(form.get("decision", "")),
        "text": one_newline(str(form.get("text", ""))),
        "comment": str(form.get("comment", "")).strip(),
        "ratings": {name: int(v) if v.isdecimal() and len(v) < 10 else v for name, v in given.items() if v},
    }


def kept_in(draft: Draft | None) -> dict[str, Any]:
    """Return what a person has typed into an item's form before."""
    if draft is None:
        return {"decision": "", "text": "", "comment": "", "ratings": {}}
    return {"decision": draft.decision, "text": draft.text, "comment": draft.comment, "ratings": dict(draft.ratings)}


def one_newline(text: str) -> str:
    """Return a text with one kind of line end: a form sends another one."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
