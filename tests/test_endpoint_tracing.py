"""LangSmith sees model calls when tracing is on, and nothing leaves when it is off."""

import json
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint.chat import ChatCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import HttpTransport

CALL = ChatCall(purpose="judge.accuracy", draw=3, messages=({"role": "user", "content": "What is a river?"},))


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A collector in LangSmith's place; yields the bodies that it was sent."""
    from langsmith import run_trees, utils

    sent: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"{}")

        def do_POST(self) -> None:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = b"".join(iter(self._chunk, b""))
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent.append(body)
            self._answer(b"{}")

        def _chunk(self) -> bytes:
            body = self.rfile.read(int(self.rfile.readline(), 16))
            self.rfile.readline()
            return body

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "LANGSMITH_TRACING": "true",
        "LANGCHAIN_TRACING_V2": "true",
        "LANGSMITH_API_KEY": "ls-test",
        "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
    }.items():
        monkeypatch.setenv(name, value)
    utils.get_env_var.cache_clear()  # type: ignore[attr-defined]  # an lru_cache behind overloads
    monkeypatch.setattr(run_trees, "_CLIENT", None)
    yield sent
    utils.get_env_var.cache_clear()  # type: ignore[attr-defined]  # an lru_cache behind overloads
    server.shutdown()
    server.server_close()


def plain(bodies: list[bytes]) -> str:
    texts = []
    for body in bodies:
        try:
            texts.append(zlib.decompress(body, 47).decode("utf-8", "replace"))
        except zlib.error:
            texts.append(body.decode("utf-8", "replace"))
    return "".join(texts)


async def test_a_call_is_traced_with_its_model_and_tokens(langsmith: list[bytes]) -> None:
    from langsmith.run_trees import get_cached_client

    with ScriptedServer() as server:
        spec = Endpoint(base_url=server.url, model=MODEL)
        transport = HttpTransport(server.url, ["sk-secret"])
        reply = await LedgeredEndpoint(transport, MemoryLedger(), spec, "run-7", tracing=True).complete(CALL)
    get_cached_client().flush()
    traced = plain(langsmith)
    assert "What is a river?" in traced and json.dumps(reply.text)[1:20] in traced
    assert '"ls_model_name":"scripted"' in traced and f'"output_tokens":{reply.completion_tokens}' in traced
    assert "sk-secret" not in traced
    assert '"name":"judge.accuracy"' in traced and '"thread_id":"run-7"' in traced and '"draw":3' in traced


async def test_without_tracing_nothing_leaves(langsmith: list[bytes]) -> None:
    from langsmith.run_trees import get_cached_client

    with ScriptedServer() as server:
        spec = Endpoint(base_url=server.url, model=MODEL)
        await LedgeredEndpoint(HttpTransport(server.url), MemoryLedger(), spec, "run").complete(CALL)
    get_cached_client().flush()
    assert langsmith == []
