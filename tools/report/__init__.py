"""The report of a run: facts in, one self-contained HTML page out. Nothing here reads a disk or a database."""
