"""A scripted OpenAI-compatible server for tests: no model, but real HTTP on loopback.

It answers by the content of the request (see ``scripted_answers``), so a test is repeatable, and fails as it is told.

    with ScriptedServer() as server:                          # in a thread of this process
        ... server.url ... server.requests
    with ScriptedServer(failures=["429:0.1", "ok", "500"]):   # the first three requests, in their order
    with ScriptedServer(fail_when={"poison": "refusal"}):     # every request whose text contains the word
    python -m tests.scripted_server --port 8001 --log FILE    # as a process; the log survives whoever is killed

Failures: ``429:SECONDS`` and ``503:SECONDS`` send ``Retry-After`` (``429:date`` as an HTTP date); any other status by
its number; ``timeout`` never answers; ``drop`` breaks the connection; ``garbage`` answers with no JSON at all;
``invalid`` with a text that is not the asked JSON, ``truncated`` with half of it, ``empty`` with nothing, ``refusal``
with a refusal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Self, TextIO

from aiohttp import web

from tests.scripted_answers import answer_to, request_hash
from tests.scripted_batches import ScriptedBatches

MODEL = "scripted"


@dataclass(frozen=True)
class Seen:
    """One request that arrived at ``/chat/completions``."""

    hash: str
    body: dict[str, Any]
    key: str
    """The bearer token, empty where none was sent."""
    at: float
    """Seconds since the epoch."""
    outcome: str
    """``ok``, or the failure that was played."""

    @property
    def text(self) -> str:
        """All messages, one after the other."""
        return "\n".join(str(message.get("content") or "") for message in self.body["messages"])


class ScriptedServer:
    """The server, in a thread of its own.

    Args:
        latency: seconds before each answer.
        failures: what happens to the first requests, in the order they arrive; ``ok`` for an answer.
        fail_when: a text, and what happens to every request that contains it.
        keys: the accepted API keys; ``None`` accepts all. A rejected key gets a 401.
        models: what ``/models`` lists; where it is empty there is no such list, and every model is taken.
        answer: takes the request's body and returns the answer's text; the scripted answers where it is not given.
        log: a file that every request and every answer sent is appended to, a JSON object a line, flushed at once.
        port: 0 for a free one.
        batches: the Batch API; without it the server has none.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        failures: Sequence[str] = (),
        fail_when: dict[str, str] | None = None,
        keys: Sequence[str] | None = None,
        models: Sequence[str] = (MODEL,),
        answer: Callable[[dict[str, Any]], str] = answer_to,
        log: Path | str | None = None,
        port: int = 0,
        batches: ScriptedBatches | None = None,
    ) -> None:
        self.latency = latency
        self.failures = list(failures)
        self.fail_when = dict(fail_when or {})
        self.keys = keys
        self.models = models
        self.answer = answer
        self.requests: list[Seen] = []
        self.port = port
        self.batches = batches
        self.in_flight = 0
        self.most_in_flight = 0
        self._log: TextIO | None = open(log, "a", encoding="utf-8") if log else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """The base URL, with ``/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def answered(self) -> list[Seen]:
        """The requests that were answered well."""
        return [seen for seen in self.requests if seen.outcome == "ok"]

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._log:
            self._log.close()

    def _call(self, coroutine: Any) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.result(timeout=10)

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 1024**2)
        app.add_routes(
            [web.get("/v1/models", self._list_models), web.post("/v1/chat/completions", self._chat)],
        )
        if self.batches is not None:
            app.add_routes(self.batches.routes(self._batched))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def _batched(self, body: dict[str, Any]) -> dict[str, Any]:
        return _completion(body, {"role": "assistant", "content": self.answer(body)}, "ok")

    async def _list_models(self, request: web.Request) -> web.Response:
        if not self._accepts(_bearer(request)):
            return _error(401, "Incorrect API key provided")
        if not self.models:
            return _error(404, "no list of models")
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if "messages" not in body:
            return _error(400, "messages are missing")
        key = _bearer(request)
        outcome = self._outcome(body, key)
        seen = Seen(request_hash(body), body, key, time.time(), outcome)
        self.requests.append(seen)
        self._write("request", seen)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            response = await self._respond(request, seen)
        finally:
            self.in_flight -= 1
        if outcome == "ok":
            self._write("answer", seen)
        return response

    def _outcome(self, body: dict[str, Any], key: str) -> str:
        if not self._accepts(key):
            return "401"
        if self.models and body["model"] not in self.models:
            return "404"
        text = json.dumps(body["messages"], ensure_ascii=False)
        for mark, outcome in self.fail_when.items():
            if mark in text:
                return outcome
        return self.failures.pop(0) if self.failures else "ok"

    def _accepts(self, key: str) -> bool:
        return self.keys is None or key in self.keys

    async def _respond(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        kind, _, detail = seen.outcome.partition(":")
        if kind.isdigit():
            return _error(int(kind), f"scripted {kind}", retry_after=detail)
        if kind == "timeout":
            await asyncio.sleep(3600)
        if kind == "drop" and request.transport:
            request.transport.abort()
        if kind == "garbage":
            return web.Response(text="<html>this is no JSON</html>", content_type="text/html")
        text = self.answer(seen.body)
        played = {"invalid": "I would give it eight of ten.", "truncated": text[: len(text) // 2], "empty": ""}
        message: dict[str, Any] = {"role": "assistant", "content": played.get(kind, text)}
        if kind == "refusal":
            message |= {"content": None, "refusal": "I cannot help with that."}
        return web.json_response(_completion(seen.body, message, kind))

    def _write(self, event: str, seen: Seen) -> None:
        if self._log:
            line = {"event": event, "hash": seen.hash, "at": time.time(), "outcome": seen.outcome}
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ").strip()


def _error(status: int, message: str, retry_after: str = "") -> web.Response:
    headers = {}
    if retry_after == "date":
        headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    elif retry_after:
        headers["Retry-After"] = retry_after
    body = {"error": {"message": message, "type": "scripted", "code": None, "param": None}}
    return web.json_response(body, status=status, headers=headers)


def _completion(body: dict[str, Any], message: dict[str, Any], kind: str) -> dict[str, Any]:
    words = str(message["content"] or "").split(" ")
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(words)
    cut = kind == "truncated" or len(words) > limit
    if message["content"]:
        message["content"] = " ".join(words[:limit])
        for stop in body.get("stop") or []:
            message["content"] = message["content"].split(stop)[0]
    prompt = sum(len(str(m.get("content") or "").split()) for m in body["messages"])
    used = len(str(message["content"] or "").split())
    return {
        "id": "chatcmpl-" + request_hash(body),
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if cut else "stop", "logprobs": None}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": used, "total_tokens": prompt + used},
    }


def main() -> None:
    """Serve until the process is ended; the first line printed is the base URL."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", default=None)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--fail", action="append", default=[], help="what happens to the next request; repeatable")
    options = parser.parse_args()
    with ScriptedServer(port=options.port, log=options.log, latency=options.latency, failures=options.fail) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
