"""Commands over runs: run, resume, runs, show, delete."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corral.cli.shared import (
    AsJson,
    RunName,
    confirm,
    console,
    look,
    look_at,
    note_small_model,
    print_json,
    read_request,
    with_run,
)
from state.extras import install_command, missing_modules

if TYPE_CHECKING:
    from graph.runs import Runs
    from graph.services import Services

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
Agreed = Annotated[bool, typer.Option("--yes", help="Take it over without being asked.")]


Preview = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="ROWS",
        help="Take so many given prompts, and as many written instructions, through all steps before training, and "
        "show them with their cost. The run itself finds their answers in the ledger.",
    ),
]
Probe = Annotated[
    bool,
    typer.Option("--probe/--no-probe", help="Ask the servers first whether they are up and have the models."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]


def run(
    config: Config = None,
    set_: Set = None,
    unattended: Unattended = False,
    run_id: RunId = None,
    preview: Preview = None,
    probe: Probe = True,
) -> None:
    """Start a run and work on it until it is done or waits for a person.

    Everything that it makes lies in a folder of its own. A run that was killed goes on with 'corral resume'.
    """
    request = read_request(config, [*(set_ or []), *(["unattended=true"] if unattended else [])])

    async def create(services: Services) -> str:
        from graph.creating import create_run
        from graph.preview import previewed

        asked = request if preview is None else previewed(request, preview)
        return await create_run(services, asked, run_id, probe=probe)

    async def start(runs: Runs, name: str) -> int:
        from corral.cli.advancing import advance
        from corral.cli.preview import show_preview
        from corral.cli.tables import print_estimate
        from graph.estimates import expected_cost
        from graph.inputs import request_to_show

        note_small_model(request, "generator", "judge")
        console.print(f"run {name}", highlight=False, markup=False, soft_wrap=True)
        if missing_modules("train"):
            note = f"note: it stops before its training, and can be resumed after {install_command('train')}"
            console.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)
        if preview is not None:
            console.print("\nThe preview", style="bold")
        print_estimate(console, await expected_cost(runs.services, name, await request_to_show(runs.services, name)))
        return await (advance(runs, name) if preview is None else show_preview(runs, name, request))

    with_run(create, start)


def resume(name: RunName, take_over_: TakeOver = False, yes: Agreed = False) -> None:
    """Go on with a run that was killed or failed, and with the crew that made it.

    What was answered and kept is not asked again.
    """

    async def go_on(runs: Runs, name: str) -> int:
        from corral.cli.advancing import advance, take_over
        from corral.cli.crewing import go_on_with_crew
        from graph.crews.journal import journal_to_go_on

        if take_over_:
            return await take_over(runs, name, yes)
        journal = await asyncio.to_thread(journal_to_go_on, runs.services.runs_folder / name)
        return await (advance(runs, name) if journal is None else go_on_with_crew(runs, journal))

    with_run(name, go_on)


def list_runs(as_json: AsJson = False) -> None:
    """List all runs, newest first, and where they stand."""

    async def show_all(services: Services) -> int:
        from corral.cli.tables import print_runs
        from graph.standing import statuses_of

        statuses = await statuses_of(services)
        if as_json:
            print_json([status.model_dump(mode="json") for status in statuses])
        else:
            print_runs(console, statuses)
        return 0

    look(show_all)


def show(name: RunName, as_json: AsJson = False) -> None:
    """Show where a run stands, the sum of its rows and calls, and its scoreboard."""

    async def show_one(services: Services, name: str) -> int:
        from corral.cli.outcome import print_results
        from corral.cli.tables import print_accounts, print_checklists, print_performance, print_runs
        from graph.accounts import account
        from graph.crews.performance import performance_of
        from graph.standing import state_of, status_of
        from tools.checklists.kept import read_checklists

        status, state = await status_of(services, name), await state_of(services, name)
        accounts = await account(services, name)
        checked = read_checklists(services.runs_folder / name)
        performance = await performance_of(services, name)
        if as_json:
            kept = {key: state.get(key) for key in RESULTS}
            found = {"checklists": checked, "performance": performance}
            print_json({"status": status, "accounts": accounts, **found, **kept})
            return 0
        print_runs(console, [status])
        print_accounts(console, accounts)
        print_checklists(console, checked)
        print_performance(console, performance)
        print_results(console, services, name, state)
        return 0

    look_at(name, show_one)


def delete(name: RunName, yes: Yes = False) -> None:
    """Delete a run: its rows, its checkpoints, and its folder with datasets, adapters, report and log.

    Its answers stay in the ledger, where other runs find them, and what it deployed stays in the registry, as a copy.
    """

    async def remove(services: Services, name: str) -> int:
        from graph.deletion import delete_run, what_goes

        going = await what_goes(services, name)
        if not yes:
            confirm(f"{going}. Delete run {name}?", f"{going}; --yes deletes run {name}")
        stays = await delete_run(services, name)
        console.print(f"run {name} is deleted; {stays}", highlight=False, markup=False, soft_wrap=True)
        return 0

    look_at(name, remove)
