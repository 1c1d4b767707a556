"""Rows can be counted and paged through by their columns: origin, round, kind of reason, and who the parent is."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"

CHUNK = 1000
PARENTS = ("sample_id", "candidate_id", "item_id", "call")
TAGS = ("split", "model", "judge")
OUTCOMES = {
    **dict.fromkeys(("samples", "candidates", "reviews", "answers", "rounds"), ("run_id", "outcome", "tag", "id")),
    "judgements": ("run_id", "outcome", "tag", "parent"),
}


def upgrade() -> None:
    """Add the columns, fill them from the records, and index what is counted and paged by."""
    op.add_column("samples", sa.Column("origin", sa.String, nullable=False, server_default=""))
    op.add_column("samples", sa.Column("round", sa.Integer, nullable=False, server_default="0"))
    for table, columns in OUTCOMES.items():
        op.add_column(table, sa.Column("reason", sa.String, nullable=False, server_default=""))
        _fill(table, {"origin": "generated", "round": 0} if table == "samples" else {})
        op.drop_index(f"{table}_outcome", table)
        op.create_index(f"{table}_outcome", table, columns)
    op.create_index("samples_reasons", "samples", ("run_id", "tag", "origin", "outcome", "reason"))
    op.create_index("samples_round", "samples", ("run_id", "origin", "round", "id"))
    op.create_index("candidates_reasons", "candidates", ("run_id", "tag", "outcome", "reason"))
    op.drop_index("ix_calls_run_id", "calls")
    figures = ("run_id", "key", "status", "prompt_tokens", "completion_tokens", "cost")
    op.create_index("calls_run", "calls", figures)


def _fill(name: str, own: dict[str, Any]) -> None:
    """Write the columns of a table's rows anew from their JSON, some at a time: a home may hold millions."""
    columns: list[sa.ColumnClause[Any]] = [
        sa.column(column) for column in ("run_id", "id", "parent", "tag", "reason", *own)
    ]
    table = sa.table(name, *columns, sa.column("body", sa.JSON))
    key = sa.tuple_(table.c.run_id, table.c.id)
    rows = sa.select(table.c.run_id, table.c.id, table.c.body).order_by(table.c.run_id, table.c.id).limit(CHUNK)
    same = (table.c.run_id == sa.bindparam("of_run")) & (table.c.id == sa.bindparam("of_id"))
    changed = ("parent", "tag", "reason", *own)
    change = sa.update(table).where(same).values({column: sa.bindparam(column) for column in changed})
    connection, after = op.get_bind(), ("", "")
    while found := list(connection.execute(rows.where(key > sa.tuple_(*map(sa.literal, after))))):
        connection.execute(change, [_columns(row.body, own) | {"of_run": row.run_id, "of_id": row.id} for row in found])
        after = (found[-1].run_id, found[-1].id)


def _columns(body: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(body.get("reasons", ())), "")
    kind = first if first.startswith("parse:") else first.partition(": ")[0]
    kind = kind[:120].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return {
        "parent": next((body[column] for column in PARENTS if column in body), ""),
        "tag": next((body[column] for column in TAGS if column in body), ""),
        "reason": kind.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        **{column: body.get(column, default) for column, default in own.items()},
    }
