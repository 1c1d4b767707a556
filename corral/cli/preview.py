"""What ``corral run --preview`` shows: a few rows with their best answers, their cost, and what the run would cost."""

from __future__ import annotations

from rich.panel import Panel
from rich.text import Text

from corral.cli.shared import console, errors
from corral.cli.tables import print_accounts, print_estimate
from corral.cli.watch import watch
from graph.accounts import account
from graph.estimates import estimated
from graph.preview import PreviewedRow, previewed_rows
from graph.runs import Runs
from state.errors import TrainingError
from state.request import RunRequest


async def show_preview(runs: Runs, name: str, request: RunRequest) -> int:
    """Work on a preview up to its training, show what came of it, and return the exit code.

    Args:
        runs: all runs.
        name: the preview.
        request: the whole run's.
    """
    try:
        await watch(runs, name, runs.advance(name), console)
    except TrainingError as error:  # so few rows need not suffice to train on
        errors.print(f"note: {error}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    rows = await previewed_rows(runs.services, name, request.sources.prompt_limit or PANELS)
    for row in rows:
        _print_row(row)
    print_accounts(console, await account(runs.services, name))
    console.print("\nThe whole run", style="bold")
    print_estimate(console, await estimated(runs.services, request))
    console.print(
        f"The run finds in the ledger what this preview was answered. 'corral delete {name}' removes the preview.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return 0


PANELS = 5
"""Prompts of either origin that are shown."""


def _print_row(row: PreviewedRow) -> None:
    score = "not judged" if row.overall is None else f"{row.overall:.0f} of 100"
    text = Text(row.prompt, style="bold")
    text.append(f"\n\n{row.answer or 'no answer'}\n\n", style="not bold")
    text.append(": ".join(filter(None, (f"{row.outcome}, {score}", row.why))), style="dim not bold")
    console.print(Panel(text, title="written" if row.origin == "generated" else "given", title_align="left"))
