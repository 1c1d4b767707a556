"""A run that waits for people at its review, without the steps before it: what each door to it is tried on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph.inputs import begin
from graph.runs import Runs
from state.records import Candidate, Outcome, Sample
from state.request import RunRequest
from tests.builders import candidate, judgement, sample

PROMPT = "Name three rivers of Europe, in at most five words."


def answers(of: Sample, number: int) -> list[Candidate]:
    """Return answers that the judges could not decide on."""
    return [candidate(of, f"The river {n}.", draw=n, outcome=Outcome.WAITING) for n in range(number)]


async def waiting_run(
    runs: Runs,
    run: str = "mine",
    number: int = 4,
    *,
    rows: Sequence[Candidate] = (),
    gold: Path | None = None,
    **review: Any,
) -> list[str]:
    """Bring a run to its review, and return the ids of what waits, in the order in which it asks.

    Args:
        runs: all runs.
        run: its name.
        number: answers that wait.
        rows: these answers in their place.
        gold: the file of gold answers.
        **review: settings of the request's section.
    """
    sections = {"generation": {"target": 0}, "models": {"base": "nobody/no-model"}}
    sections |= {"sources": {"gold": str(gold)}} if gold else {}
    request = RunRequest.model_validate(sections | {"review": {"audit_share": 0.0} | review})
    await begin(runs.services, run, request)
    asked = sample(PROMPT, checks=[{"kind": "max_words", "value": 5}])
    made = list(rows) or answers(asked, number)
    store = runs.services.store
    await store.add(run, [asked])
    await store.add(run, made)
    await store.add(run, [judgement(one, 3, 60.0, outcome=one.outcome) for one in made])
    config: Any = {"configurable": {"thread_id": run}}
    await runs.pipeline.aupdate_state(config, {"request": request, "training_round": 0}, as_node="judge")
    await advance(runs, run)
    return sorted(one.id for one in made if one.outcome == Outcome.WAITING)


async def advance(runs: Runs, run: str = "mine", answer: Any = None) -> None:
    """Work on a run up to the end of its review: there is nothing to train behind it."""
    async for _ in runs.advance(run, answer, last="review"):
        pass
    status = await runs.status(run)
    if (status.standing, status.step) == ("stopped", "review"):  # LangGraph stops after each page
        await advance(runs, run)
