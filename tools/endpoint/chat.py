"""What a model call is, and what answers it: the interface that every step and judge uses."""

from __future__ import annotations

from collections.abc import Callable
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
    """The input at the end of a user's content, which Alpaca's format sets apart. It is not sent separately."""


def user_message(prompt: str, given: str = "") -> Message:
    """Return a prompt as a chat turn; ``given`` is the input at its end, if it has one."""
    return Message(role="user", content=prompt, input=given) if given else Message(role="user", content=prompt)


class Capabilities(Record):
    """What a transport can do. Code that depends on it reads this, and never tests the endpoint's name."""

    remote: bool
    """Another machine answers: at an orderly end the process waits for answers that were asked for."""
    json_schema: bool
    """An answer can be made to fit a JSON schema."""
    prefill: bool
    """A call can give the beginning of the answer, and the model continues it."""
    likelihoods: bool
    """It computes the likelihood of a given text."""


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

        An input at the end of a prompt is a part of its content; that it is also given as ``input`` changes no key.
        """
        said = self.model_dump(mode="json", exclude={"purpose": True, "messages": {"__all__": {"input"}}})
        return content_hash(endpoint, model, said)


class LikelihoodCall(Record):
    """A request for the likelihood of a given text; together with the endpoint and model it is the ledger's key."""

    purpose: str
    """As for ``ChatCall``."""
    messages: tuple[Message, ...]
    completion: str
    """The answer to the messages; it may be empty."""
    with_end: bool = False
    """Whether the end token after the completion counts as well."""
    next_words: tuple[str, ...] = ()
    """Words: the likelihood of the first token of each is wanted, directly after the messages."""

    def key(self, endpoint: str, model: str) -> str:
        """Return the ledger key: a hash of everything but ``purpose``, under the name of the weights that tell it."""
        return content_hash("likelihood", endpoint, model, self.model_dump(mode="json", exclude={"purpose"}))


class Likelihood(Record):
    """How likely a model finds a text, in nats."""

    log_likelihood: float
    """Sum over all tokens of the completion, given the messages; at most 0."""
    tokens: int
    """How many tokens count."""
    next_words: tuple[float, ...] = ()
    """Log-likelihood of each of the words that were asked for."""


class Completion(Record):
    """What a model answered."""

    text: str
    """What the model said, without its thinking and without end tokens; the ledger keeps all of it."""
    thought: bool = False
    """Whether thinking was left out."""
    finish_reason: str
    """``stop`` where the model ended by itself, ``length`` at the token limit."""
    key: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """Dollars of this call; 0 when it was read from the ledger."""
    from_ledger: bool = False


KNOWN_ENDS = frozenset({"stop", "length", "refusal", "content_filter"})
"""What ``Completion.finish_reason`` says; another word is the server's own."""
Fault = Callable[[Completion], str]
"""Returns why an answer cannot be used, or nothing if it can."""


class ChatEndpoint(Protocol):
    """A model behind the ledger, bound to one run."""

    model: str

    @property
    def server(self) -> str:
        """Where it answers, as ``base_url`` says; empty for a model on this machine."""
        ...

    @property
    def can(self) -> Capabilities:
        """What its transport can do."""
        ...

    @property
    def limits(self) -> RateLimits:
        """What is left of the server's rate limits, as it last reported."""
        ...

    async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
        """Answer a call, from the ledger if it was answered before.

        Args:
            call: what is asked.
            fault: returns why an answer cannot be used, or nothing if it can; ``None`` if every answer counts.

        Raises:
            EndpointError: after all retries; recorded as a failed call.
            AnswersUnusable: none of the first answers to this purpose could be used.
            BudgetExceeded: the call was not made.
        """
        ...

    async def complete_as(self, schema: type[T], call: ChatCall) -> tuple[T, Completion]:
        """Answer with an instance of ``schema``; an answer that does not fit gets one corrective second try.

        Raises:
            AnswerInvalid: the second answer did not fit either.
            AnswersUnusable: none of the first answers to this purpose did.
            EndpointError: as for ``complete``.
            BudgetExceeded: as for ``complete``.
        """
        ...

    async def likelihood(self, call: LikelihoodCall) -> Likelihood:
        """Return how likely the model finds a text, from the ledger if that was asked before.

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
