"""Argilla 2's records, as ``Dataset.records.to_json`` writes them and ``from_json`` reads them.

Argilla knows people by a UUID. A name becomes a UUID that follows from it, and stands in the record's metadata, so that
it is found again; a person of Argilla's own goes by the UUID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from state.records import Rating
from tools.people.formats.said import Said
from tools.people.items import WHY, Item

DECISION, EDIT, COMMENT = "decision", "edited_text", "comment"
"""Questions beside the criteria, which are rating questions from 1 to 5."""


def record_of(run_id: str, item: Item, ratings: Sequence[Rating]) -> dict[str, Any]:
    """Return an item as a record; arguments as ``exported``."""
    texts = dict(zip(("text", "other_text"), item.texts, strict=False))
    responses: dict[str, list[dict[str, Any]]] = {}
    for rating in ratings:
        answers: dict[str, Any] = {DECISION: rating.decision, EDIT: rating.text, COMMENT: rating.comment}
        answers |= {name: stars for name, stars in rating.ratings.items()}
        for question, value in answers.items():
            if value:
                responses.setdefault(question, []).append({"value": value, "user_id": user_id(rating.rater)})
    return {
        "id": item.id,
        "fields": {"prompt": item.sample.prompt, **texts},
        "metadata": {
            "run": run_id,
            "kind": item.task.kind,
            "why": [WHY[why] for why in item.task.why],
            "raters": [rating.rater for rating in ratings],
            "decided_at": [rating.decided_at.isoformat() for rating in ratings],
        },
        "suggestions": {},
        "responses": responses,
        "vectors": {},
        "status": "completed" if ratings else "pending",
        "_server_id": None,
    }


def user_id(rater: str) -> str:
    """Return the UUID that stands for a name."""
    return str(uuid5(NAMESPACE_URL, f"corral:rater:{rater}"))


def said_in(row: Mapping[str, Any]) -> list[Said]:
    """Return what a record says, one for each of its people.

    Raises:
        ValueError: it is no record of ours.
    """
    responses, metadata = row.get("responses") or {}, row.get("metadata") or {}
    if "id" not in row or not isinstance(responses, Mapping) or not isinstance(metadata, Mapping):
        raise ValueError("it is no record of Argilla's, with 'id', 'fields' and 'responses'")
    names, times = _named(metadata)
    answers: dict[str, dict[str, Any]] = {}
    for question, given in responses.items():
        for one in given if isinstance(given, list) else ():
            if not isinstance(one, Mapping) or "value" not in one:
                raise ValueError(f"an answer to {question!r} has no 'value'")
            who = str(one.get("user_id") or "")
            if question in answers.setdefault(who, {}):
                raise ValueError(f"user {who!r} answers {question!r} twice")
            answers[who][question] = one["value"]
    return [
        Said(
            item_id=row["id"],
            rater=names.get(who, who),
            decision=found.pop(DECISION, ""),
            text=found.pop(EDIT, ""),
            comment=found.pop(COMMENT, ""),
            ratings=found,
            decided_at=times.get(who),
        )
        for who, found in answers.items()
    ]


def _named(metadata: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    raters, times = (metadata.get(key) for key in ("raters", "decided_at"))
    names = [name for name in raters if isinstance(name, str)] if isinstance(raters, list) else []
    when = times if isinstance(times, list) and len(times) == len(names) else []
    return {user_id(name): name for name in names}, dict(zip(map(user_id, names), when, strict=False))
