"""The engine elsewhere: a vLLM server, which is told of each version, and through which requests and answers go.

It was started with ``--enable-lora`` and ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True``, and reads the registry's folder at
the same place as this process. It renders prompts by its own copy of the base's chat template.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from state.errors import BadInput, CallRefused, EndpointFailing, EndpointUnreachable, PromptTooLong
from tools.engine.asked import BASE, CURRENT, Asked, Entry, Likely, Piece, Token, TokenIdsUntold
from tools.engine.naming import look, meant

if TYPE_CHECKING:
    import aiohttp

LONGEST_EVENT = 2**22
"""Bytes of one event at most."""
NOT_THERE = (403, 404, 405, 501)
"""The answers of a server, or of a proxy before it, that does not offer something."""
LOADED_ALREADY = "already been loaded"
"""What vLLM says of an adapter that it has; another process may have told it."""


@dataclass(frozen=True)
class VllmHeld:
    """A version that a request holds; see ``Served``."""

    version: str
    model: str
    """Its name there."""
    url: str
    session: aiohttp.ClientSession
    lost: Callable[[str], None]
    """Is told where the server does not know the version any more."""

    async def tokens(self, asked: Asked) -> list[int]:
        """Return the prompt as the server reads it; see ``Served.tokens``."""
        body = {"messages": turns_of(asked), "add_generation_prompt": True}
        return [int(token) for token in await self._told("tokenize", body, "tokens")]

    async def text_of(self, tokens: Sequence[int]) -> str:
        """Return what token ids mean to the server; see ``Served.text_of``."""
        return str(await self._told("detokenize", {"tokens": list(tokens)}, "prompt"))

    async def _told(self, what: str, body: Mapping[str, Any], name: str) -> Any:
        """Return a field of what the server tells of its tokenizer, which it does beside ``/v1``, not under it."""
        import aiohttp

        place = f"{self.url.removesuffix('/v1')}/{what}"
        try:
            async with self.session.post(place, json={"model": self.model, **body}) as response:
                if response.status in NOT_THERE:
                    raise TokenIdsUntold(f"the server offers no /{what}, so no token ids were compared")
                said = await response.text()
                if response.status != 200:
                    error = refusal(response.status, said)
                    raise BadInput(str(error)) if isinstance(error, CallRefused) else error
                return json.loads(said)[name]
        except aiohttp.ClientError as error:
            raise EndpointUnreachable(f"the vLLM server {self.url} is out of reach: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise TokenIdsUntold(f"{place} does not answer as vLLM's does, so no token ids were compared") from error

    async def begin(self, asked: Asked) -> AsyncGenerator[Piece]:
        """Return the answers; see ``Served.begin``."""
        return self._written(asked)

    async def _written(self, asked: Asked) -> AsyncGenerator[Piece]:
        import aiohttp

        try:
            async with self.session.post(
                f"{self.url}/chat/completions", json=request_body(asked, self.model), read_bufsize=LONGEST_EVENT
            ) as response:
                if response.status != 200:
                    if response.status == 404:
                        self.lost(self.version)
                    raise refusal(response.status, await response.text())
                usage = {"prompt_tokens": 0, "completion_tokens": 0}
                async for line in response.content:
                    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                        continue
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise refusal(500, json.dumps(event))
                    usage = event.get("usage") or usage
                    for choice in event["choices"]:
                        yield piece_of(choice)
                yield Piece(prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"])
        except aiohttp.ClientConnectorError as error:
            raise EndpointUnreachable(f"the vLLM server {self.url} is out of reach: {error}") from error
        except (aiohttp.ClientError, ValueError, KeyError) as error:
            raise EndpointFailing(f"the vLLM server {self.url} broke off: {error}") from error


@dataclass
class VllmEngine:
    """A vLLM server over a registry; see ``tools.engine.asked.Engine``.

    Attributes:
        registry: the folder of the versions.
        url: the server's, up to ``/v1``.
    """

    registry: Path
    url: str
    _session: aiohttp.ClientSession | None = None
    _base: str = ""
    _loaded: set[str] = field(default_factory=set)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self) -> None:
        """Ask the server for its base, and tell it of what the registry points at; see ``Engine.start``."""
        import aiohttp

        async with self._loading:
            if self._session is not None:
                return
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=10),
            )
            try:
                self._base = await _base_there(session, self.url)
            except BaseException:
                await session.close()
                raise
            self._session = session
        view = await asyncio.to_thread(look, self.registry)
        if view.current in view.versions and view.current is not None:
            await self._tell(view.current)

    async def close(self) -> None:
        """Close the connections; what the server has loaded stays there."""
        if self._session is not None:
            await self._session.close()
        self._session = None

    async def entries(self) -> list[Entry]:
        """Return the base, ``current`` and all versions."""
        view = await asyncio.to_thread(look, self.registry)
        current = [Entry(name=CURRENT, parent=view.current)] if view.current in view.versions else []
        return [*current, *(Entry(name=name, parent=BASE) for name in reversed(view.versions)), Entry(name=BASE)]

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[VllmHeld]:
        """Hold a version for a request; see ``Engine.open``."""
        await self.start()
        name = meant(model, await asyncio.to_thread(look, self.registry))
        if name != BASE:
            await self._tell(name)
        assert self._session is not None
        yield VllmHeld(name, self._base if name == BASE else name, self.url.rstrip("/"), self._session, self.forget)

    async def _tell(self, version: str) -> None:
        """Have the server load a version, once."""
        import aiohttp

        async with self._loading:
            if version in self._loaded:
                return
            assert self._session is not None
            body = {"lora_name": version, "lora_path": str((self.registry / version).resolve())}
            try:
                async with self._session.post(f"{self.url.rstrip('/')}/load_lora_adapter", json=body) as response:
                    said = await response.text()
                    if response.status != 200 and LOADED_ALREADY not in said:
                        raise BadInput(f"the vLLM server {self.url} does not load {version}: {_message(said)}")
            except aiohttp.ClientError as error:
                raise EndpointUnreachable(f"the vLLM server {self.url} is out of reach: {error}") from error
            self._loaded.add(version)

    def forget(self, version: str) -> None:
        """Tell the server of a version again at the next request: it has been started anew, and has lost it."""
        self._loaded.discard(version)


@asynccontextmanager
async def served_there(version: Path, url: str) -> AsyncIterator[VllmHeld]:
    """Have a server load one version, and hold it as a request does, for as long as the block lasts.

    Args:
        version: its folder, in a registry.
        url: the server's, up to ``/v1``.

    Raises:
        BadInput: the server does not load it, or is another one.
        EndpointUnreachable: nothing answers there.
    """
    engine = VllmEngine(version.parent, url)
    try:
        async with engine.open(version.name) as held:
            yield held
    finally:
        await engine.close()


def request_body(asked: Asked, model: str) -> dict[str, Any]:
    """Return what is asked in OpenAI's form; always as a stream."""
    body: dict[str, Any] = {
        "model": model,
        "messages": turns_of(asked),
        "n": asked.choices,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if asked.max_tokens is not None:
        body["max_tokens"] = asked.max_tokens
    if asked.seed is not None:
        body["seed"] = asked.seed
    if asked.stop:
        body["stop"] = list(asked.stop)
    if asked.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": asked.logprobs}
    if asked.json_schema is not None:
        schema = {"name": "answer", "schema": asked.json_schema}
        named = {"type": "json_schema", "json_schema": schema}
        body["response_format"] = named if asked.json_schema else {"type": "json_object"}
    return body


def turns_of(asked: Asked) -> list[dict[str, str]]:
    """Return the chat as the server takes it."""
    return [{"role": turn["role"], "content": turn["content"]} for turn in asked.turns]


def piece_of(choice: Mapping[str, Any]) -> Piece:
    """Return one choice of a chunk."""
    told = (choice.get("logprobs") or {}).get("content") or ()
    finish = choice.get("finish_reason")
    return Piece(
        choice=choice["index"],
        text=(choice.get("delta") or {}).get("content") or "",
        logprobs=tuple(
            Token(**_likely(one).model_dump(), top=tuple(map(_likely, one.get("top_logprobs") or ()))) for one in told
        ),
        finish=None if finish is None else "length" if finish == "length" else "stop",
    )


def refusal(status: int, text: str) -> CallRefused | EndpointFailing | PromptTooLong:
    """Return the server's error as one of ours."""
    said = _message(text)
    if 400 <= status < 500:
        return PromptTooLong(said) if "maximum context length" in said else CallRefused(said)
    return EndpointFailing(f"the vLLM server fails: {said}")


async def _base_there(session: aiohttp.ClientSession, url: str) -> str:
    """Return the name of the base that a server serves.

    Raises:
        EndpointUnreachable: nothing answers there.
        BadInput: what answers lists no model.
    """
    import aiohttp

    try:
        async with session.get(f"{url.rstrip('/')}/models") as response:
            listed = json.loads(await response.text())["data"]
        return str(next(one["id"] for one in listed if not one.get("parent")))
    except aiohttp.ClientError as error:
        raise EndpointUnreachable(f"the vLLM server {url} is out of reach: {error}") from error
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise BadInput(f"CORRAL_SERVE_URL: {url} lists no base model; is it a vLLM server's, up to /v1?") from error


def _likely(found: Mapping[str, Any]) -> Likely:
    return Likely(text=found["token"], bytes=found.get("bytes"), logprob=found["logprob"])


def _message(text: str) -> str:
    try:
        found = json.loads(text)
        error = found.get("error", found)
        said = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, AttributeError, TypeError):
        said = text[:400]
    return " ".join(said.split())
