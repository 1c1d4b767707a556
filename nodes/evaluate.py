"""evaluate: base and adapter answer the held-out prompts, and the scoreboard says which is better."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from state.pipeline import Node, PipelineState
from state.records import Answer, Outcome, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.evaluation.scoreboard import score_answers
from tools.files import write_file
from tools.progress import report
from tools.training.answering import GeneratedAnswer, answer
from tools.training.base_model import base_folder

BASE = "base"


def make_evaluate(store: RecordStore, runs_folder: Path, cache: Path) -> Node:
    """Return the node.

    Args:
        store: the record store.
        runs_folder: each run has a folder of its name in it.
        cache: where the embedded base is kept once it is converted.
    """

    async def answers_of(state: PipelineState, samples: Sequence[Sample], adapter: Path | None) -> list[Answer]:
        """Return the model's answers: those in the store, and new ones for what is missing there."""
        run_id, request = state["run_id"], state["request"]
        model = state["adapter"].id if adapter else BASE
        there = {a.sample_id for a in await store.find(run_id, Answer, tag=model)}
        missing = [(s.id, s.prompt) for s in samples if s.id not in there]
        report("evaluate", len(samples) - len(missing))

        async def keep(given: GeneratedAnswer) -> None:
            await store.add(run_id, [answer_record(model, given)])
            report("evaluate", 1, note="adapter" if adapter else "base")

        if missing:
            await answer(
                await asyncio.to_thread(base_folder, request.models.base, cache),
                adapter,
                missing,
                max_tokens=request.evaluate.max_tokens,
                batch_size=request.evaluate.batch_size,
                folder=runs_folder / run_id / "evaluation" / model,
                on_answer=keep,
            )
        return await store.find(run_id, Answer, tag=model)

    async def evaluate(state: PipelineState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        samples = await heldout_samples(store, run_id, request)
        report("evaluate", total=2 * len(samples))
        base = await answers_of(state, samples, None)
        adapter = await answers_of(state, samples, Path(state["adapter"].folder))
        board = await asyncio.to_thread(score_answers, samples, base, adapter, request.evaluate, request.seed)
        board = board.model_copy(update={"notes": tuple(state.get("warnings", ()))})
        place = runs_folder / run_id / "evaluation" / f"scoreboard-{state['adapter'].id[:8]}.json"

        await asyncio.to_thread(write_file, place, (board.model_dump_json(indent=1) + "\n").encode())
        return {"verdict": board.record(str(place))}

    return evaluate


async def heldout_samples(store: RecordStore, run_id: str, request: RunRequest) -> list[Sample]:
    """Return the prompts of the evaluation: the same ones for every adapter of the run."""
    samples = await store.find(run_id, Sample, tag="heldout", outcome=Outcome.ACCEPTED)
    return samples[: request.evaluate.limit]


def answer_record(model: str, given: GeneratedAnswer) -> Answer:
    """Return a generated answer as the store keeps it."""
    return Answer(
        id=content_hash(model, given.id),
        sample_id=given.id,
        model=model,
        text=given.text,
        ended=given.ended,
        tokens=given.tokens,
    )
