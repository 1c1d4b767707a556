"""What a model call is, and what answers it: the interface that every step and judge uses."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

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


class ChatCall(Record):
    """A call to a chat model; together with the endpoint and model it is the ledger's key."""

    purpose: str
    """What it is for, such as ``generate`` or ``judge:accuracy``; shown in sums, not part of the key."""
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
        """Return the ledger key: a hash of everything but ``purpose``."""
        return content_hash(endpoint, model, self.model_dump(mode="json", exclude={"purpose"}))


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


class OpenEndpoint(Protocol):
    """Opens a request's endpoint for one run."""

    async def __call__(self, spec: Endpoint, run_id: str) -> ChatEndpoint:
        """Return the endpoint; nothing is asked of it yet."""
        ...
