"""Requests have a format; the judges' calls are counted under ``judge.accuracy``, where it was ``judge:accuracy``."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Give the requests that are there the format 1, and change the purposes that the ledger counts by."""
    op.add_column("runs", sa.Column("format", sa.Integer, nullable=False, server_default="1"))
    op.execute("UPDATE call_uses SET purpose = replace(purpose, ':', '.') WHERE purpose LIKE 'judge:%'")
