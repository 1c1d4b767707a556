"""People's drafts, ratings and what waits for them have tables; a review may be of a pair, and hold ratings."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Change no table: those that are new are made behind the last revision, as in an empty database."""
