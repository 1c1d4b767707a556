"""What requests have in common is stored once: a call's row may have ids of texts in the place of its request."""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Change no table: the texts' is made behind the last revision, and calls that are there stay as they are."""
