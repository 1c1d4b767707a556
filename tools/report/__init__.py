"""The report of a run: facts in, one self-contained HTML page out. Nothing here reads a run's files or the database."""

from pathlib import Path

REPORT = "report.html"
"""In a run's folder."""
ROWS = "rows.html"
"""Beside it: the browser of all rows."""


def rows_beside(report: Path) -> Path:
    """Return where the browser of the rows lies that belongs to a report."""
    return report.with_name(ROWS if report.name == REPORT else f"{report.stem}.{ROWS}")
