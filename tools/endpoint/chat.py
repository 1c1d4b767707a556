"""What a model call is, and what answers it: the interface that every step and judge uses."""

from __future__ import annotations

from typing import Any, NotRequired, Protocol, TypeVar

from pydantic import BaseModel
from typing_extensions import TypedDict

from state.pipeline import RateLimits
from state.records import Record, content_hash
from state.request import Endpoint

T = TypeVar("T", bound=BaseModel)


class Message(TypedDict):
    """One chat turn."""

    role: str
    content: str
    input: NotRequired[str]
    """The end of a user's content, where that is an input of its own: Alpaca's format sets it apart. Never sent."""


def user_message(prompt: str, given: str = "") -> Message:
    """Return a prompt as a chat turn; ``given`` is the input at its end, where it has one."""
    return Message(role="user", content=prompt, input=given) if given else Message(role="user", content=prompt)


class Capabilities(Record):
    """What a way to a model can do. Whoever needs to know asks this, and never the endpoint's name."""

    remote: bool
    """Somebody else answers: an answer under way at an orderly end is worth waiting for."""
    paid: bool
    """Tokens may cost money."""
    json_schema: bool
    """An answer can be held to a JSON schema."""
    prefill: bool
    """An answer can be begun in the assistant's turn, and goes on from there."""
    likelihoods: bool
    """The likelihood of a given text can be had."""


class ChatCall(Record):
    """A call to a chat model; together with the endpoint and model it is the ledger's key."""

    purpose: str
    """What it is for, such as ``generate`` or ``judge.accuracy``; shown in sums, not part of the key."""
    messages: tuple[Message, ...]
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int | None = None
    """Sent to the server, which may ignore it."""
    json_schema: dict[str, Any] | None = None
    """The answer must be JSON of this schema (``response_format: json_schema``)."""
    draw: int = 0
    """Tells repeated draws of the same call apart in the ledger."""

    def key(self, endpoint: str, model: str) -> str:
        """Return the ledger key: a hash of everything but ``purpose``.

        Where a prompt ends with an input, that stands in its content; that it is marked there changes no key.
        """
        said = self.model_dump(mode="json", exclude={"purpose": True, "messages": {"__all__": {"input"}}})
        return content_hash(endpoint, model, said)


class LikelihoodCall(Record):
    """The likelihood of a given text is asked for; together with the endpoint and model it is the ledger's key."""

    purpose: str
    """As for ``ChatCall``."""
    messages: tuple[Message, ...]
    completion: str
    """The answer to the messages; it may be empty."""
    with_end: bool = False
    """Whether the end token after the completion counts, too."""
    next_words: tuple[str, ...] = ()
    """Words of whose first token the likelihood is wanted, as the very next one after the messages."""

    def key(self, endpoint: str, model: str) -> str:
        """Return the ledger key: a hash of everything but ``purpose``."""
        return content_hash("likelihood", endpoint, model, self.model_dump(mode="json", exclude={"purpose"}))


class Likelihood(Record):
    """How likely a model finds a text, in nats."""

    log_likelihood: float
    """Of all tokens of the completion together, given the messages; at most 0."""
    tokens: int
    """Tokens that count."""
    next_words: tuple[float, ...] = ()
    """Of each of the words that were asked for."""


class Completion(Record):
    """What a model answered."""

    text: str
    finish_reason: str
    """``stop`` where the model ended by itself, ``length`` at the token limit."""
    key: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """Dollars of this call; 0 when it was read from the ledger."""
    from_ledger: bool = False


class ChatEndpoint(Protocol):
    """A model behind the ledger, bound to one run."""

    model: str

    @property
    def can(self) -> Capabilities:
        """What the way to the model can do."""
        ...

    @property
    def limits(self) -> RateLimits:
        """What the server last said is left of its rate limits."""
        ...

    async def complete(self, call: ChatCall) -> Completion:
        """Answer a call, from the ledger where it was answered before.

        Raises:
            EndpointError: after all retries; recorded as a failed call.
            BudgetExceeded: the call was not made.
        """
        ...

    async def complete_as(self, schema: type[T], call: ChatCall) -> tuple[T, Completion]:
        """Answer with an instance of ``schema``; an answer that does not fit gets one corrective second try.

        Raises:
            AnswerInvalid: the second answer did not fit either.
            EndpointError: as for ``complete``.
            BudgetExceeded: as for ``complete``.
        """
        ...

    async def likelihood(self, call: LikelihoodCall) -> Likelihood:
        """Return how likely the model finds a text, from the ledger where that was asked before.

        Raises:
            CallRefused: the endpoint gives no likelihoods.
            EndpointError: as for ``complete``.
        """
        ...


class OpenEndpoint(Protocol):
    """Opens a request's endpoint for one run."""

    async def __call__(self, spec: Endpoint, run_id: str) -> ChatEndpoint:
        """Return the endpoint; nothing is asked of it yet."""
        ...
