"""respond: the policy answers each training prompt k times, every draw with its own seed."""

from __future__ import annotations

import asyncio

from state.errors import AnswerInvalid, BudgetExceeded, RateLimited
from state.pipeline import BatchNode, BatchState, Pending, PipelineState
from state.records import Candidate, Outcome, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.batch import for_each
from tools.checks.guard import guard
from tools.endpoint.chat import ChatCall, ChatEndpoint, Completion, Message, OpenEndpoint
from tools.progress import report


def prompts_to_answer(store: RecordStore) -> Pending:
    """Return what tells which samples still lack candidates; one that waits for a person is answered meanwhile."""

    async def pending(state: PipelineState) -> list[str]:
        run_id = state["run_id"]
        usable = await store.ids(run_id, Sample, tag="train", outcome=Outcome.ACCEPTED)
        usable += await store.ids(run_id, Sample, tag="train", outcome=Outcome.WAITING)
        drawn = await store.children(run_id, Candidate)
        return [sample for sample in usable if drawn[sample] < state["request"].sampling.candidates]

    return pending


def make_respond(store: RecordStore, open_endpoint: OpenEndpoint) -> BatchNode:
    """Return the node; it answers the samples of one batch."""

    async def respond(state: BatchState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        endpoint = await open_endpoint(request.models.policy, run_id)
        there = await store.find(run_id, Candidate, parents=state["ids"])
        drawn = {(c.sample_id, c.draw) for c in there}

        async def answer(sample: Sample) -> None:
            draws = [d for d in range(request.sampling.candidates) if (sample.id, d) not in drawn]
            capped = state.get("capped", False)
            done = await asyncio.gather(*(draw_candidate(endpoint, sample, d, request, capped) for d in draws))
            await store.add(run_id, done)
            report("respond", 1)

        samples = await store.find(run_id, Sample, ids=state["ids"])
        overspend = await for_each(samples, answer)
        return {"overspend": overspend} if overspend else {}

    return respond


async def draw_candidate(
    endpoint: ChatEndpoint, sample: Sample, draw: int, request: RunRequest, capped: bool
) -> Candidate:
    """Return one draw as a record; a draw that cannot be had is a failed record.

    Args:
        endpoint: the policy.
        sample: the prompt.
        draw: which of its draws.
        request: the run's.
        capped: whether the budget is final, so that a draw it does not allow fails.

    Raises:
        BudgetExceeded: the cap is reached, and a person may still raise it.
        EndpointError: the endpoint is out of reach or refuses us: no other draw would fare better.
    """
    try:
        completion = await endpoint.complete(candidate_call(sample, draw, request))
    except (AnswerInvalid, RateLimited) as error:
        return failed_candidate(sample, draw, f"{type(error).__name__}: {error}")
    except BudgetExceeded as error:
        if not capped:
            raise
        return failed_candidate(sample, draw, f"not made: {error.spent:.4f} of {error.cap:.4f} dollars are spent")
    return new_candidate(sample, draw, completion)


def candidate_call(sample: Sample, draw: int, request: RunRequest) -> ChatCall:
    """Return the call for one draw."""
    return ChatCall(
        purpose="respond",
        messages=(Message(role="user", content=sample.prompt),),
        temperature=request.sampling.temperature,
        top_p=request.sampling.top_p,
        max_tokens=request.sampling.max_tokens,
        seed=(request.seed * 1000 + draw) % 2**31,
        draw=draw,
    )


def new_candidate(sample: Sample, draw: int, completion: Completion) -> Candidate:
    """Return the candidate; one that the guard calls degenerate is rejected here, before judges are paid for it."""
    text, ended = completion.text.strip(), completion.finish_reason == "stop"
    reasons = guard(sample.prompt, text, ended)
    return Candidate(
        id=content_hash(sample.id, draw, text),
        sample_id=sample.id,
        draw=draw,
        text=text,
        ended=ended,
        call=completion.key,
        outcome=Outcome.REJECTED if reasons else Outcome.PENDING,
        reasons=reasons,
    )


def failed_candidate(sample: Sample, draw: int, reason: str) -> Candidate:
    """Return the record of a draw that could not be had."""
    return Candidate(
        id=content_hash(sample.id, draw, reason),
        sample_id=sample.id,
        draw=draw,
        text="",
        ended=False,
        outcome=Outcome.FAILED,
        reasons=(reason,),
    )
