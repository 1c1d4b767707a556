"""Work on a run while somebody watches, and ask the person at the terminal what it asks."""

from __future__ import annotations

import sys
from typing import Any

from corral.cli.ask import ask
from corral.cli.shared import console, errors
from corral.cli.tables import print_results
from corral.cli.watch import watch
from graph.runs import Runs
from graph.standing import how_to_answer
from state.errors import BadInput, RunBusy

WAITING = 3
"""The exit code of a run that waits for a person."""


async def advance(runs: Runs, name: str, answer: Any = None) -> int:
    """Work on a run until it is done or waits for a person, print what it made, and return the exit code.

    Args:
        runs: all runs.
        name: the run's name.
        answer: what a person answers to the question that the run waits with; ``None`` where it does not wait.
    """
    await watch(runs, name, runs.advance(name, answer), console)
    status = await runs.status(name)
    if status.standing == "waiting" and sys.stdin.isatty() and console.is_terminal:
        return await answer_run(runs, name, status.step, None)
    print_results(console, runs.services, name, await runs.state(name))
    if status.standing == "waiting":
        console.print(f"waiting for a person: {how_to_answer(status)}", style="bold", highlight=False)
        return WAITING
    if "dataset" not in await runs.state(name):
        errors.print("stopped: no prompt was accepted, so there is nothing to answer", style="red", highlight=False)
        return 1
    return 0


async def answer_run(runs: Runs, name: str, command: str, given: Any, repeat: bool = False) -> int:
    """Answer the question that a run waits with, work on it, and return the exit code.

    Args:
        runs: all runs.
        name: the run's name.
        command: the step that the answer is for; ``review``, or any other for all other questions.
        given: the answer; a word for all items; or ``None`` to ask on the terminal.
        repeat: whether to answer the pages that follow in the same way.

    Raises:
        RunBusy: another process works on the run.
        BadInput: the run does not wait, waits at another step, or there is no terminal to ask on.
    """
    status = await runs.status(name)
    if status.standing == "running":
        raise RunBusy(f"run {name} is being worked on {status.detail}; wait for it to end or to ask")
    if status.standing != "waiting":
        raise BadInput(f"run {name} does not wait for a person; it is {status.standing}")
    if (command == "review") != (status.step == "review"):
        raise BadInput(f"run {name} waits at {status.step}; answer it with {how_to_answer(status)}")
    question = (await runs.interrupts(name))[0].value
    if given is None and not sys.stdin.isatty():
        raise BadInput("there is no terminal to ask on; give the answer as an option (see --help)")
    reviewer = runs.services.settings.reviewer
    answer = ask(console, question, reviewer) if given is None else given
    if isinstance(answer, str):
        answer = {"decisions": [{"type": answer}] * len(question["action_requests"])}
    code = await advance(runs, name, {"reviewer": reviewer} | answer)
    if repeat and code == WAITING and (await runs.status(name)).step == "review":
        return await answer_run(runs, name, command, given, repeat)
    return code
