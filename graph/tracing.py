"""A run in LangSmith: one tree for each time that it is worked on, with what judges and people said of each answer.

The tree is run > step > batch > call. Trees of one run share its name as their thread. What was said of an answer hangs
on the trace of the call that gave it.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from graph.services import Services
from state.errors import StorageError
from state.records import Call, Candidate, Judgement, Outcome, Record, Review
from tools.endpoint.observing import Opinion, attach
from tools.endpoint.tracing import trace_id

TRACES = "traces.jsonl"
"""In a run's folder: a line for each tree, with its id and when it began."""


async def new_tree(services: Services, run_id: str) -> RunnableConfig:
    """Return what LangGraph is configured with so that its trace is the run's; nothing where nothing is traced."""
    if not services.settings.langsmith_tracing:
        return {}
    now = datetime.now(UTC)
    root = trace_id(now, run_id)
    folder = services.runs_folder / run_id
    await asyncio.to_thread(_note, folder / TRACES, {"trace": str(root), "began": now.isoformat()})
    return {"run_name": run_id, "run_id": root, "metadata": {"thread_id": run_id, "run": run_id}}


async def attach_opinions(services: Services, run_id: str) -> None:
    """Send what judges and people said of the run's answers; nothing waits for LangSmith, and no run fails for it.

    Each opinion has an id of its own, so that one which is sent again changes nothing.
    """
    if not services.settings.langsmith_tracing:
        return
    trees = await asyncio.to_thread(_read, services.runs_folder / run_id / TRACES)
    with suppress(StorageError):
        async for page in services.store.pages(run_id, Candidate):
            asked = [one for one in page if one.call]
            said: list[Record] = [
                *await services.store.find(run_id, Judgement, parents=[one.id for one in asked]),
                *await services.store.find(run_id, Review, parents=[one.id for one in asked]),
            ]
            about = {one.id: one.call for one in asked}
            for opinion in said:
                call = await services.calls.get(about[_subject(opinion)])
                if call is not None and (tree := tree_of(trees, call, run_id)) is not None:
                    for found in opinions(opinion):
                        await asyncio.to_thread(
                            attach, found, trace_id(call.started_at, call.key), tree, services.settings
                        )


def tree_of(trees: list[tuple[datetime, UUID]], call: Call, run_id: str) -> UUID | None:
    """Return the tree in which a call was traced; ``None`` where another run made it, or nothing was traced then."""
    before = [tree for began, tree in trees if began <= call.started_at]
    return before[-1] if before and call.run_id == run_id else None


def opinions(said: Record) -> list[Opinion]:
    """Return a judgement or a review as LangSmith's feedback: scores are shares, 0 to 1."""
    if isinstance(said, Judgement):
        if said.outcome == Outcome.FAILED:
            return []
        given = [("overall", said.overall), *((one.dimension, one.score) for one in said.scores)]
        scores = {name: score / 100 for name, score in given if score is not None}
        stars = Opinion(key="judge.stars", score=said.stars, who=said.judge, comment=said.feedback, said_in=said.id)
        return [
            stars,
            *(Opinion(key=f"judge.{n}", score=s, who=said.judge, said_in=said.id) for n, s in scores.items()),
        ]
    assert isinstance(said, Review)
    key = "policy.decision" if said.reviewer.startswith("policy:") else "person.decision"
    score = {"approve": 1.0, "edit": 0.0, "reject": 0.0}.get(said.decision)
    decided = Opinion(
        key=key, score=score, value=said.decision, who=said.reviewer, comment=said.comment, said_in=said.id
    )
    rated = [
        Opinion(key=f"person.{name}", score=s, who=said.reviewer, said_in=said.id) for name, s in said.ratings.items()
    ]
    return [decided, *rated]


def _subject(said: Record) -> str:
    return said.candidate_id if isinstance(said, Judgement) else str(getattr(said, "item_id", ""))


def _note(path: Path, line: dict[str, str]) -> None:
    # No run fails for its trace.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _read(path: Path) -> list[tuple[datetime, UUID]]:
    """Return when each tree began, and its id; a torn line is skipped."""
    found = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").split("\n"):
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                found.append((datetime.fromisoformat(row["began"]), UUID(row["trace"])))
    return found
