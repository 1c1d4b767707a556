"""Requests to a model process and its replies: one JSON line each; their fields show which is which."""

from __future__ import annotations

from pydantic import Field, TypeAdapter

from state.records import Record

Turns = tuple[dict[str, str], ...]
"""Chat turns: ``role``, ``content``, and for a user ``input`` where the content ends with an input of its own."""
NOT_LOADED = -1
"""The number of the reply that says why the weights cannot be used."""


class Draw(Record):
    """A request for a completion."""

    number: int = 0
    """The reply has the same number."""
    turns: Turns
    noise: str = ""
    """Seed of the random numbers; the same one gives the same completion, whatever else is asked."""
    temperature: float = Field(ge=0)
    """0 for the greedy completion."""
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=1)


class Drawn(Record):
    """One completion."""

    number: int
    text: str = ""
    ended: bool = False
    """Whether the model ended by itself, rather than at ``max_tokens``."""
    prompt_tokens: int = 0
    tokens: int = 0
    """Tokens of the completion, without the end token."""
    slow: str = ""
    """Why it was not decoded together with others, if it was not."""
    failed: str = ""
    """Why there is none."""


class Score(Record):
    """A request for the likelihood of a given text."""

    number: int = 0
    turns: Turns
    completion: str
    """The answer to the turns whose likelihood is wanted; it may be empty."""
    with_end: bool = False
    """Whether the end token after the completion counts as well."""
    next_words: tuple[str, ...] = ()
    """Words: the likelihood of the first token of each is wanted, directly after the turns."""


class Scored(Record):
    """The log-likelihoods of one text, in nats."""

    number: int
    log_likelihood: float = 0.0
    """Sum over all tokens of the completion, given the turns; at most 0."""
    tokens: int = 0
    """How many tokens count."""
    next_words: tuple[float, ...] = ()
    """Log-likelihood of each of the words that were asked for."""
    prompt_tokens: int = 0
    failed: str = ""
    """Why there are none."""


Request = Draw | Score
Reply = Drawn | Scored
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def failed(request: Request, reason: str) -> Reply:
    """Return the reply to a request that cannot be done."""
    return (Drawn if isinstance(request, Draw) else Scored)(number=request.number, failed=reason)
