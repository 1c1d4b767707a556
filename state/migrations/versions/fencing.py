"""A run's lease has an epoch, and its budget is reserved in its row."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Begin with nothing reserved; what was spent is summed up when the run is next taken."""
    op.add_column("runs", sa.Column("lease_epoch", sa.Integer, nullable=False, server_default="0"))
    for name in ("spent", "reserved", "in_doubt"):
        op.add_column("runs", sa.Column(name, sa.Float, nullable=False, server_default="0"))
