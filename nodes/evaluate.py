"""evaluate: base and adapter answer held-out prompts and read held-out texts; the scoreboard says which is better."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from state.pipeline import Node, PipelineState
from state.records import Answer, Outcome, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.dataset.seeding import imitated_seeds
from tools.endpoint.chat import OpenEndpoint
from tools.evaluation.perplexity import heldout_passages, paired_nats, read_scores, write_scores
from tools.evaluation.scoreboard import score_answers
from tools.evaluation.winning import WinRate, judge_pairs, pairs_to_judge
from tools.files import write_file
from tools.judging import CrewJudge
from tools.progress import report
from tools.sources.seeds import load_seed_tasks
from tools.weights.answering import Ask, Drawing, GeneratedAnswer, Passage, PassageScore, answer
from tools.weights.folders import base_folder

BASE = "base"
SCORES = "nats.json"
"""The file in a model's folder that keeps its scores of the held-out texts."""


def make_evaluate(store: RecordStore, runs_folder: Path, cache: Path, open_endpoint: OpenEndpoint) -> Node:
    """Return the node.

    Args:
        store: the record store.
        runs_folder: each run has a folder of its name in it.
        cache: where the embedded base is kept once it is converted.
        open_endpoint: opens the judge's model.
    """
    measuring = Measuring(store, runs_folder, cache)

    async def evaluate(state: PipelineState) -> PipelineState:
        run_id, request, adapter = state["run_id"], state["request"], state["adapter"]
        samples = await heldout_samples(store, run_id, request)
        training = await store.find(run_id, Sample, tag="train")
        seeds = await asyncio.to_thread(load_seed_tasks, Path(request.sources.seeds))
        passages = heldout_passages(samples, seeds, training + imitated_seeds(seeds, request.train.seed_share))
        each = len(samples) * (1 + request.evaluate.sampled_draws) + len(passages)
        report("evaluate", total=2 * each + min(request.evaluate.judged_pairs, len(samples)))

        before, nats_before = await measuring.measure(state, samples, passages, BASE, None)
        after, nats_after = await measuring.measure(state, samples, passages, adapter.id, Path(adapter.folder))
        pairs = pairs_to_judge(samples, before, after, request.evaluate.judged_pairs)
        win_rate = await judged(open_endpoint, state, pairs)
        nats = paired_nats(passages, nats_before, nats_after)
        board = await asyncio.to_thread(
            score_answers, samples, before, after, request.evaluate, request.seed, nats=nats, win_rate=win_rate
        )
        board = board.model_copy(update={"notes": tuple(state.get("warnings", ()))})
        place = runs_folder / run_id / "evaluation" / f"scoreboard-{adapter.id[:8]}.json"
        await asyncio.to_thread(write_file, place, (board.model_dump_json(indent=1) + "\n").encode())
        return {"verdict": board.record(str(place))}

    return evaluate


@dataclass(frozen=True)
class Measuring:
    """Lets a model answer and read what it has not yet; its attributes are ``make_evaluate``'s arguments."""

    store: RecordStore
    runs_folder: Path
    cache: Path

    async def measure(
        self,
        state: PipelineState,
        samples: Sequence[Sample],
        passages: Sequence[Passage],
        model: str,
        adapter: Path | None,
    ) -> tuple[list[Answer], dict[str, PassageScore]]:
        """Return a model's answers and its scores of the texts: what is kept, and what was missing."""
        run_id, request = state["run_id"], state["request"]
        folder = self.runs_folder / run_id / "evaluation" / model
        kept = await asyncio.to_thread(read_scores, folder / SCORES)
        asks = asks_left(samples, await self.store.find(run_id, Answer, tag=model), request.evaluate.sampled_draws)
        unscored = [passage for passage in passages if passage.id not in kept]
        wanted = len(samples) * (1 + request.evaluate.sampled_draws) + len(passages)
        report("evaluate", wanted - len(asks) - len(unscored))
        who = "adapter" if adapter else BASE

        async def keep(given: GeneratedAnswer) -> None:
            await self.store.add(run_id, [answer_record(model, given)])
            report("evaluate", 1, note=f"{who} answers")

        def note(score: PassageScore) -> None:
            kept[score.id] = score
            report("evaluate", 1, note=f"{who} reads held-out texts")

        if asks or unscored:
            await answer(
                await asyncio.to_thread(base_folder, request.models.base, self.cache),
                adapter,
                asks,
                max_tokens=request.evaluate.max_tokens,
                batch_size=request.evaluate.batch_size,
                folder=folder,
                on_answer=keep,
                drawing=drawing_of(request),
                passages=unscored,
                on_score=note,
            )
            await asyncio.to_thread(write_scores, folder / SCORES, list(kept.values()))
        return await self.store.find(run_id, Answer, tag=model), kept


async def judged(
    open_endpoint: OpenEndpoint, state: PipelineState, pairs: Sequence[tuple[Sample, Answer, Answer]]
) -> WinRate | None:
    """Return the judge's word on pairs of answers; ``None`` where it is not asked for one."""
    request = state["request"]
    if not pairs:
        return None
    judge = CrewJudge(await open_endpoint(request.models.judge, state["run_id"]), request.judge, seed=request.seed)
    return await judge_pairs(judge, pairs, request.seed, lambda: report("evaluate", 1, note="the judge compares"))


def asks_left(samples: Sequence[Sample], answers: Sequence[Answer], draws: int) -> list[Ask]:
    """Return the answers that are still wanted: a greedy one and ``draws`` sampled ones for each prompt."""
    there = {(found.sample_id, found.draw) for found in answers}
    wanted = [Ask(s.id, s.prompt, draw, s.input) for s in samples for draw in range(draws + 1)]
    return [ask for ask in wanted if (ask.id, ask.draw) not in there]


def drawing_of(request: RunRequest) -> Drawing:
    """Return how the run's sampled answers are drawn: as its training candidates are, by its seed."""
    return Drawing(temperature=request.sampling.temperature, top_p=request.sampling.top_p, seed=request.seed)


async def heldout_samples(store: RecordStore, run_id: str, request: RunRequest) -> list[Sample]:
    """Return the prompts of the evaluation: the same ones for every adapter of the run."""
    samples = await store.find(run_id, Sample, tag="heldout", outcome=Outcome.ACCEPTED)
    return samples[: request.evaluate.limit]


def answer_record(model: str, given: GeneratedAnswer) -> Answer:
    """Return a generated answer as the store keeps it."""
    return Answer(
        id=content_hash(model, given.id, *([given.draw] if given.draw else [])),
        sample_id=given.id,
        model=model,
        draw=given.draw,
        text=given.text,
        ended=given.ended,
        tokens=given.tokens,
    )
