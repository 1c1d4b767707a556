"""LangSmith traces of model calls, in the form that LangSmith shows and prices as a chat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tools.endpoint.transport import Reply


async def traced(
    send: Callable[[], Awaitable[Reply]], body: dict[str, Any], purpose: str, metadata: dict[str, Any]
) -> Reply:
    """Send a call, traced under the step that makes it.

    Args:
        send: makes the call, with its retries; its exceptions are traced and passed on.
        body: the request as it is sent.
        purpose: what the call is for; the trace's name.
        metadata: what else is known about it, such as its run.
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

    await chat(body["messages"])
    return replies[0]
