"""Let a model answer held-out prompts and read held-out texts, and let the judge compare answers; once for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from state.errors import CallRefused
from state.pipeline import PipelineState
from state.records import Answer, Outcome, Sample
from state.request import RunRequest
from state.store import RecordStore
from tools.batch import for_each
from tools.endpoint.chat import ChatCall, ChatEndpoint, OpenEndpoint
from tools.evaluation.asking import (
    PUBLIC,
    PUBLIC_TOKENS,
    Passage,
    PassageScore,
    Wanted,
    answer_call,
    answer_record,
    answers_wanted,
    passage_call,
    passage_score,
    weights_endpoint,
)
from tools.evaluation.winning import WinRate, measure_win_rate
from tools.judging import CrewJudge
from tools.progress import report_progress

BASE = "base"


@dataclass(frozen=True)
class Measuring:
    """Lets a model answer and read what it has not yet; the store and the endpoints are the node's arguments."""

    store: RecordStore
    open_endpoint: OpenEndpoint
    step: str
    """Whose progress it is."""

    async def measure(
        self,
        state: PipelineState,
        samples: Sequence[Sample],
        passages: Sequence[Passage],
        model: str,
        weights: str,
    ) -> tuple[list[Answer], dict[str, PassageScore]]:
        """Return a model's answers and its scores of the texts, asking for what the store and the ledger lack.

        Args:
            state: the run's.
            samples: the held-out prompts.
            passages: the held-out texts.
            model: the model's name in the store: ``base``, or the adapter's id.
            weights: where it lies, as ``weights_endpoint`` takes it.

        Raises:
            EndpointError: the model processes fail, or refuse every prompt.
        """
        run_id, request = state["run_id"], state["request"]
        endpoint = await self.open_endpoint(weights_endpoint(weights), run_id)
        there = await self.store.find(run_id, Answer, tag=model)
        wanted = answers_wanted(samples, there, request.evaluate.sampled_draws)
        report_progress(self.step, len(samples) * (1 + request.evaluate.sampled_draws) - len(wanted))
        who = BASE if model == BASE else "adapter"

        async def keep(answer: Answer) -> None:
            await self.store.add(run_id, [answer])

        def call(one: Wanted) -> ChatCall:
            return answer_call(one, request.evaluate.max_tokens, request.sampling, request.seed)

        await ask_all(endpoint, wanted, call, model, keep, self.step)
        scores = await asyncio.gather(*(read(endpoint, passage, who, self.step) for passage in passages))
        return await self.store.find(run_id, Answer, tag=model), {score.id: score for score in scores}

    async def public(self, state: PipelineState, samples: Sequence[Sample], model: str, weights: str) -> list[Answer]:
        """Return a model's greedy answers to IFEval's prompts, asking for what the ledger lacks.

        The store has none of them: what it has of the evaluation counts for the verdict.

        Args:
            state: the run's.
            samples: the fixed sample.
            model: the model's name: ``base``, or the adapter's id.
            weights: where it lies, as ``weights_endpoint`` takes it.

        Raises:
            EndpointError: the model processes fail, or refuse every prompt.
        """
        if not samples:
            return []
        endpoint = await self.open_endpoint(weights_endpoint(weights), state["run_id"])
        found: list[Answer] = []

        async def keep(answer: Answer) -> None:
            found.append(answer)

        def call(one: Wanted) -> ChatCall:
            return answer_call(one, PUBLIC_TOKENS, state["request"].sampling, state["request"].seed, PUBLIC)

        await ask_all(endpoint, answers_wanted(samples, [], 0), call, model, keep, self.step)
        return found


async def ask_all(
    endpoint: ChatEndpoint,
    wanted: Sequence[Wanted],
    call: Callable[[Wanted], ChatCall],
    model: str,
    keep: Callable[[Answer], Awaitable[None]],
    step: str,
) -> None:
    """Ask for answers, and keep each as it comes.

    Args:
        endpoint: the model's.
        wanted: the answers.
        call: returns the call for one.
        model: the model's name: ``base``, or the adapter's id.
        keep: called with each answer.
        step: whose progress it is.

    Raises:
        EndpointError: the model processes fail, or refuse every prompt.
    """
    who = BASE if model == BASE else "adapter"
    refused: list[CallRefused] = []

    async def ask(one: Wanted) -> None:
        try:
            completion = await endpoint.complete(call(one))
        except CallRefused as error:
            # One prompt that the model cannot take counts as not answered; the ledger has the reason.
            refused.append(error)
        else:
            await keep(answer_record(model, one, completion))
        report_progress(step, 1, note=f"{who} answers")

    await for_each(wanted, ask)
    if refused and len(refused) == len(wanted):
        raise refused[0]


async def read(endpoint: ChatEndpoint, passage: Passage, who: str, step: str) -> PassageScore:
    """Return a model's score of a held-out text."""
    score = passage_score(passage, await endpoint.likelihood(passage_call(passage)))
    report_progress(step, 1, note=f"{who} reads held-out texts")
    return score


async def judged(
    open_endpoint: OpenEndpoint, state: PipelineState, pairs: Sequence[tuple[Sample, Answer, Answer]]
) -> WinRate | None:
    """Return the judge's word on pairs of answers; ``None`` where it is not asked for one."""
    request = state["request"]
    if not pairs:
        return None
    judge = CrewJudge(await open_endpoint(request.models.judge, state["run_id"]), request.judge, seed=request.seed)
    return await measure_win_rate(judge, pairs, lambda: report_progress("evaluate", 1, note="the judge compares"))


async def heldout_samples(store: RecordStore, run_id: str, request: RunRequest) -> list[Sample]:
    """Return the prompts of the evaluation: the same ones for every adapter of the run."""
    samples = await store.find(run_id, Sample, tag="heldout", outcome=Outcome.ACCEPTED)
    return samples[: request.evaluate.limit]
