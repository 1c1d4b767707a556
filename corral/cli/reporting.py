"""``corral report``: a run's story on one page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, assert_never

import typer
from rich.console import Console

from graph.reporting import write_report
from graph.runs import RunStatus, open_runs
from tools.settings import load_settings


def report(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as 'corral runs' lists it.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it; report.html in the run's folder if left out."),
    ] = None,
) -> None:
    """Write a run's report: one HTML file with scoreboard, curves, funnel, costs, examples and lineage.

    A run that was evaluated has one already; a run that stopped before gets one of what there is.
    """

    async def write() -> Path:
        async with open_runs(load_settings()) as runs:
            status = await runs.status(name)
            return await write_report(runs.services, name, await runs.state(name), out=out, standing=standing(status))

    Console().print(asyncio.run(write()), highlight=False, markup=False, soft_wrap=True)


def standing(status: RunStatus) -> str:
    """Return how far a run is, in words; empty for one that is done, whose state says more."""
    match status.standing:
        case "new":
            return "not begun"
        case "done":
            return ""
        case "waiting":
            return f"waits for a person at {status.step}"
        case "running" | "stopped" | "failed":
            return f"{status.standing} at {status.step or 'its start'}"
        case "unreadable":
            return f"unreadable: {status.detail}"
        case _:
            assert_never(status.standing)
