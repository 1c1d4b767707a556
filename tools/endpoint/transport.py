"""Transport: one try of one call. Retries, money and memory are the client's."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field

from state.pipeline import RateLimits
from state.records import Record
from tools.endpoint.chat import ChatCall


class Reply(Record):
    """What came back for one try."""

    text: str
    """The answer; where the model refused, its refusal."""
    finish_reason: str
    """``stop``, ``length``, ``refusal``, or what else the server says."""
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)


class Transport(Protocol):
    """A way to a chat model."""

    limits: RateLimits
    """What the server last said is left of its rate limits; empty where it does not tell."""

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
            TryAgain: it failed in a way that may pass.
            EndpointError: it failed, and another try will not help.
        """
        ...


def chat_body(call: ChatCall, model: str) -> dict[str, Any]:
    """Return a chat completions request in OpenAI's form, with nothing in it that the call does not ask for."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(call.messages),
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
