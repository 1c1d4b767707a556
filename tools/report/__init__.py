"""The report of a run: facts in, one self-contained HTML page out. Nothing here reads a run's files or the database."""

REPORT = "report.html"
"""In a run's folder."""
