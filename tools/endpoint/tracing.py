"""LangSmith traces of model calls, in the form that LangSmith shows and prices as a chat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Post = Callable[[dict[str, Any], float], Awaitable[dict[str, Any]]]


def traced(post: Post) -> Post:
    """Return ``post`` with every call traced under the step that makes it."""
    from langsmith import traceable

    async def post_traced(body: dict[str, Any], timeout: float) -> dict[str, Any]:
        parameters = {name: value for name, value in body.items() if name != "messages"}
        metadata = {
            "ls_provider": "openai",
            "ls_model_type": "chat",
            "ls_model_name": body["model"],
            "ls_temperature": body.get("temperature"),
            "ls_invocation_params": parameters,
        }

        @traceable(run_type="llm", name="chat", metadata=metadata)
        async def chat(messages: list[dict[str, str]]) -> dict[str, Any]:
            answer = await post(body, timeout)
            usage = answer.get("usage") or {}
            tokens = {"input": usage.get("prompt_tokens", 0), "output": usage.get("completion_tokens", 0)}
            counted = {f"{side}_tokens": n for side, n in tokens.items()} | {"total_tokens": sum(tokens.values())}
            return {**answer, "usage_metadata": counted}

        answer: dict[str, Any] = await chat(body["messages"])
        return answer

    return post_traced
