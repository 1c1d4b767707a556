"""LangSmith traces of model calls, in the form that LangSmith shows and prices as a chat."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from tools.endpoint.transport import Reply


def trace_id(began: datetime, name: str) -> UUID:
    """Return the id of a trace, which follows from what it is of: a UUID of version 7 (RFC 9562), as LangSmith asks.

    Args:
        began: when it began; the id's first 48 bits are its milliseconds since 1970.
        name: what tells it from others of that millisecond, such as a call's key.
    """
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    milliseconds = int(began.timestamp() * 1000) & (2**48 - 1)
    high, low = (drawn >> 64) & 0xFFF, drawn & (2**62 - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


async def traced(
    send: Callable[[], Awaitable[Reply]], body: dict[str, Any], purpose: str, metadata: dict[str, Any], own_id: UUID
) -> Reply:
    """Send a call, traced under the step that makes it.

    Args:
        send: makes the call, with its retries; its exceptions are traced and passed on.
        body: the request as it is sent.
        purpose: what the call is for; the trace's name.
        metadata: what else is known about it, such as its run.
        own_id: the trace's.
    """
    from langsmith import traceable

    replies: list[Reply] = []
    known = {
        "ls_provider": "openai",
        "ls_model_type": "chat",
        "ls_model_name": body["model"],
        "ls_temperature": body.get("temperature"),
        "ls_invocation_params": {name: value for name, value in body.items() if name != "messages"},
    }

    @traceable(run_type="llm", name=purpose, metadata=known | metadata)
    async def chat(messages: list[dict[str, str]]) -> dict[str, Any]:
        reply = await send()
        replies.append(reply)
        tokens = {"input_tokens": reply.prompt_tokens, "output_tokens": reply.completion_tokens}
        message = {"role": "assistant", "content": reply.text}
        return {
            "choices": [{"message": message, "finish_reason": reply.finish_reason}],
            "usage_metadata": tokens | {"total_tokens": sum(tokens.values())},
        }

    await chat(body["messages"], langsmith_extra={"run_id": own_id})
    return replies[0]
