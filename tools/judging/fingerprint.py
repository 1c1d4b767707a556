"""Whether the model behind a name is still the one that was measured: how it answers a few fixed questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from state.records import content_hash
from tools.endpoint.chat import ChatCall, ChatEndpoint, user_message

QUESTIONS = (
    "What is 17 times 23, less 45? Answer with the number alone.",
    "Write one sentence about a lighthouse keeper who is afraid of the sea.",
    "Name five birds of Europe in the order of their size, separated by commas.",
)
TOKENS = 24
LEAST_ALIKE = 2
"""Questions of ``QUESTIONS`` that one model answers alike each time: servers are not wholly deterministic, even where
they always take the likeliest token."""


async def fingerprint_of(endpoint: ChatEndpoint, now: datetime) -> str:
    """Return hashes of a model's answers to the questions; empty for a model on this machine, whose files are known.

    The ledger's answers do not count: the model is asked as it is now.

    Args:
        endpoint: the model.
        now: tells the calls from earlier ones.

    Raises:
        EndpointError, BudgetExceeded: as for ``ChatEndpoint.complete``.
    """
    if not endpoint.can.remote:
        return ""
    moment = int(now.timestamp())
    calls = [
        ChatCall(
            purpose="judge.fingerprint",
            messages=(user_message(question),),
            temperature=0.0,
            max_tokens=TOKENS,
            seed=0,
            draw=moment,
        )
        for question in QUESTIONS
    ]
    answers = await asyncio.gather(*(endpoint.complete(call) for call in calls))
    return "-".join(content_hash(answer.text.strip())[:8] for answer in answers)


def which_model(fingerprint: str, earlier: Sequence[str]) -> int:
    """Return which of the models that have answered under one name this is: 0 for the first one.

    Args:
        fingerprint: of the model.
        earlier: fingerprints taken under this name, the oldest first.
    """
    seen: list[str] = []
    for one in (*earlier, fingerprint):
        if not any(same_model(other, one) for other in seen):
            seen.append(one)
    return next(number for number, other in enumerate(seen) if same_model(other, fingerprint))


def same_model(one: str, other: str) -> bool:
    """Return whether two fingerprints may be of one model; one that is not known may be of any."""
    if not one or not other:
        return True
    return sum(a == b for a, b in zip(one.split("-"), other.split("-"), strict=False)) >= LEAST_ALIKE
