"""What a program brings itself as a model: a LangChain chat model, any other Runnable, or a function."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from state.errors import BadInput, CallRefused, EndpointError, EndpointFailing
from state.pipeline import RateLimits
from state.request import Endpoint
from tools.endpoint.chat import Capabilities, ChatCall
from tools.endpoint.chat_model import ChatModelTransport
from tools.endpoint.failures import TryAgain, foreign
from tools.endpoint.kind import PROGRAM, Kind, ProbeResult
from tools.endpoint.parameters import Accepted
from tools.endpoint.prices import Price
from tools.endpoint.transport import NoLikelihoods, Reply, Transport, chat_body
from tools.settings import Settings

if TYPE_CHECKING:  # LangChain is 0.8 seconds of imports
    from langchain_core.runnables import Runnable

Brought: TypeAlias = "Runnable[Any, Any] | Callable[[str], Any]"
"""A chat model is a Runnable, too. A function takes a prompt, and may be a coroutine function."""
CAN = Capabilities(remote=True, json_schema=True, prefill=False, likelihoods=False)
TOLD = 200
"""Characters kept of what a function's exception says."""


class FunctionTransport(NoLikelihoods):
    """A function, or a Runnable that is no chat model, which takes the prompt as text and returns text.

    A JSON schema is asked for in the prompt.

    Args:
        ask: returns the answer to a prompt.
        name: what it is called in errors.
    """

    can = CAN

    def __init__(self, ask: Callable[[str], Awaitable[Any]], name: str) -> None:
        self.limits = RateLimits()
        self._ask, self._name = ask, name

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return what is asked, as the ledger keeps it."""
        return Accepted(json="prompt").shaped(chat_body(call, model))

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Ask once; see ``Transport.send``. What the function raises fails this call alone."""
        prompt = _as_text(self.body(call, model)["messages"])
        try:
            async with asyncio.timeout(timeout):
                given = await self._ask(prompt)
        except TimeoutError:
            raise TryAgain(EndpointFailing(f"{self._name} gave no answer in {timeout:g} s."), late=True) from None
        except EndpointError:
            raise
        # It is the program's own: anything may come of it. A cancellation is no Exception and passes.
        except Exception as error:
            if isinstance(found := foreign(error, url=self._name, model=model), TryAgain):
                raise found from error
            said = " ".join(str(error).split())[:TOLD]
            raise CallRefused(f"{self._name} raised {type(error).__name__}{f': {said}' if said else ''}") from error
        text = given if isinstance(given, str) else getattr(given, "text", None)
        if not isinstance(text, str):
            raise CallRefused(f"{self._name} returned {'nothing' if given is None else type(given).__name__}, not text")
        return Reply(text=text, finish_reason="stop")


def brought_transport(given: Brought) -> Transport:
    """Return what a program brings as a transport.

    Raises:
        BadInput: it is nothing that can be asked, or it retries by itself.
    """
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

    if isinstance(given, BaseChatModel):
        return ChatModelTransport(_without_retries(given))
    if isinstance(given, Runnable):
        return FunctionTransport(given.ainvoke, _said(given))
    if not callable(given) or isinstance(given, type):
        what = given.__name__ if isinstance(given, type) else type(given).__name__
        raise BadInput(f"a chat model, a Runnable or a function of a prompt is asked for, not {what}")
    return FunctionTransport(partial(call_function, given), _said(given))


async def call_function(function: Callable[[str], Any], prompt: str) -> Any:
    """Return what a function or a coroutine function says; a plain one works in a thread."""
    if inspect.iscoroutinefunction(function):
        return await function(prompt)
    given = await asyncio.to_thread(_without_stop, function, prompt)
    return await given if inspect.isawaitable(given) else given


def _without_stop(function: Callable[[str], Any], prompt: str) -> Any:
    """Ask a function; its ``StopIteration``, as of ``next`` on drafts that ran out, cannot pass through a future."""
    try:
        return function(prompt)
    except StopIteration as error:
        raise RuntimeError("it raised StopIteration: an iterator in it has no more") from error


def brought_name(given: Brought) -> str:
    """Return what is known of who answers: a model's own name, or a function's and a hash of its code.

    The ledger keeps answers under it, and a function that was changed must not be answered for by its past.
    """
    for attribute in ("model_name", "model"):
        if isinstance(name := getattr(given, attribute, None), str) and name:
            return name
    function = _function_of(given)
    code = getattr(function, "__code__", None)
    return f"{_said(given)}@{_code_hash(function, code)}" if code is not None else _said(given)


def _function_of(given: Any) -> Any:
    """Return the function in a method, a decorated function or a ``RunnableLambda``; anything else as it is."""
    function = inspect.unwrap(getattr(given, "func", None) or getattr(given, "afunc", None) or given)
    return getattr(function, "__func__", function)


def _said(given: Any) -> str:
    """Return a function's name as its program has it, or the class of what is none."""
    name = str(getattr(_function_of(given), "__qualname__", type(given).__name__))
    return name.rpartition("<locals>.")[2]


def _code_hash(function: Any, code: types.CodeType) -> str:
    bound = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _is_set(cell)]
    plain = [repr(one) for one in bound if isinstance(one, str | int | float | bool | None)]
    return hashlib.sha256(repr((_code_parts(code), plain)).encode()).hexdigest()[:12]


def _is_set(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _code_parts(code: types.CodeType) -> tuple[Any, ...]:
    constants = [_code_parts(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return (code.co_code, code.co_names, constants)


def _as_text(messages: Sequence[Mapping[str, str]]) -> str:
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in messages)


def _without_retries(model: Any) -> Any:
    """Return OpenAI's chat model without its own retries; another is returned as it is.

    It gets connections of its own: LangChain shares one pool over all models, and a connection that was made in an
    event loop which has ended fails in the next.
    """
    root = getattr(model, "root_async_client", None)
    if root is None or not hasattr(root, "with_options"):
        return model
    from openai import DefaultAsyncHttpxClient

    own = {} if getattr(model, "http_async_client", None) else {"http_client": DefaultAsyncHttpxClient()}
    plain = root.with_options(max_retries=0, **own)
    return model.model_copy(
        update={"max_retries": 0, "root_async_client": plain, "async_client": plain.chat.completions}
    )


async def _open(spec: Endpoint, settings: Settings) -> Transport:
    raise _absent(spec)


async def _probe(spec: Endpoint, settings: Settings, any_model: bool) -> ProbeResult:
    raise _absent(spec)


def _absent(spec: Endpoint) -> BadInput:
    return BadInput(
        f"base_url {PROGRAM}: the model {spec.model!r} is brought by a Python program, which alone can work on this: "
        "open_runs(settings, {name: model})"
    )


def _unknown_price(spec: Endpoint) -> Price | None:
    return None


KIND = Kind(can=CAN, open=_open, probe=_probe, listed_price=_unknown_price)
