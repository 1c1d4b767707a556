"""What of a record stands in columns, beside its JSON: what queries select, order and count by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Float, Integer, String, Table

from state.records import (
    Answer,
    Candidate,
    Draft,
    GenerationRound,
    Judgement,
    Rating,
    Record,
    Review,
    ReviewTask,
    Sample,
)
from state.tables import record_table

TABLES: dict[type[Record], Table] = {
    Sample: record_table(
        "samples",
        Column("origin", String, nullable=False, server_default=""),
        Column("round", Integer, nullable=False, server_default="0"),
        reasons=("run_id", "tag", "origin", "outcome", "reason"),
        round=("run_id", "origin", "round", "id"),
    ),
    Candidate: record_table("candidates", reasons=("run_id", "tag", "outcome", "reason")),
    Judgement: record_table("judgements", outcome=("run_id", "outcome", "tag", "parent")),
    Review: record_table("reviews"),
    ReviewTask: record_table(
        "review_tasks",
        Column("why", String, nullable=False),
        Column("position", Integer, nullable=False),
        Column("disagreement", Float, nullable=False),
        Column("opened_at", String, nullable=False),
        Column("standing", String, nullable=False),
        Column("rated", Integer, nullable=False),
        position=("run_id", "position"),
        # Each holds all that a queue's count asks for, so that no row is read for it.
        standing=("run_id", "standing", "position", "why", "rated", "id"),
        oldest=("standing", "opened_at", "run_id", "position", "why", "rated", "id"),
        disagreement=("standing", "disagreement", "run_id", "position", "why", "rated", "id"),
    ),
    Draft: record_table("drafts", rater=("tag", "run_id", "parent")),
    Rating: record_table("ratings", rater=("tag", "run_id", "parent")),
    Answer: record_table("answers"),
    GenerationRound: record_table("rounds"),
}
PARENTS = ("sample_id", "candidate_id", "item_id", "call")
"""Whose child a record is. A generated sample's parent is the call that wrote it."""
TAGS = ("split", "model", "judge", "rater")
KIND_LENGTH = 120
"""Characters kept of a reason's kind."""


def row_of(run_id: str, record: Record) -> dict[str, Any]:
    """Return a record as a row of its table."""
    body = record.model_dump(mode="json")
    row = {
        "run_id": run_id,
        "id": record.id,  # type: ignore[attr-defined]  # every stored record has an id
        "parent": next((body[name] for name in PARENTS if name in body), ""),
        "tag": next((body[name] for name in TAGS if name in body), ""),
        "outcome": body.get("outcome", ""),
        "reason": reason_kind(next(iter(body.get("reasons", ())), "")),
        "body": body,
    }
    own = TABLES[type(record)].columns.keys() - row.keys()
    return row | {name: _column(body[name]) for name in own}


def _column(value: Any) -> Any:
    """Return a value as a column has it: a list of words as one text, each word between commas."""
    return f",{','.join(value)}," if isinstance(value, list) else value


def reason_kind(reason: str) -> str:
    """Return what reasons of one kind have in common: ``too_short`` of ``too_short: 2 words``.

    What was said of a text that cannot be parsed is a kind of its own. A NUL or half of a surrogate pair, which no
    column takes, becomes U+FFFD.
    """
    kind = reason if reason.startswith("parse:") else reason.partition(": ")[0]
    text = kind[:KIND_LENGTH].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
