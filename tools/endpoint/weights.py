"""The weights endpoint: base weights, or base and LoRA adapter, on this machine and without a server."""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from pathlib import Path
from typing import Any

from state.errors import CallRefused, EndpointFailing
from state.extras import demand_extra
from state.pipeline import RateLimits
from state.records import content_hash
from state.request import EMBEDDED, WEIGHTS, Endpoint
from tools.endpoint.chat import Capabilities, ChatCall, Likelihood, LikelihoodCall, Message
from tools.endpoint.failures import TryAgain
from tools.endpoint.kind import Kind, ProbeResult
from tools.endpoint.loop import shared
from tools.endpoint.transport import Reply, chat_body
from tools.files import writable
from tools.settings import Settings
from tools.weights.adapters import ADAPTER_CONFIG, adapter_identity, find_base
from tools.weights.embedded import embedded_model
from tools.weights.folders import HUB_NAME, base_folder, folder_fingerprint
from tools.weights.number_format import answering_format, named_with_format
from tools.weights.pool import ModelPool, ProcessLost
from tools.weights.protocol import Draw, Drawn, Request, Score, Scored, Turns

CAN = Capabilities(remote=False, json_schema=False, prefill=False, likelihoods=True)


class WeightsTransport:
    """A model folder as a transport.

    Args:
        pool: the processes that hold it.
    """

    can = CAN

    def __init__(self, pool: ModelPool) -> None:
        self.limits = RateLimits()
        self.pool = pool

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return what is asked, in OpenAI's form."""
        return chat_body(call, model)

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Complete one chat. There is no time limit: the processes are ours, so a slow answer means a busy machine.

        Raises:
            CallRefused: an answer of a JSON schema is asked, or the prompt cannot be read.
            TryAgain: the process ended.
        """
        if call.json_schema is not None or call.stop:
            raise CallRefused("base_url 'weights' gives plain text alone: no JSON schema and no stop words")
        said = tuple((turn["role"], writable(turn["content"])) for turn in call.messages)
        request = Draw(
            turns=turns_of(call.messages),
            noise=content_hash(call.seed, call.draw, said),
            temperature=call.temperature,
            top_p=call.top_p,
            max_tokens=call.max_tokens,
        )
        found = await ask(self.pool, request, model)
        assert isinstance(found, Drawn)
        if found.slow:
            (await shared()).say_once(f"{model!r} is decoded by generate, one answer at a time: {found.slow}")
        return Reply(
            text=found.text,
            finish_reason="stop" if found.ended else "length",
            prompt_tokens=found.prompt_tokens,
            completion_tokens=found.tokens,
        )

    async def likelihood(self, call: LikelihoodCall, model: str) -> Likelihood:
        """Score one text; errors as for ``send``."""
        return await likelihood_by(self.pool, call, model)


async def likelihood_by(pool: ModelPool, call: LikelihoodCall, model: str) -> Likelihood:
    """Return the likelihood of a text under the weights of a pool.

    Raises:
        CallRefused: the text cannot be read.
        TryAgain: the process ended.
    """
    request = Score(
        turns=turns_of(call.messages),
        completion=writable(call.completion),
        with_end=call.with_end,
        next_words=call.next_words,
    )
    found = await ask(pool, request, model)
    assert isinstance(found, Scored)
    return Likelihood(log_likelihood=found.log_likelihood, tokens=found.tokens, next_words=found.next_words)


async def ask(pool: ModelPool, request: Request, model: str) -> Drawn | Scored:
    """Return a pool's reply to a request.

    Raises:
        CallRefused: the request fails by itself.
        TryAgain: the process ended.
    """
    try:
        found = await pool.ask(request)
    except ProcessLost as error:
        raise TryAgain(EndpointFailing(f"the model process: {error}")) from error
    if found.failed:
        raise CallRefused(f"{model}: {found.failed}")
    return found


def turns_of(messages: tuple[Message, ...]) -> Turns:
    """Return messages as a model process reads them: without half surrogate pairs, which UTF-8 cannot encode."""
    return tuple({name: writable(str(text)) for name, text in turn.items()} for turn in messages)


_looking = threading.Lock()


def pool_of(model: str, cache_folder: Path) -> ModelPool:
    """Return the processes of a model: ``embedded``, a folder, a hub's name, or an adapter's folder; blocks.

    Equal weights share their processes, which hold gigabytes.

    Raises:
        BadInput: the model is not on this machine, or the extra ``train`` is not installed.
        StorageError: the embedded model cannot be unpacked.
    """
    demand_extra("train", "a model on this machine")
    with _looking:
        return _pool(model, ledger_model(model, cache_folder), cache_folder)


@cache
def _pool(model: str, ledger_name: str, cache_folder: Path) -> ModelPool:
    folder = Path(model).expanduser()
    if (folder / ADAPTER_CONFIG).is_file():
        return ModelPool(find_base(folder, None, cache_folder), folder.resolve())
    return ModelPool(base_folder(model, cache_folder), None)


def ledger_model(model: str, cache_folder: Path) -> str:
    """Return the name of weights in the ledger, with the number format in which they answer.

    A folder's has a hash of its files, since they may be replaced.
    """
    folder = Path(model).expanduser()
    if (folder / ADAPTER_CONFIG).is_file():
        name = f"{model}@{adapter_identity(folder, find_base(folder, None, cache_folder))[:8]}"
    else:
        name = f"{model}@{folder_fingerprint(folder)[:8]}" if folder.is_dir() else model
    return named_with_format(name, answering_format())


async def _open(spec: Endpoint, settings: Settings) -> WeightsTransport:
    return WeightsTransport(await asyncio.to_thread(pool_of, spec.model, settings.cache))


async def _probe(spec: Endpoint, settings: Settings, any_model: bool) -> ProbeResult:
    await asyncio.to_thread(_look, spec.model, settings.cache)
    return ProbeResult(url=WEIGHTS, models=(spec.model,), seconds=0.0)


def _look(model: str, cache_folder: Path) -> None:
    """Check that the weights exist; unpacking and downloading, which take long, wait for the first call."""
    demand_extra("train", "a model on this machine")
    if model == EMBEDDED:
        embedded_model()
    elif Path(model).expanduser().exists() or not HUB_NAME.fullmatch(model):
        pool_of(model, cache_folder)


def _ledger_model(spec: Endpoint, settings: Settings) -> str:
    return ledger_model(spec.model, settings.cache)


KIND = Kind(can=CAN, open=_open, probe=_probe, ledger_model=_ledger_model, weights_here=lambda model: model)
