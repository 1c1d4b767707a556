"""Commands over the loop: improve, canary."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from corral.cli.shared import console, errors, open_settings, read_request, with_runs
from state.errors import BadInput

if TYPE_CHECKING:
    from graph.runs import Runs
    from state.request import RunRequest

Config = Annotated[
    Path | None, typer.Argument(metavar="CONFIG.yaml", help="What a new run shall do; without it, the defaults.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting over the file's, such as improve.rule=interval."),
]
Unattended = Annotated[
    bool, typer.Option("--unattended", help="Never wait for a person: policies sign, promote and roll back.")
]
Every = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Look again and again, such as every 30m, 1h or 1d; without it, once."),
]
Promote = Annotated[bool, typer.Option("--promote", help="Let it take the place of the current version.")]
End = Annotated[bool, typer.Option("--end", help="Serve the current version alone again.")]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def improve(config: Config = None, set_: Set = None, unattended: Unattended = False, every: Every = None) -> None:
    """Look at what people say of the deployed version, and make the next one where that is a reason to.

    A version that is tried on a share of the users is looked at first, and an improvement that was killed goes on. Two
    at once are refused. Exit code 0 where nothing is to do, 3 where a person is asked.
    """
    seconds = seconds_of(every)
    request = read_request(config, [*(set_ or []), *(["unattended=true"] if unattended else [])])

    async def work(runs: Runs) -> int:
        code = await _turn(runs, request)
        while seconds:
            await asyncio.sleep(seconds)
            code = await _turn(runs, request)
        return code

    with_runs(work)


def canary(promote: Promote = False, end: End = False) -> None:
    """Show how the version fares that is tried on a share of the users; promote it, or end its trial."""
    if promote and end:
        raise BadInput("--promote and --end exclude each other")

    from tools.improvement.canary import close_canary, read_canary

    registry = open_settings().home / "registry"
    tried = read_canary(registry)
    if tried is None:
        none = f"no version of {registry} is being tried; CORRAL_SERVE_CANARY sets the share for the next"
        if promote or end:
            raise BadInput(none)
        _say(none)
        return

    async def look(runs: Runs) -> int:
        from graph.improving import look_at_canary
        from tools.registry import point

        decision = await look_at_canary(runs, tried)
        _say(f"{tried.version} serves {tried.share:g} of the users beside {tried.against}: {decision.reason}")
        if promote:
            await asyncio.to_thread(point, registry, tried.version)
        if promote or end:
            await asyncio.to_thread(close_canary, registry)
            _say(f"{registry / 'current'} -> {tried.version if promote else tried.against}")
        return 0

    with_runs(look)


async def _turn(runs: Runs, request: RunRequest) -> int:
    """Do what is to do next, and return the exit code."""
    from corral.cli.advancing import WAITING, advance
    from graph.improving import next_turn

    turn = await next_turn(runs, request)
    _say(turn.reason)
    match turn.action:
        case "trying" | "settled" | "wait":
            return 0
        case "waits for a person":
            return WAITING
        case "run":
            status = await runs.status(turn.run)
            if status.standing == "waiting":
                from graph.standing import how_to_answer

                errors.print(f"it waits for a person: {how_to_answer(status)}", highlight=False, soft_wrap=True)
                return WAITING
            return await advance(runs, turn.run)
        case _:
            assert_never(turn.action)


def seconds_of(every: str | None) -> float:
    """Return a time such as ``90s``, ``30m``, ``1h`` or ``1d`` in seconds; 0 for none.

    Raises:
        BadInput: it is no such time, or less than a second.
    """
    if every is None:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", every.strip())
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not 1 <= seconds <= 366 * UNITS["d"]:
        raise BadInput(f"--every takes a time such as 90s, 30m, 1h or 1d, not {every!r}")
    return seconds


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
