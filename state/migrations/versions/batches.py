"""Calls may wait for a batch, and batches that were sent are noted."""

revision = "0010"
down_revision = "0007"


def upgrade() -> None:
    """Change no table: those that are new are made behind the last revision, as in an empty database."""
