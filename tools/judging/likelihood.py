"""What a small model's likelihoods tell about an answer, since the scores that it writes are noise.

Two measures:

* ``yes``: log P(Yes) - log P(No), where the model is shown prompt and answer and asked whether that is correct and
  helpful;
* ``gain``: how much likelier a token of the answer is for having seen the prompt (pointwise mutual information, mean
  over the answer's tokens).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from state.records import Record
from tools.endpoint.chat import ChatEndpoint, Likelihood, LikelihoodCall, user_message

QUESTION = "Is this answer correct and helpful?"
YES, NO = ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")
PROMPT_CHARACTERS, ANSWER_CHARACTERS = 2800, 2800
"""The most characters that are read of each, about 700 tokens: the end of a prompt and the start of an answer."""
PURPOSE = "judge.likelihood"
CALLS = 3
"""That one answer is measured with."""


class Likelihoods(Record):
    """The two measures of one answer, in nats."""

    yes: float
    gain: float
    """Per token; 0 for an empty answer."""


async def measure(endpoint: ChatEndpoint, prompt: str, answer: str) -> Likelihoods:
    """Measure one answer with three calls.

    Args:
        endpoint: a model that gives likelihoods.
        prompt: what was asked.
        answer: what was answered; any text.

    Raises:
        EndpointError: as for ``ChatEndpoint.likelihood``.
    """
    asked, told = prompt[-PROMPT_CHARACTERS:], answer[:ANSWER_CHARACTERS]
    shown = f"Instruction: {asked}\n\nResponse: {told}\n\n{QUESTION}"
    after, alone, reply = await asyncio.gather(
        _likelihood(endpoint, asked, told), _likelihood(endpoint, "", told), _likelihood(endpoint, shown, "", YES + NO)
    )
    words = reply.next_words
    return Likelihoods(
        yes=_log_sum(words[: len(YES)]) - _log_sum(words[len(YES) :]),
        gain=(after.log_likelihood - alone.log_likelihood) / after.tokens if after.tokens else 0.0,
    )


async def _likelihood(endpoint: ChatEndpoint, prompt: str, answer: str, next_words: tuple[str, ...] = ()) -> Likelihood:
    call = LikelihoodCall(purpose=PURPOSE, messages=(user_message(prompt),), completion=answer, next_words=next_words)
    return await endpoint.likelihood(call)


def _log_sum(logarithms: Sequence[float]) -> float:
    """Return the logarithm of the sum of the numbers with these logarithms."""
    most = max(logarithms)
    return most + math.log(math.fsum(math.exp(one - most) for one in logarithms))
