"""The tables as they were before there were migrations. A database that has them is taken from here."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: whoever comes by here has the tables."""
