"""LangSmith sees model calls when tracing is on, and nothing leaves when it is off."""

import json
from collections.abc import Iterator

import pytest

from state.request import Endpoint
from tests.fake_langsmith import FakeLangSmith, fake_langsmith
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint.chat import ChatCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import HttpTransport

CALL = ChatCall(purpose="judge.accuracy", draw=3, messages=({"role": "user", "content": "What is a river?"},))


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLangSmith]:
    """A server in LangSmith's place, with tracing on."""
    with fake_langsmith(monkeypatch, LANGSMITH_TRACING="true", LANGCHAIN_TRACING_V2="true") as found:
        yield found


async def test_a_call_is_traced_with_its_model_and_tokens(langsmith: FakeLangSmith) -> None:
    from langsmith.run_trees import get_cached_client

    with ScriptedServer() as server:
        spec = Endpoint(base_url=server.url, model=MODEL)
        transport = HttpTransport(server.url, ["sk-secret"])
        reply = await LedgeredEndpoint(transport, MemoryLedger(), spec, "run-7", tracing=True).complete(CALL)
    get_cached_client().flush()
    traced = langsmith.text
    assert "What is a river?" in traced and json.dumps(reply.text)[1:20] in traced
    assert '"ls_model_name":"scripted"' in traced and f'"output_tokens":{reply.completion_tokens}' in traced
    assert "sk-secret" not in traced
    assert '"name":"judge.accuracy"' in traced and '"thread_id":"run-7"' in traced and '"draw":3' in traced


async def test_without_tracing_nothing_leaves(langsmith: FakeLangSmith) -> None:
    from langsmith.run_trees import get_cached_client

    with ScriptedServer() as server:
        spec = Endpoint(base_url=server.url, model=MODEL)
        await LedgeredEndpoint(HttpTransport(server.url), MemoryLedger(), spec, "run").complete(CALL)
    get_cached_client().flush()
    assert langsmith.text == ""
