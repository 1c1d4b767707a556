"""``corral doctor``: is this machine fit for a run?"""

from __future__ import annotations

import asyncio

import typer
from rich.table import Table

from corral.cli.shared import AsJson, console, open_settings, print_json
from corral.doctor import examine


def doctor(as_json: AsJson = False) -> None:
    """Look at endpoints, model file, database, GPU and disk, and say what to do about each."""
    findings = asyncio.run(examine(open_settings()))
    if as_json:
        print_json([finding.model_dump() for finding in findings])
    else:
        table = Table("", "what", "found", "what to do", box=None)
        for finding in findings:
            table.add_row("ok" if finding.ok else "FAIL", finding.what, finding.found, finding.advice)
        console.print(table)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)
