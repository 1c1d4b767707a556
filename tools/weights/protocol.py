"""What a model process is asked and what it answers: JSON lines, one record each way, told apart by their fields."""

from __future__ import annotations

from pydantic import Field, TypeAdapter

from state.records import Record

Turns = tuple[dict[str, str], ...]
"""Chat turns: ``role``, ``content``, and for a user ``input`` where the content ends with an input of its own."""
NOT_LOADED = -1
"""The number of the line that says why the weights cannot be used."""


class Draw(Record):
    """A completion is wanted."""

    number: int
    """Names the answer."""
    turns: Turns
    noise: str = ""
    """What the random numbers follow from; the same noise gives the same completion, but for rounding."""
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
    """Tokens of the completion, the end token not among them."""
    failed: str = ""
    """Why there is none."""


class Score(Record):
    """The likelihood of a given text is wanted."""

    number: int
    turns: Turns
    completion: str
    """The answer to the turns whose likelihood is wanted; it may be empty."""
    with_end: bool = False
    """Whether the end token after the completion counts, too."""
    next_words: tuple[str, ...] = ()
    """Words of whose first token the likelihood is wanted, as the very next one after the turns."""


class Scored(Record):
    """The log-likelihoods of one text, in nats."""

    number: int
    log_likelihood: float = 0.0
    """Of all tokens of the completion together, given the turns; at most 0."""
    tokens: int = 0
    """Tokens that count."""
    next_words: tuple[float, ...] = ()
    """Of each of the words that were asked for."""
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
