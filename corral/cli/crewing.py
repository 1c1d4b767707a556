"""``corral crew``: CrewAI's agents run the whole workflow with tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corral.cli.shared import console, errors, note_small_model, open_settings, read_request, with_runs
from corral.cli.signals import AGAIN
from state.wording import number_of

if TYPE_CHECKING:
    from graph.crews.journal import Journal
    from graph.crews.result import CrewResult
    from graph.crews.session import CrewSession
    from graph.runs import Runs
    from state.request import RunRequest
    from tools.progress import Progress


def crew(
    name: Annotated[
        str, typer.Argument(metavar="CREW", help="'sequential', 'hierarchical', or a folder with agents and tasks.")
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG.yaml", help="A run's config; what is not in it has its default.")
    ] = None,
    instructions: Annotated[
        int | None, typer.Option(min=0, max=1_000_000, help="Instructions to write. Default: the config's, or 200.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The model to train: 'embedded', a folder, or a hub name. Default: the config's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting over the config's, such as train.epochs=3."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0, metavar="DOLLARS", help="Spend at most so much, the agents' own calls included."),
    ] = None,
    rules: Annotated[
        bool, typer.Option("--rules", help="Let the rules decide, even where the generator is a model that could.")
    ] = False,
) -> None:
    """Let a crew of CrewAI agents plan, start and judge a run: from instructions to a measured adapter.

    Where models.generator is a server, that model decides; else the decision trees do, as rules. What an agent decides
    is kept in crew.json of the run's folder. The agents' own calls may take a fifth of the budget.

    The same command goes on with a crew that was killed, and so does 'corral resume RUN': what its agents decided and
    its tools did is kept, and no answer is paid for again.
    """
    from tools.crews.reading import crew_folder, read_crew

    crew_folder(name)
    before = read_request(config, set_)
    # Behind that: the tools take two seconds to load.
    from corral.crew_tools import Inputs, planned
    from graph.crews.catalogue import TOOLS

    read_crew(name, TOOLS)  # what is wrong with its files is said before anything is planned
    usual = before.generation.target if config else Inputs().instructions
    given = Inputs(
        instructions=usual if instructions is None else instructions,
        base=base or before.models.base,
        crew=name,
        config=config,
        settings=set_ or [],
        budget=budget,
        rule_based=rules,
    )
    request = planned(given, open_settings())

    async def work(runs: Runs) -> int:
        from graph.crews.kickoff import begin_crew, go_on

        session = _session(runs, request)
        journal = await begin_crew(session, name, rule_based=rules)
        note_small_model(request, "generator", "judge")
        return await _told(runs, await go_on(session, journal))

    with_runs(work, AGAIN)


async def go_on_with_crew(runs: Runs, journal: Journal) -> int:
    """Go on with a crew that came to no end, and return the exit code."""
    from graph.crews.kickoff import go_on

    return await _told(runs, await go_on(_session(runs, journal.plan.request), journal))


def _session(runs: Runs, request: RunRequest) -> CrewSession:
    """Return a session whose run is watched on the terminal."""
    from corral.cli.watch import watch
    from graph.crews.session import CrewSession

    async def follow(run_id: str, events: AsyncIterator[Progress]) -> None:
        await watch(runs, run_id, events, console)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    return CrewSession(runs, asyncio.get_running_loop(), request, follow=follow, tell=tell)


async def _told(runs: Runs, result: CrewResult) -> int:
    """Print what a crew did and what its run made, and return the exit code."""
    _print(result)
    return await _ended(runs, result)


async def _ended(runs: Runs, result: CrewResult) -> int:
    """Print what the run made, and return the exit code."""
    from corral.cli.advancing import WAITING
    from corral.cli.outcome import print_results
    from graph.standing import how_to_answer

    if not result.run_id:
        errors.print("no run was started", style="red", highlight=False)
        return 1
    state = await runs.state(result.run_id)
    print_results(console, runs.services, result.run_id, state)
    if result.standing == "waiting":
        waits = how_to_answer(await runs.status(result.run_id))
        console.print(f"waiting for a person: {waits}", style="bold", highlight=False)
        return WAITING
    if result.standing != "done":
        line = f"run {result.run_id} is {result.standing}; 'corral resume {result.run_id}' goes on with it"
        errors.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    return 0


def _print(result: CrewResult) -> None:
    """Print who decided, what came of each task, and what it cost."""
    from corral.cli.tables import print_table
    from tools.visible import one_line

    answers = [(task, one_line(said)) for task, said in result.answers.items()]
    print_table(console, ("task", "what came of it"), answers)
    said = (
        f"crew {result.crew}, decided by {result.decided_by}: {number_of(len(result.decisions), 'decision')}, "
        f"{number_of(len(result.uses), 'use')} of tools, {result.failed} in vain; "
        f"${result.spent:.4f} on {number_of(result.calls, 'call')} of its own, "
        f"${result.run_spent:.4f} by the run"
    )
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    for use in result.uses:
        if use.outcome != "done":
            line = f"{use.tool} {use.outcome}: {one_line(use.said)}"
            errors.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
