"""One llama.cpp server of this process, with a base's weights and some LoRA adapters that each request chooses from."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from state.errors import CallRefused, EndpointFailing, EndpointUnreachable
from state.extras import demand_extra
from tools.engine.asked import Asked, Finish, Likely, Piece, Token
from tools.machine.resources import cores

if TYPE_CHECKING:
    import aiohttp

SILENT = -1
"""Below llama.cpp's lowest log level; failures come back as answers."""
FINISHES: Mapping[str, Finish] = {"eos": "stop", "word": "stop", "limit": "length"}
"""llama.cpp's words for why an answer ended."""
LONGEST_LINE = 2**22
"""Bytes of one event at most: a token with the log-probabilities of twenty others has some thousands."""


class LlamaServer:
    """A started server. It batches what is asked at the same time, and hands each token on as soon as it is there.

    Starting blocks, for a second or as long as the weights take to read: call it by ``asyncio.to_thread``.

    Args:
        gguf: the base's weights.
        adapters: GGUF files of LoRA adapters by the name that a request gives.
        parallel: answers that are written at the same time.
        context: tokens of prompt and answer together, for each.

    Raises:
        EndpointUnreachable: it does not start, such as for a file that does not fit.
    """

    def __init__(self, gguf: Path, adapters: Mapping[str, Path], *, parallel: int, context: int) -> None:
        demand_extra("train", "llama.cpp")
        from xllamacpp import CommonAdapterLoraInfo, CommonParams, Server

        parameters = CommonParams()
        parameters.model.path = str(gguf)
        parameters.n_parallel = parallel
        parameters.n_ctx = parallel * context
        parameters.lora_adapters = [CommonAdapterLoraInfo(str(path), 1.0) for path in adapters.values()]
        parameters.lora_init_without_apply = True
        # A core is left for this process's own work: threads of one server wait for each other at every layer, so that
        # one too many is worse than one too few.
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = max(1, cores() - 1)
        parameters.cache_ram_mib = 0
        parameters.verbosity = SILENT
        parameters.ui = False
        self.adapters = tuple(adapters)
        self.context = context
        try:
            self._server: Any = Server(parameters)
            self.url = str(self._server.listening_address)
            read_one_token(self.url)
        except (RuntimeError, OSError, HTTPException) as error:
            what = f"{gguf}" + (f" with {len(adapters)} adapters" if adapters else "")
            raise EndpointUnreachable(f"llama.cpp does not start with {what}: {error}") from error

    def close(self) -> None:
        """Stop the server and free its memory; what it was asked meanwhile fails. It blocks for some milliseconds."""
        self._server = None

    async def write(
        self,
        session: aiohttp.ClientSession,
        asked: Asked,
        prompt: Sequence[int],
        *,
        adapter: str | None,
        choice: int = 0,
    ) -> AsyncGenerator[Piece]:
        """Yield one answer as it is written; leaving the loop early frees its place in the server.

        Args:
            session: connections, of the running event loop.
            asked: what is wanted.
            prompt: its turns as token ids.
            adapter: the adapter that answers; ``None`` for the base alone.
            choice: which of the answers that are wanted.

        Raises:
            CallRefused: it cannot be asked so, such as a schema that is none.
            EndpointFailing: the server broke off.
        """
        import aiohttp

        room = self.context - len(prompt)
        most = min(asked.max_tokens or room, room)
        body = request_body(asked, prompt, choice, most, self.adapters, adapter)
        # As long as it takes: it is in this process, and a slow answer only means a busy machine.
        patient = aiohttp.ClientTimeout(total=None)
        try:
            async with session.post(
                f"{self.url}/completion", json=body, timeout=patient, read_bufsize=LONGEST_LINE
            ) as response:
                if response.status != 200:
                    raise refusal(await response.text())
                async for line in response.content:
                    if line.startswith(b"data: "):
                        yield piece_of(json.loads(line[6:]), asked, choice)
                    elif line.startswith(b"error: "):
                        raise refusal(line[7:].decode())
        except aiohttp.ClientError as error:
            raise EndpointFailing(f"llama.cpp broke off: {error}") from error

    async def text_of(self, session: aiohttp.ClientSession, tokens: Sequence[int]) -> str:
        """Return what token ids mean in the file that is served.

        Raises:
            EndpointFailing: the server broke off.
        """
        import aiohttp

        try:
            async with session.post(f"{self.url}/detokenize", json={"tokens": list(tokens)}) as response:
                return str((await response.json())["content"])
        except (TimeoutError, aiohttp.ClientError, KeyError) as error:
            raise EndpointFailing(f"llama.cpp broke off: {error}") from error


def read_one_token(url: str) -> None:
    """Let a server read one token, so that it is known to work on what it is asked.

    One that is closed before its loop has begun never ends: the order to end is lost, and the closing waits for it.

    Raises:
        OSError: it cannot be reached.
        HTTPException: it breaks off.
    """
    place = urlsplit(url)
    connection = HTTPConnection(str(place.hostname), place.port)
    try:
        body = json.dumps({"prompt": [0], "n_predict": 0})
        connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
    finally:
        connection.close()


def request_body(
    asked: Asked, prompt: Sequence[int], choice: int, max_tokens: int, adapters: Sequence[str], adapter: str | None
) -> dict[str, Any]:
    """Return what is asked in llama.cpp's own form; what it would add by itself is switched off."""
    body: dict[str, Any] = {
        "prompt": list(prompt),
        "n_predict": max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        "repeat_penalty": 1.0,
        "stop": list(asked.stop),
        "stream": True,
        "return_tokens": True,
        "cache_prompt": asked.remember,
        # Each by name: an empty list would apply them all.
        "lora": [{"id": place, "scale": float(name == adapter)} for place, name in enumerate(adapters)],
    }
    if asked.seed is not None:
        # Each answer to one request is another draw.
        body["seed"] = (asked.seed + choice) % 2**32
    if asked.logprobs is not None:
        # llama.cpp tells the chosen token's log-probability only if it tells any.
        body["n_probs"] = max(1, asked.logprobs)
    if asked.json_schema is not None:
        body["json_schema"] = asked.json_schema or {"type": "object"}
    return body


def piece_of(event: Mapping[str, Any], asked: Asked, choice: int) -> Piece:
    """Return one event of llama.cpp's stream.

    Raises:
        CallRefused, EndpointFailing: it is an error.
    """
    if "error" in event:
        raise refusal(json.dumps(event))
    last = bool(event.get("stop"))
    return Piece(
        choice=choice,
        text=event.get("content", ""),
        tokens=tuple(event.get("tokens", ())),
        logprobs=tuple(_token(one, asked.logprobs) for one in event.get("completion_probabilities", ()))
        if asked.logprobs is not None
        else (),
        finish=FINISHES.get(event.get("stop_type", ""), "stop") if last else None,
        prompt_tokens=event.get("tokens_evaluated", 0) if last else 0,
        completion_tokens=event.get("tokens_predicted", 0) if last else 0,
    )


def _token(found: Mapping[str, Any], most: int) -> Token:
    top = tuple(_likely(one) for one in found.get("top_logprobs", ())[:most])
    return Token(**_likely(found).model_dump(), top=top)


def _likely(found: Mapping[str, Any]) -> Likely:
    # JSON has no infinity: a token that cannot be drawn comes as null.
    return Likely(
        text=found["token"],
        bytes=tuple(found.get("bytes") or ()),
        logprob=-1e4 if found["logprob"] is None else found["logprob"],
    )


def refusal(text: str) -> CallRefused | EndpointFailing:
    """Return llama.cpp's error as one of ours."""
    try:
        error = json.loads(text)
        error = error.get("error", error)
        said, code = str(error["message"]), int(error.get("code", 500))
    except (ValueError, KeyError, AttributeError, TypeError):
        said, code = text[:400], 500
    words = " ".join(said.split())
    return CallRefused(words) if 400 <= code < 500 else EndpointFailing(f"llama.cpp: {words}")
