"""Transport: one try of one call. Retries, money and memory are the client's."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field

from state.errors import CallRefused
from state.pipeline import RateLimits
from state.records import Record
from tools.endpoint.chat import Capabilities, ChatCall, Likelihood, LikelihoodCall


class Reply(Record):
    """What came back for one try."""

    text: str
    """The answer, or the refusal if the model refused."""
    finish_reason: str
    """``stop``, ``length``, ``refusal``, or what else the server says."""
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)


class Transport(Protocol):
    """How a model is asked: over HTTP, in this process, in a process of ours."""

    can: Capabilities
    limits: RateLimits
    """What is left of the server's rate limits, as it last reported; empty if it does not report them."""

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return the request as it is sent, without secrets; the ledger keeps it."""
        ...

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Try once.

        Args:
            call: what is asked.
            model: the model's name, as the server knows it.
            timeout: seconds to wait for the answer.

        Raises:
            TryAgain: it failed, and another try may succeed.
            EndpointError: it failed, and another try will not help.
        """
        ...

    async def likelihood(self, call: LikelihoodCall, model: str) -> Likelihood:
        """Try once to score a text.

        Raises:
            CallRefused: the transport gives no likelihoods.
            TryAgain, EndpointError: as for ``send``.
        """
        ...


class NoLikelihoods:
    """The likelihood method of a transport that computes none."""

    async def likelihood(self, call: LikelihoodCall, model: str) -> Likelihood:
        """Raise ``CallRefused``."""
        raise CallRefused(f"the endpoint of {model!r} does not tell how likely a given text is")


def chat_body(call: ChatCall, model: str) -> dict[str, Any]:
    """Return a chat completions request in OpenAI's form, with nothing in it that the call does not ask for."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": turn["role"], "content": turn["content"]} for turn in call.messages],
        "temperature": call.temperature,
        "top_p": call.top_p,
        "max_tokens": call.max_tokens,
    }
    if call.stop:
        body["stop"] = list(call.stop)
    if call.seed is not None:
        body["seed"] = call.seed
    if call.json_schema is not None:
        form = {"name": "answer", "strict": True, "schema": call.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def likelihood_body(call: LikelihoodCall, model: str) -> dict[str, Any]:
    """Return what is asked, as the ledger keeps it."""
    return {"model": model, **call.model_dump(mode="json", exclude={"purpose"})}
