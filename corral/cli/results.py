"""Commands over what a run made: export, report, rollback."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal, assert_never

import typer

from corral.cli.shared import RunName, console, open_settings, with_runs
from graph.reporting import write_report
from graph.runs import Runs, RunStatus
from state.errors import BadInput
from tools.dataset.files import ALPACA, DPO, SFT
from tools.registry import point

Format = Annotated[Literal["alpaca", "sft", "dpo"], typer.Option("--format", help="Which file.")]
Out = Annotated[Path | None, typer.Option(help="Where to write it; without it, to standard output.")]
Page = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where to write it; without it, report.html in the run's folder."),
]
Version = Annotated[str, typer.Argument(help="A version in the registry.")]
Registry = Annotated[Path | None, typer.Option(help="The registry, where the run named one of its own.")]


def export(name: RunName, format_: Format, out: Out = None) -> None:
    """Write a run's dataset: Alpaca JSON, SFT JSONL or DPO JSONL."""

    async def write(runs: Runs) -> int:
        status, state = await runs.status(name), await runs.state(name)
        dataset = state.get("dataset")
        if dataset is None:
            raise BadInput(f"run {name} has no dataset yet; it is {status.standing} at {status.step or 'its start'}")
        source = Path(dataset.folder) / {"alpaca": ALPACA, "sft": SFT, "dpo": DPO}[format_]
        if out is not None and out.exists() and out.samefile(source):
            raise BadInput(f"{out} is the dataset's own file; name another place with --out")
        try:
            with source.open("rb") as data, out.open("wb") if out else nullcontext(sys.stdout.buffer) as target:
                shutil.copyfileobj(data, target)
        except OSError as error:
            place = error.filename or out or "standard output"
            raise BadInput(f"{place}: {error.strerror}; name another place with --out") from error
        if out is not None:
            console.print(f"{out}: {out.stat().st_size:,} bytes", highlight=False)
        return 0

    with_runs(write)


def write_page(name: RunName, out: Page = None) -> None:
    """Write a run's report: one HTML file with scoreboard, curves, funnel, costs, examples and lineage.

    A run that was evaluated has one already. A run that stopped earlier gets one of what there is.
    """

    async def write(runs: Runs) -> int:
        status = await runs.status(name)
        state = await runs.state(name)
        path = await write_report(runs.services, name, state, out=out, standing=standing_in_words(status))
        console.print(path, highlight=False, markup=False, soft_wrap=True)
        return 0

    with_runs(write)


def rollback(version: Version, registry: Registry = None) -> None:
    """Point the registry's current adapter at another version."""
    registry = registry or open_settings().home / "registry"
    point(registry, version)
    console.print(f"{registry / 'current'} -> {version}", highlight=False)


def standing_in_words(status: RunStatus) -> str:
    """Return how far a run is; empty for one that is done, whose state says more."""
    where = status.step or "its start"
    match status.standing:
        case "done":
            return ""
        case "new":
            return "not begun"
        case "waiting":
            return f"waits for a person at {where}"
        case "running" | "stopped" | "failed":
            return f"{status.standing} at {where}"
        case "unreadable":
            return f"unreadable: {status.detail}"
        case never:
            assert_never(never)
