"""``corral doctor``: is this machine fit for a run?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from corral.cli.shared import AsJson, console, open_settings, print_json, read_request

Config = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG.yaml", help="Look at the servers, files and weights of this run, too."),
]


def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Look at endpoints, model file, database, GPU and disk, and say what to do about each.

    With a config it asks the servers that the run would pay for their models, which costs nothing, and reads the files
    that the run would read.
    """
    from corral.cli.tables import print_table
    from corral.doctor import examine

    request = read_request(config) if config else None
    findings = asyncio.run(examine(open_settings(), request))
    if as_json:
        print_json([finding.model_dump() for finding in findings])
    else:
        rows = [(found.what, "ok" if found.ok else "FAIL", found.found, found.advice) for found in findings]
        print_table(console, ("what", "", "found", "what to do"), rows, words=("what", "found", "what to do"))
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)
