"""The off-topic filter: how much likelier an answer gets by its prompt. It tells what is off the topic, and no more.

The measure is the pointwise mutual information of prompt and answer, in nats a token of the answer (mean over its
tokens). As a judge between two plausible answers it was not shown to be better than chance.
"""

from __future__ import annotations

import asyncio

from state.records import CheckResult
from tools.endpoint.chat import ChatEndpoint, Likelihood, LikelihoodCall, user_message

KIND = "topic"
OFF_TOPIC = 0.1
"""Least gain, in nats a token, of an answer to what was asked. Of 54 answers (40 of Alpaca, 14 of the small model) none
had less than 0.33; set to one another's prompts, 49 had less than 0.1 (docs/experiments.md)."""
PROMPT_CHARACTERS, ANSWER_CHARACTERS = 1200, 100
"""The most characters that are read of each: the end of a prompt and the start of an answer, which says better what it
is about than the whole does, and costs a fraction of it (docs/experiments.md)."""
PURPOSE = "judge.likelihood"
CALLS = 2
"""That one answer is measured with."""


async def measured_gain(endpoint: ChatEndpoint, prompt: str, answer: str) -> float:
    """Return how much likelier a token of the answer is for having seen the prompt, in nats; 0 for an empty answer.

    Args:
        endpoint: a model that gives likelihoods.
        prompt: what was asked.
        answer: what was answered; any text.

    Raises:
        EndpointError: as for ``ChatEndpoint.likelihood``.
    """
    asked, told = prompt[-PROMPT_CHARACTERS:], answer[:ANSWER_CHARACTERS]
    after, alone = await asyncio.gather(_likelihood(endpoint, asked, told), _likelihood(endpoint, "", told))
    return (after.log_likelihood - alone.log_likelihood) / after.tokens if after.tokens else 0.0


async def _likelihood(endpoint: ChatEndpoint, prompt: str, answer: str) -> Likelihood:
    call = LikelihoodCall(purpose=PURPOSE, messages=(user_message(prompt),), completion=answer)
    return await endpoint.likelihood(call)


def topic_check(gain: float) -> CheckResult:
    """Return what the filter found, as a check; that an answer is on the topic says nothing of its quality."""
    passed = gain >= OFF_TOPIC
    evidence = "it is about what was asked" if passed else "it is off the topic: the prompt makes its words no likelier"
    return CheckResult(kind=KIND, passed=passed, evidence=evidence)


def topic_parts() -> list[object]:
    """Return what the filter's word depends on beside the model, for the judge's identity."""
    return [OFF_TOPIC, PROMPT_CHARACTERS, ANSWER_CHARACTERS]
