"""Commands over runs: run, resume, runs, show."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from corral.cli.advancing import advance, print_results, take_over
from corral.cli.shared import AsJson, RunName, console, print_json, read_request, with_runs
from corral.cli.tables import print_accounts, print_estimate, print_runs
from graph.accounts import account, expected_cost
from graph.inputs import request_to_show
from graph.runs import Runs

RESULTS = ("dataset", "training_decision", "adapter", "verdict", "approval", "deployed", "warnings")
"""What ``corral show --json`` has of a run's state."""

Config = Annotated[
    Path | None, typer.Argument(metavar="CONFIG.yaml", help="What the run shall do; without it, the defaults.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting over the file's, such as train.epochs=3. Repeatable."),
]
Unattended = Annotated[bool, typer.Option("--unattended", help="Never wait for a person: a named policy decides.")]
RunId = Annotated[str | None, typer.Option("--run-id", help="The run's name; without it, one is made.")]

TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Take the run from a process that still works on it, or hangs; that one stops."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Take it over without being asked.")]


def run(config: Config = None, set_: Set = None, unattended: Unattended = False, run_id: RunId = None) -> None:
    """Start a run and work on it until it is done or waits for a person.

    Everything that it makes lies in a folder of its own. A run that was killed goes on with 'corral resume'.
    """
    request = read_request(config, [*(set_ or []), *(["unattended=true"] if unattended else [])])

    async def start(runs: Runs) -> int:
        name = await runs.create(request, run_id)
        console.print(f"run {name}", highlight=False)
        print_estimate(console, await asyncio.to_thread(expected_cost, await request_to_show(runs.services, name)))
        return await advance(runs, name)

    with_runs(start)


def resume(name: RunName, take_over_: TakeOver = False, yes: Yes = False) -> None:
    """Go on with a run that was killed or failed. What was answered and kept is not asked again."""
    with_runs(lambda runs: take_over(runs, name, yes) if take_over_ else advance(runs, name))


def list_runs(as_json: AsJson = False) -> None:
    """List all runs, newest first, and where they stand."""

    async def show_all(runs: Runs) -> int:
        statuses = await runs.statuses()
        if as_json:
            print_json([status.model_dump(mode="json") for status in statuses])
        else:
            print_runs(console, statuses)
        return 0

    with_runs(show_all)


def show(name: RunName, as_json: AsJson = False) -> None:
    """Show where a run stands, the sum of its rows and calls, and its scoreboard."""

    async def show_one(runs: Runs) -> int:
        status, state = await runs.status(name), await runs.state(name)
        accounts = await account(runs.services, name)
        if as_json:
            kept = {key: state.get(key) for key in RESULTS}
            print_json({"status": status, "accounts": accounts, **kept})
            return 0
        print_runs(console, [status])
        print_accounts(console, accounts)
        await print_results(runs, name)
        return 0

    with_runs(show_one)
