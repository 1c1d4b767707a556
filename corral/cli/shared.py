"""What several commands share: consoles, arguments, and the way to settings and runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from corral.cli.signals import run_orderly
from corral.cli.terminal import Terminal
from graph.runs import Runs, open_runs
from state.request import RunRequest
from tools.config import load_request
from tools.logs import configure_logs
from tools.settings import Settings, load_settings

console = Terminal(width=None if sys.stdout.isatty() else 140)
errors = Terminal(stderr=True)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as 'corral runs' lists it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JudgeConfig = Annotated[
    Path | None, typer.Option(help="A config; its models.judge and judge sections say who judges, and how.")
]


def open_settings() -> Settings:
    """Read the environment, and log as it says.

    Raises:
        BadInput: a variable is unknown, or its value does not fit.
    """
    settings = load_settings()
    configure_logs(settings)
    return settings


def read_request(config: Path | None, given: list[str] | None = None) -> RunRequest:
    """Return a config file's request, with ``key=value`` settings over it.

    Raises:
        BadInput: the file, a key or a value is wrong.
    """
    return load_request(config, given or [], openai_base_url=open_settings().openai_base_url)


def with_runs(work: Callable[[Runs], Coroutine[Any, Any, int]]) -> None:
    """Open the runs, do the work, and exit with the code that it returns."""

    async def opened() -> int:
        async with open_runs(open_settings()) as runs:
            return await work(runs)

    code = run_orderly(opened())
    if code:
        raise typer.Exit(code)


def print_json(value: Any) -> None:
    """Print a value as JSON; records become objects."""
    print(json.dumps(value, default=lambda record: record.model_dump(mode="json"), indent=1))
