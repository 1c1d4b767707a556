"""What was served, what people said of it, and the looks at it."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Do nothing: the three tables are new, and tables that are missing are made after the revisions."""
