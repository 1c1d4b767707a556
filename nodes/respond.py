"""respond: the policy answers each training prompt k times, every draw with its own seed.

A prompt of which no draw is fit to imitate gets further candidates: scaffolded draws, with examples of the asked form
before the prompt, and repaired texts of its own draws. A candidate's provenance says which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

from state.errors import BudgetExceeded, CallFailed
from state.pipeline import BatchNode, BatchState, PipelineState
from state.reading import Match
from state.records import Candidate, Outcome, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.batch import all_of, for_each
from tools.candidates import copied, fit_to_imitate, repair, scaffold
from tools.checks.guard import NOT_ENDED, guard
from tools.endpoint import capabilities
from tools.endpoint.answering import TellingEndpoint
from tools.endpoint.chat import KNOWN_ENDS, ChatCall, ChatEndpoint, Completion, Message, OpenEndpoint, user_message
from tools.judging.process import crews_kept
from tools.progress import ItemProgress


@dataclass(frozen=True)
class PromptsToAnswer:
    """The training prompts that lack draws; one that waits for a person is answered, too."""

    store: RecordStore

    async def ids(self, state: PipelineState, after: str, limit: int) -> list[str]:
        """Return the ids of the next ones; the arguments are those of ``Pending``."""
        found = [
            await self.store.ids(state["run_id"], Sample, after=after, limit=limit, **match)
            for match in _lacking_draws(state)
        ]
        return sorted(chain(*found))[:limit]

    async def count(self, state: PipelineState) -> int:
        """Return how many there are."""
        return sum([await self.store.count(state["run_id"], Sample, **match) for match in _lacking_draws(state)])


def _lacking_draws(state: PipelineState) -> list[Match]:
    lacking = (state["request"].sampling.candidates, Candidate)
    return [Match(tag="train", outcome=one, fewer_than=lacking) for one in (Outcome.ACCEPTED, Outcome.WAITING)]


def make_respond(store: RecordStore, open_endpoint: OpenEndpoint) -> BatchNode:
    """Return the node; it answers the samples of one batch."""

    async def respond(state: BatchState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        endpoint = await open_endpoint(request.models.policy, run_id)
        there = await store.find(run_id, Candidate, parents=state["ids"])

        items = ItemProgress("respond", request.sampling.candidates + 1)

        async def answer(sample: Sample) -> None:
            item = items.begin()
            telling = TellingEndpoint(endpoint, item.answered)
            drawn = {c.draw: c for c in there if c.sample_id == sample.id and c.provenance == "sampled"}
            draws = [d for d in range(request.sampling.candidates) if d not in drawn]
            capped = state.get("capped", False)
            done = await all_of(draw_candidate(telling, sample, d, request, capped) for d in draws)
            plain = sorted([*drawn.values(), *done], key=lambda one: one.draw)
            done += await further_candidates(endpoint, sample, plain, request, capped)
            # All at once: a sample with its draws in the store is never answered again.
            await store.add(run_id, done)
            item.end()

        samples = await store.find(run_id, Sample, ids=state["ids"])
        judged_by_crew = not capabilities(request.models.judge).likelihoods
        with crews_kept() if judged_by_crew else nullcontext():
            overspend = await for_each(samples, answer)
        return {"overspend": overspend} if overspend else {}

    return respond


async def further_candidates(
    endpoint: ChatEndpoint, sample: Sample, plain: Sequence[Candidate], request: RunRequest, capped: bool
) -> list[Candidate]:
    """Return further candidates if no plain draw of the prompt is fit to imitate; else none.

    The arguments and errors are those of ``draw_candidate``, with the plain draws in place of one's number.
    """
    if any(fit_to_imitate(sample, c.text, c.ended) for c in plain):
        return []
    first = request.sampling.candidates
    more = range(first, first + request.sampling.scaffold_draws)
    scaffolded = await all_of(draw_candidate(endpoint, sample, d, request, capped) for d in more)
    return [*scaffolded, *repaired_candidates(sample, [*plain, *scaffolded], request.sampling.repairs)]


async def draw_candidate(
    endpoint: ChatEndpoint, sample: Sample, draw: int, request: RunRequest, capped: bool
) -> Candidate:
    """Return one draw as a record; a draw that fails is a failed record.

    Args:
        endpoint: the policy.
        sample: the prompt.
        draw: which of its draws; those beyond the request's number of candidates have examples before the prompt.
        request: the run's.
        capped: whether the budget is final, so that a draw it does not allow fails.

    Raises:
        BudgetExceeded: the cap is reached, and a person may still raise it.
        EndpointError: the endpoint is out of reach or refuses us: every other draw would fail, too.
    """
    scaffolded = draw >= request.sampling.candidates
    try:
        completion = await endpoint.complete(candidate_call(sample, draw, request), no_text)
    except CallFailed as error:
        return failed_candidate(sample, draw, f"{type(error).__name__}: {error}", scaffolded)
    except BudgetExceeded as error:
        if not capped:
            raise
        return failed_candidate(
            sample, draw, f"not made: {error.spent:.4f} of {error.cap:.4f} dollars are spent", scaffolded
        )
    return new_candidate(sample, draw, completion, scaffolded)


def candidate_call(sample: Sample, draw: int, request: RunRequest) -> ChatCall:
    """Return the call for one draw."""
    shown = scaffold(sample, draw) if draw >= request.sampling.candidates else ()
    examples = (m for asked, told in shown for m in (user_message(asked), Message(role="assistant", content=told)))
    return ChatCall(
        purpose="respond",
        messages=(*examples, user_message(sample.prompt, sample.input)),
        temperature=request.sampling.temperature,
        top_p=request.sampling.top_p,
        max_tokens=request.sampling.max_tokens,
        seed=(request.seed * 1000 + draw) % 2**31,
        draw=draw,
    )


def no_text(completion: Completion) -> str:
    """Return that a completion is empty, or nothing if it is not."""
    return "" if completion.text.strip() else "it is empty"


def new_candidate(sample: Sample, draw: int, completion: Completion, scaffolded: bool) -> Candidate:
    """Return the candidate; one that can never be chosen is rejected here, before its judging is paid for."""
    text, ended = completion.text.strip(), completion.finish_reason == "stop"
    reasons = guard(sample.prompt, text, ended)
    if completion.finish_reason not in KNOWN_ENDS:
        # The server's own word, so that a person sees what it means there.
        reasons = tuple(f"{why}: {completion.finish_reason[:40]!r}" if why == NOT_ENDED else why for why in reasons)
    if completion.thought and not text:
        reasons = ("the model reasoned and gave no answer; raise sampling.max_tokens",)
    if scaffolded and copied(sample, text):
        reasons += ("it is about the example before the prompt",)
    elif scaffolded and not reasons and not fit_to_imitate(sample, text, ended):
        reasons = ("not fit to imitate: a check fails, it repeats itself, or it talks about the conversation",)
    return Candidate(
        id=content_hash(sample.id, draw, text),
        sample_id=sample.id,
        draw=draw,
        text=text,
        ended=ended,
        thought=completion.thought,
        provenance="scaffolded" if scaffolded else "sampled",
        call=completion.key,
        outcome=Outcome.REJECTED if reasons else Outcome.PENDING,
        reasons=reasons,
    )


def repaired_candidates(sample: Sample, candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Return up to ``most`` candidates made of others' texts: the longest, since a repair cuts and never adds."""
    made: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.outcome == Outcome.FAILED:
            continue
        text = repair(sample, candidate.text)
        from_example = candidate.provenance == "scaffolded" and copied(sample, text or "")
        if text is not None and text not in made and not from_example:
            made[text] = candidate.model_copy(
                update={
                    "id": content_hash(sample.id, candidate.draw, text, "repaired"),
                    "text": text,
                    "ended": True,
                    "provenance": "repaired",
                    "outcome": Outcome.PENDING,
                    "reasons": (),
                }
            )
    return sorted(made.values(), key=lambda c: (-len(c.text), c.draw))[:most]


def failed_candidate(sample: Sample, draw: int, reason: str, scaffolded: bool) -> Candidate:
    """Return the record of a draw that failed."""
    return Candidate(
        id=content_hash(sample.id, draw, reason),
        sample_id=sample.id,
        draw=draw,
        text="",
        ended=False,
        provenance="scaffolded" if scaffolded else "sampled",
        outcome=Outcome.FAILED,
        reasons=(reason,),
    )
