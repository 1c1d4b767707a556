"""ChatModelTransport: any LangChain chat model as a transport, behind the same ledger, budget and retries."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from state.errors import BadInput, EndpointError, EndpointFailing
from state.pipeline import RateLimits
from tools.endpoint.chat import ChatCall
from tools.endpoint.failures import TryAgain, foreign
from tools.endpoint.transport import Reply, chat_body


class ChatModelTransport:
    """A chat model that a user plugs in, such as langchain-openai's ``ChatOpenAI``.

    Its own client traces to LangSmith, by LangChain's settings.

    Args:
        chat_model: built with ``max_retries=0``, where it has such a setting: retries are the ledger's, or one limited
            call would become many.

    Raises:
        BadInput: it would retry by itself.
    """

    def __init__(self, chat_model: BaseChatModel) -> None:
        self.limits = RateLimits()
        if getattr(chat_model, "max_retries", 0) != 0:
            raise BadInput(f"{type(chat_model).__name__}: build it with max_retries=0; Corral retries, and counts it")
        self.chat_model = chat_model

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return the messages and parameters that the chat model is given."""
        return chat_body(call, model)

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Try once; see ``Transport.send``."""
        parameters = self.body(call, model)
        messages = parameters.pop("messages")
        where = f"{type(self.chat_model).__name__} {model!r}"
        try:
            async with asyncio.timeout(timeout):
                message = await self.chat_model.ainvoke(messages, **parameters)
        except TimeoutError:
            raise TryAgain(EndpointFailing(f"{where} gave no answer in {timeout:g} s.")) from None
        except EndpointError:
            raise
        # The libraries share no base class; asyncio's cancellation is no Exception and passes.
        except Exception as error:
            raise foreign(error, url=where, model=model) from error
        return _reply(message)


def _reply(message: AIMessage) -> Reply:
    refusal = message.additional_kwargs.get("refusal")
    usage = message.usage_metadata
    return Reply(
        text=refusal or message.text,
        finish_reason="refusal" if refusal else str(message.response_metadata.get("finish_reason") or "stop"),
        prompt_tokens=usage["input_tokens"] if usage else 0,
        completion_tokens=usage["output_tokens"] if usage else 0,
    )
