"""Work on a run while somebody watches, and ask the person at the terminal what it asks."""

from __future__ import annotations

import sys
from typing import Any

import typer

from corral.cli.ask import ask
from corral.cli.keys import Keys
from corral.cli.outcome import print_results
from corral.cli.reviewing import review_here
from corral.cli.shared import console, errors
from corral.cli.signals import ended_at_once
from corral.cli.watch import watch
from graph.reviews import Reviews, Sent
from graph.runs import Runs
from graph.standing import how_to_answer
from state.errors import BadInput, RunBusy
from state.extras import install_command, missing_modules

WAITING = 3
"""The exit code of a run that waits for a person."""


async def advance(runs: Runs, name: str, answer: Any = None, *, take_over: bool = False) -> int:
    """Work on a run until it is done or waits for a person, print what it made, and return the exit code.

    Args:
        runs: all runs.
        name: the run's name.
        answer: what a person answers to the question that the run waits with; ``None`` where it does not wait.
        take_over: take the run from a live process that works on it.
    """
    if answer is None:
        # What people decided elsewhere may be all that it waits for.
        answer = await Reviews(runs).answer_of(name)
    await watch(runs, name, runs.advance(name, answer, take_over=take_over), console)
    status = await runs.status(name)
    if status.standing == "waiting" and asks_here():
        return await answer_run(runs, name, status.step, None)
    print_results(console, runs.services, name, await runs.state(name))
    if status.standing == "waiting":
        console.print(f"waiting for a person: {how_to_answer(status)}", style="bold", highlight=False)
        return WAITING
    state = await runs.state(name)
    if status.standing == "stopped" and status.step == "train" and missing_modules("train"):
        console.print(
            f"stopped before its training, which this installation has no packages for. The dataset is in "
            f"{state['dataset'].folder}; 'corral export {name} --format sft --out FILE' writes it for another trainer. "
            f"'corral resume {name}' trains after {install_command('train')}",
            style="bold",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return 0
    if "dataset" not in state:
        errors.print("stopped: no prompt was accepted, so there is nothing to answer", style="red", highlight=False)
        return 1
    return 0


async def answer_run(runs: Runs, name: str, command: str, given: Any, repeat: bool = False, action: str = "") -> int:
    """Answer the question that a run waits with, work on it, and return the exit code.

    Args:
        runs: all runs.
        name: the run's name.
        command: the step that the answer is for; ``review``, or any other for all other questions.
        given: the answer; a word for all items; or ``None`` to ask on the terminal.
        repeat: whether to answer the pages that follow in the same way.
        action: what the answer is about, where it fits no other question.

    Raises:
        RunBusy: another process works on the run.
        BadInput: the run does not wait, waits with another question, or there is no terminal to ask on.
    """
    status = await runs.status(name)
    if status.standing == "running":
        raise RunBusy(f"run {name} is being worked on {status.detail}; wait for it to end or to ask")
    if status.standing != "waiting":
        raise BadInput(f"run {name} does not wait for a person; it is {status.standing}")
    if (command == "review") != (status.step == "review"):
        said = f"run {name} waits at {status.step}; answer it with {how_to_answer(status)}"
        if given is not None or not asks_here():
            raise BadInput(said)
        with ended_at_once():
            typer.confirm(f"{said}.\nGo there now?", default=True, abort=True)
        return await answer_run(runs, name, status.step, None)
    if given is None and not sys.stdin.isatty():
        raise BadInput("there is no terminal to ask on; give the answer as an option (see --help)")
    reviewer = runs.services.settings.reviewer
    if given is None and status.step == "review":
        return await after_sending(runs, name, await review_here(Reviews(runs), name, reviewer, console))
    question = await _question(runs, name, action)
    answer = given
    if answer is None:
        with Keys() as keys:
            answer = await ask(console, question, reviewer, keys)
    if isinstance(answer, str):
        answer = {"decisions": [{"type": answer}] * len(question["action_requests"])}
    code = await advance(runs, name, {"reviewer": reviewer} | answer)
    if repeat and code == WAITING and (await runs.status(name)).step == "review":
        return await answer_run(runs, name, command, given, repeat)
    return code


async def _question(runs: Runs, name: str, action: str) -> dict[str, Any]:
    """Return the question that a run waits with.

    Raises:
        BadInput: it is about another action than the one that the answer is about.
    """
    question: dict[str, Any] = (await runs.interrupts(name))[0].value
    asked = question["action_requests"][0]["name"]
    if action not in ("", asked):
        how = how_to_answer(await runs.status(name))
        raise BadInput(f"run {name} waits with {asked}, not with {action}; answer it with {how}")
    return question


def asks_here() -> bool:
    """Return whether there is a person at a terminal."""
    return sys.stdin.isatty() and console.is_terminal


async def after_sending(runs: Runs, name: str, sent: Sent | None) -> int:
    """Say what became of a person's decisions, go on with the run where all is decided, and return the exit code.

    Args:
        runs: all runs.
        name: the run's name.
        sent: what was sent; ``None`` where the person left before.
    """
    if sent is None:
        return WAITING
    console.print(f"decisions sent: {sent.sent}; items decided by them: {sent.settled}")
    if sent.gold is not None:
        console.print(sent.gold.in_words)
    for line in sent.told:
        errors.print(line, style="yellow", soft_wrap=True)
    if sent.complete:
        return await advance(runs, name)
    console.print(f"others go on waiting: {how_to_answer(await runs.status(name))}", style="bold")
    return WAITING


async def take_over(runs: Runs, name: str, agreed: bool) -> int:
    """Take a run from the process that works on it, once a person has agreed, go on with it, and return the exit code.

    Raises:
        BadInput: nobody has agreed, and there is no terminal to ask on.
    """
    status = await runs.status(name)
    if status.standing == "running" and not agreed:
        said = f"run {name} is being worked on {status.detail}"
        if not sys.stdin.isatty():
            raise BadInput(f"{said}; to take it over without being asked, add --yes")
        with ended_at_once():
            typer.confirm(
                f"{said}.\nTake it over? That process will stop, and its calls in flight are lost.", abort=True
            )
    return await advance(runs, name, take_over=True)
