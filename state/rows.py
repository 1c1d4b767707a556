"""What of a record stands in columns, beside its JSON: what queries select, order and count by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Integer, String, Table

from state.database import record_table
from state.records import Answer, Candidate, GenerationRound, Judgement, Record, Review, Sample

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
    Answer: record_table("answers"),
    GenerationRound: record_table("rounds"),
}
PARENTS = ("sample_id", "candidate_id", "item_id", "call")
"""Whose child a record is. A generated sample's parent is the call that wrote it."""
TAGS = ("split", "model", "judge")
KIND_LENGTH = 120
"""Characters kept of a reason's kind."""


def row_of(run_id: str, record: Record) -> dict[str, Any]:
    """Return a record as a row of its table."""
    body = record.model_dump(mode="json")
    row = {
        "run_id": run_id,
        "id": body["id"],
        "parent": next((body[name] for name in PARENTS if name in body), ""),
        "tag": next((body[name] for name in TAGS if name in body), ""),
        "outcome": body.get("outcome", ""),
        "reason": reason_kind(next(iter(body.get("reasons", ())), "")),
        "body": body,
    }
    own = TABLES[type(record)].columns.keys() - row.keys()
    return row | {name: body[name] for name in own}


def reason_kind(reason: str) -> str:
    """Return what reasons of one kind have in common: ``too_short`` of ``too_short: 2 words``.

    What was said of a text that cannot be parsed is a kind of its own. A NUL or half of a surrogate pair, which no
    column takes, becomes U+FFFD.
    """
    kind = reason if reason.startswith("parse:") else reason.partition(": ")[0]
    text = kind[:KIND_LENGTH].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
