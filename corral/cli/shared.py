"""What several commands share: consoles, arguments, and the way to settings and runs.

A command's module is imported for its ``--help`` too, so what a command needs beyond its arguments is imported where it
is used: the rest of Corral takes three seconds of CPU, and a second of them is LangGraph, which is only loaded to work
on a run, not to look at one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corral.cli.signals import RESUME, run_orderly
from corral.cli.terminal import Terminal
from state.errors import BadInput

if TYPE_CHECKING:
    from graph.runs import Runs
    from graph.services import Services
    from state.records import Record
    from state.request import RunRequest
    from tools.endpoint.spending import Spending
    from tools.settings import Settings

# Elsewhere than on a terminal, as wide as COLUMNS says.
console = Terminal(width=None if sys.stdout.isatty() else shutil.get_terminal_size((140, 24)).columns)
errors = Terminal(stderr=True)

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's name, as 'corral runs' lists it; 'latest' for the newest.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Overwrite a file that exists, without asking.")]
JudgeConfig = Annotated[
    Path | None, typer.Option(help="A config; its models.judge and judge sections say who judges, and how.")
]
JudgeBudget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        min=0,
        metavar="DOLLARS",
        help="Spend at most so much. Default: the config's budget.dollars, or no cap.",
    ),
]


def spending_of(budget: float | None, request: RunRequest) -> Spending:
    """Return the spending of a command that is no run: its cap is the option's, else the config's."""
    from tools.endpoint.spending import Spending

    return Spending(cap=request.budget.dollars if budget is None else budget)


def with_cost(found: Record, spending: Spending) -> dict[str, Any]:
    """Return what a command found as JSON has it, with what it cost: ``spent`` in dollars, and ``calls``."""
    return {**found.model_dump(mode="json"), "spent": spending.spent, "calls": spending.calls}


def open_settings() -> Settings:
    """Read the environment, and log as it says.

    Raises:
        BadInput: a variable is unknown, or its value does not fit.
    """
    from tools.logs import configure_logs
    from tools.settings import load_settings

    settings = load_settings()
    configure_logs(settings)
    return settings


def read_request(config: Path | None, given: list[str] | None = None) -> RunRequest:
    """Return a config file's request, with ``key=value`` settings over it.

    Raises:
        BadInput: the file, a key or a value is wrong.
    """
    from tools.config import load_request
    from tools.endpoint.environment import with_environment

    return with_environment(load_request(config, given or []), open_settings())


def note_small_model(request: RunRequest, *parts: str) -> None:
    """Say of each part whether the embedded model takes it because nobody named another."""
    from tools.config import left_to_the_small_model

    for line in left_to_the_small_model(request, *parts):
        errors.print(f"note: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def with_runs(work: Callable[[Runs], Coroutine[Any, Any, int]], goes_on: str = RESUME) -> None:
    """Open the runs, do the work, and exit with the code that it returns; ``goes_on`` says how stopped work goes on."""
    from graph.runs import open_runs

    async def opened() -> int:
        async with open_runs(open_settings()) as runs:
            return await work(runs)

    _exit(run_orderly(opened(), goes_on))


def with_run(
    name: str | Callable[[Services], Coroutine[Any, Any, str]], work: Callable[[Runs, str], Coroutine[Any, Any, int]]
) -> None:
    """Do the same on one run. What cannot be is refused before LangGraph is loaded, which takes a second.

    Args:
        name: what a person calls the run, or what makes it and returns its name.
        work: does the work, and returns the exit code.

    Raises:
        UnknownRun: there is no such run.
        UnreadableRun: another version began it, and this one cannot read its request.
    """
    from graph.services import open_services

    async def named() -> int:
        async with open_services(open_settings()) as services:
            run_id = await (_known(services, name) if isinstance(name, str) else name(services))
            from graph.runs import runs_over

            async with runs_over(services) as runs:
                return await work(runs, run_id)

    _exit(run_orderly(named()))


async def _known(services: Services, name: str) -> str:
    from graph.standing import named_run, status_of

    run_id = await named_run(services, name)
    await status_of(services, run_id)
    return run_id


def look(work: Callable[[Services], Coroutine[Any, Any, int]]) -> None:
    """Open what is needed to look at runs, but not to work on one; do the work, and exit with the code it returns."""
    from graph.services import open_services

    async def opened() -> int:
        async with open_services(open_settings()) as services:
            return await work(services)

    _exit(run_orderly(opened()))


def look_at(name: str, work: Callable[[Services, str], Coroutine[Any, Any, int]]) -> None:
    """Do the same with the run that a person means by ``name``."""
    from graph.standing import named_run

    async def named(services: Services) -> int:
        return await work(services, await named_run(services, name))

    look(named)


def may_replace(path: Path, yes: bool) -> None:
    """Ask before a file is overwritten.

    Args:
        path: where a command will write; nothing is asked if there is nothing yet.
        yes: whether the person has agreed already.

    Raises:
        BadInput: it is a folder, or the person says no, or there is no terminal to ask on.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name a file")
    if path.exists() and not yes:
        confirm(f"{path} exists; overwrite it?", f"{path} exists already; --yes overwrites it")


def demand_ending(path: Path | None, *endings: str) -> None:
    """Refuse a file whose name says that something else is in it than what will be written.

    Args:
        path: where a command will write; a device, a pipe or a name without an ending may be anything.
        endings: that fit, the usual one first, such as ``.svg``.

    Raises:
        BadInput: its ending is another one.
    """
    if path is not None and path.suffix and path.suffix.lower() not in endings:
        raise BadInput(f"{path}: this command writes {' or '.join(endings)}; name a file that ends so")


def confirm(question: str, refusal: str) -> None:
    """Ask a person on the terminal to agree.

    Raises:
        BadInput: the person says no, or there is no terminal to ask on; the message is ``refusal``.
    """
    if not sys.stdin.isatty() or not typer.confirm(question, err=True):
        raise BadInput(refusal)


def print_json(value: Any) -> None:
    """Print a value as JSON; records become objects."""
    print(json.dumps(value, default=lambda record: record.model_dump(mode="json"), indent=1))


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)
