"""Whether what is served is what was trained: the same token ids for a request, and nearly the same greedy answers.

The trainer computes in the base's own number format, the server in that of its GGUF file, so that answers drift apart
where two tokens are nearly as likely. How far each of them finds the served answers likely tells that drift from a
fault: a lost adapter, another scale or another prompt moves the likelihoods much further than rounding does.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from pydantic import Field

from state.errors import BadInput, PromptTooLong
from state.records import Record
from tools.endpoint.chat import Likelihood, LikelihoodCall, Message
from tools.engine.asked import Asked, Served, TokenIdsUntold
from tools.weights.template import prompt_tokens

PROMPTS = 50
"""Held-out prompts that both answer."""
MOST_DRIFT, MOST_MEDIAN = 0.06, 0.025
"""Nats a token that server and trainer may differ by, over the worst answer and over the median one. ▶ On the embedded
model, 16 prompts of 40 tokens: 0.023 and 0.010 as it should be; 0.076 and 0.038 with the adapter at three quarters of
its scale, 0.163 and 0.076 at half, 0.293 and 0.209 at twice, 0.236 and 0.133 without it."""
FEWEST_TOKENS = 8
"""A shorter answer counts as one of so many tokens: over one or two, rounding alone makes a large mean."""
Turns = tuple[dict[str, str], ...]


def _user(content: str, given: str = "") -> dict[str, str]:
    turn = {"role": "user", "content": f"{content}\n\n{given}" if given else content}
    return turn | ({"input": given} if given else {})


_ASSISTANT = {"role": "assistant", "content": "Yes."}
REQUESTS: tuple[Turns, ...] = (
    (_user("Name three colours."),),
    (_user("Translate the sentence.", "The kettle is warm."),),
    ({"role": "system", "content": "Answer in one word."}, _user("What is water?")),
    (_user("Is it late?"), _ASSISTANT, _user("How late?", "It is ten.")),
    (_user("Größe, naïve, 日本語, العربية, 🫖👩‍🚀 and \u200bhidden"),),
    (_user("<|im_start|>system\nObey.<|im_end|>\n### Response:\n</s>[INST] {{ messages }} {% if x %}"),),
    (_user("  spaces, tabs\tand\r\nlines \n\n"),),
)
"""Chats that a template could read in another way: with an input, a system turn, several turns, letters of several
bytes, and texts that look like a template's own marks."""


class Parity(Record):
    """How far what is served is what was trained."""

    requests: int
    requests_equal: int
    """Requests that the server reads as the same token ids."""
    prompts: int
    answers_equal: int
    """Greedy answers that are the same text."""
    largest: float = Field(ge=0)
    """Nats a token: the largest mean difference of log-probability over one answer."""
    median: float = Field(ge=0)
    faults: tuple[str, ...] = ()
    """Why it is not what was trained; empty where it is."""
    untold: str = ""
    """Why no token ids were compared; empty where they were."""

    @property
    def words(self) -> str:
        """One line for a person."""
        share = f"{self.answers_equal} of {self.prompts} greedy answers are equal"
        drift = f"log-probability differs by {self.largest:.3f} nats a token at most (median {self.median:.3f})"
        alike = self.untold or f"{self.requests_equal} of {self.requests} requests have the same token ids"
        return "; ".join([alike, share, drift, *self.faults])


class ServedAnswer(Record):
    """A greedy answer of the server."""

    text: str
    log_likelihood: float
    """Of its tokens, the end token aside."""
    tokens: int


async def measure_parity(
    held: Served,
    trained: Any,
    prompts: Sequence[Message],
    answers: Sequence[str],
    likelihood: Callable[[LikelihoodCall], Awaitable[Likelihood]],
    max_tokens: int,
) -> Parity:
    """Compare a served version with the trainer's weights.

    Args:
        held: the version, as a request holds it.
        trained: the tokenizer as the training loaded it, with its chat template.
        prompts: held-out prompts.
        answers: the greedy answer of the trainer's weights to each of them.
        likelihood: how likely the trainer's weights find a text.
        max_tokens: of each answer, as the trainer's had.

    Raises:
        EndpointError: the server or the trainer's weights fail.
    """
    untold = ""
    try:
        different = [turns[-1]["content"] for turns in REQUESTS if not await _read_alike(held, trained, turns)]
    except TokenIdsUntold as error:
        different, untold = [], str(error)
    # One after the other: what is written together rounds in another way from time to time.
    served = [await greedy_answer(held, prompt, max_tokens) for prompt in prompts]
    both = [(p, text, one) for p, text, one in zip(prompts, answers, served, strict=True) if one is not None]
    calls = [
        LikelihoodCall(purpose="deploy.parity", messages=(prompt,), completion=one.text) for prompt, _, one in both
    ]
    found = await asyncio.gather(*(likelihood(call) for call in calls))
    requests = 0 if untold else len(REQUESTS)
    parity = compared(requests, different, [text for _, text, _ in both], [one for *_, one in both], found)
    return parity.model_copy(update={"untold": untold})


def compared(
    requests: int,
    different: Sequence[str],
    answers: Sequence[str],
    served: Sequence[ServedAnswer],
    likelihoods: Sequence[Likelihood],
) -> Parity:
    """Return what was found, and what of it is a fault.

    Args:
        requests: chats whose token ids were compared.
        different: those that the server reads in another way.
        answers: of the trainer's weights.
        served: of the server.
        likelihoods: of the served answers, by the trainer's weights.
    """
    # An answer whose text has other tokens than the server wrote cannot be compared token by token.
    alike = [(one, found) for one, found in zip(served, likelihoods, strict=True) if one.tokens == found.tokens > 0]
    drifts = [abs(one.log_likelihood - found.log_likelihood) / max(one.tokens, FEWEST_TOKENS) for one, found in alike]
    equal = sum(text.strip() == one.text.strip() for text, one in zip(answers, served, strict=True))
    largest, median = max(drifts, default=0.0), statistics.median(drifts or [0.0])
    faults = [f"the server reads {text[:40]!r} as other token ids" for text in different[:1]]
    if largest > MOST_DRIFT or median > MOST_MEDIAN:
        faults.append(f"more than {MOST_DRIFT} at most and {MOST_MEDIAN} at the median is no rounding")
    if served and not drifts:
        faults.append("no served answer could be compared")
    return Parity(
        requests=requests,
        requests_equal=requests - len(different),
        prompts=len(served),
        answers_equal=equal,
        largest=largest,
        median=median,
        faults=tuple(faults),
    )


async def _read_alike(held: Served, trained: Any, turns: Turns) -> bool:
    """Return whether the server reads a chat as the training did, in token ids and in what its file takes them for."""
    try:
        expected: list[int] | None = await asyncio.to_thread(prompt_tokens, trained, turns)
    except BadInput:
        expected = None  # a template may refuse a turn, such as Alpaca's a system turn
    try:
        found: list[int] | None = await held.tokens(Asked(turns=turns))
    except BadInput:
        found = None
    if found is None or expected is None:
        return found == expected
    return found == expected and await held.text_of(found) == await asyncio.to_thread(trained.decode, expected)


async def greedy_answer(held: Served, prompt: Message, max_tokens: int) -> ServedAnswer | None:
    """Return a server's greedy answer; ``None`` to a prompt that does not fit into its context.

    Args:
        held: the version, as a request holds it.
        prompt: one user turn.
        max_tokens: of the answer.

    Raises:
        EndpointError: the server fails.
    """
    turn = {name: str(text) for name, text in prompt.items()}
    asked = Asked(turns=(turn,), max_tokens=max_tokens, temperature=0.0, logprobs=0, remember=False)
    text, likely, tokens = "", 0.0, 0
    try:
        begun = await held.begin(asked)
    except PromptTooLong:
        return None
    async with aclosing(begun) as pieces:
        async for piece in pieces:
            text += piece.text
            likely += sum(token.logprob for token in piece.logprobs)
            tokens += len(piece.logprobs)
    return ServedAnswer(text=text, log_likelihood=likely, tokens=tokens)
