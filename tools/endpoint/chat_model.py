"""LangChain's chat models as a transport, behind the same ledger, budget and retries.

A program plugs in a model of its own, or a request names one of any provider that LangChain knows: ``base_url:
langchain`` and ``model: "anthropic:claude-..."`` or ``"openai:..."``, which ``init_chat_model`` makes. The provider's
package and its key are the user's.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from state.errors import BadInput, CallRefused, EndpointError, EndpointFailing
from state.pipeline import RateLimits
from state.request import Endpoint
from tools.endpoint.chat import Capabilities, ChatCall
from tools.endpoint.failures import TryAgain, foreign
from tools.endpoint.kind import LANGCHAIN, Kind, ProbeResult
from tools.endpoint.prices import price_at_provider
from tools.endpoint.transport import NoLikelihoods, Reply, chat_body
from tools.settings import Settings

if TYPE_CHECKING:  # LangChain is 0.8 seconds of imports, for those who use such a model alone
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

CAN = Capabilities(remote=True, json_schema=True, prefill=False, likelihoods=False)
PARAMETERS: tuple[str, ...] = ("temperature", "max_tokens", "top_p", "seed")
OPTIONAL = ("top_p", "seed")
"""Parameters that are left out for providers whose models do not have them."""

MakeModel = Callable[[dict[str, Any]], "BaseChatModel"]


class ChatModelTransport(NoLikelihoods):
    """A chat model that a user plugs in, such as langchain-openai's ``ChatOpenAI``.

    Args:
        chat_model: built with ``max_retries=0``, if it has such a setting: the endpoint retries, and both together
            would turn one rate-limited call into many.

    Raises:
        BadInput: it is set to retry by itself.
    """

    can = CAN

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
        return await _invoke(self.chat_model, messages, parameters, where, model, timeout)


class ProviderTransport(NoLikelihoods):
    """A model of any provider that LangChain knows. Answers in JSON use the model's own structured output.

    Args:
        make: returns the model with the given parameters; it retries nothing by itself.
    """

    can = CAN

    def __init__(self, make: MakeModel) -> None:
        self.limits = RateLimits()
        self._make = make

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return the messages and parameters that the chat model is given."""
        return chat_body(call, model)

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Try once; see ``Transport.send``."""
        sent = self.body(call, model)
        parameters: dict[str, Any] = {
            name: sent[name] for name in ("temperature", "top_p", "max_tokens", "seed") if name in sent
        }
        parameters = {name: sent[name] for name in PARAMETERS if name in sent}
        # In a thread: the first one imports the provider's package.
        chat_model = await asyncio.to_thread(self._make, parameters)
        options = {"stop": sent["stop"]} if "stop" in sent else {}
        asked = chat_model if call.json_schema is None else _structured(chat_model, call.json_schema, model)
        where = f"{type(chat_model).__name__} {model!r}"
        return await _invoke(asked, sent["messages"], options, where, model, timeout)


def _structured(chat_model: BaseChatModel, schema: dict[str, Any], model: str) -> Any:
    """Return the model with structured output of a schema, by the method that its provider has."""
    named = {"title": "answer", "description": "The answer.", **schema}
    strict = {"strict": True} if "strict" in inspect.signature(chat_model.with_structured_output).parameters else {}
    try:
        return chat_model.with_structured_output(named, include_raw=True, **strict)
    except NotImplementedError as error:
        raise CallRefused(f"{type(chat_model).__name__} {model!r} cannot be held to a JSON schema") from error


async def _invoke(
    asked: Any, messages: list[dict[str, str]], options: dict[str, Any], where: str, model: str, timeout: float
) -> Reply:
    """Ask a model once; ``options`` are its own, and ``where`` names it in an error."""
    from langsmith import tracing_context

    try:
        # The ledger traces the call; the library's own trace would count its tokens once more.
        with tracing_context(enabled=False):
            async with asyncio.timeout(timeout):
                found = await asked.ainvoke(messages, **options)
    except TimeoutError:
        raise TryAgain(EndpointFailing(f"{where} gave no answer in {timeout:g} s."), late=True) from None
    except EndpointError:
        raise
    # The libraries share no base class; asyncio's cancellation is no Exception and passes.
    except Exception as error:
        raise foreign(error, url=where, model=model) from error
    return _reply(found)


def _reply(found: AIMessage | dict[str, Any]) -> Reply:
    """Return a message, or a structured output with its raw message, as a reply."""
    message, parsed = (found["raw"], found["parsed"]) if isinstance(found, dict) else (found, None)
    parsed = parsed.model_dump(mode="json") if isinstance(parsed, BaseModel) else parsed
    refusal = message.additional_kwargs.get("refusal")
    usage = message.usage_metadata
    return Reply(
        text=refusal or (message.text if parsed is None else json.dumps(parsed, ensure_ascii=False)),
        finish_reason="refusal" if refusal else str(message.response_metadata.get("finish_reason") or "stop"),
        prompt_tokens=usage["input_tokens"] if usage else 0,
        completion_tokens=usage["output_tokens"] if usage else 0,
    )


def make_provider_model(name: str, parameters: dict[str, Any]) -> BaseChatModel:
    """Return a model by ``provider:model``, with the parameters that it has.

    Raises:
        BadInput: LangChain does not know the provider, its package is not installed, or its key is not set.
    """
    from langchain.chat_models import init_chat_model

    try:
        bare = type(init_chat_model(name, max_retries=0))
        fields = {alias for key, field in bare.model_fields.items() for alias in (key, field.alias)}
        given = {key: value for key, value in parameters.items() if key not in OPTIONAL or key in fields}
        made: BaseChatModel = init_chat_model(name, max_retries=0, **given)
        return made
    except ImportError as error:
        raise BadInput(f"models: langchain needs a package for {name!r}: {error}") from error
    except Exception as error:  # each provider's package raises another exception for a missing key
        reason = " ".join(str(error).split())
        raise BadInput(f"models: langchain cannot make {name!r}: {reason}; it is named provider:model") from error


async def _open(spec: Endpoint, settings: Settings) -> ProviderTransport:
    return ProviderTransport(partial(make_provider_model, spec.model))


async def _probe(spec: Endpoint, settings: Settings, any_model: bool) -> ProbeResult:
    # Providers have no common list of models; without a paid call only the package and the key can be checked.
    await asyncio.to_thread(make_provider_model, spec.model, {})
    return ProbeResult(url=LANGCHAIN, models=(spec.model,), seconds=0.0)


KIND = Kind(can=CAN, open=_open, probe=_probe, listed_price=price_at_provider)
