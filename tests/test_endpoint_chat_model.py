"""Any LangChain chat model behind the ledger: langchain-openai over real loopback HTTP."""

from collections.abc import Iterator

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from state.errors import BadInput, EndpointFailing, EndpointRefused, EndpointUnreachable
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint import open_endpoint, probe, retries
from tools.endpoint.chat import ChatCall
from tools.endpoint.chat_model import ChatModelTransport
from tools.endpoint.client import LedgeredEndpoint
from tools.settings import load_settings

CALL = ChatCall(purpose="test", messages=({"role": "user", "content": "What is a river?"},), max_tokens=40, seed=3)


class Grade(BaseModel):
    score: int


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF", lambda state: 0.0)


def plugged(server: ScriptedServer, ledger: MemoryLedger) -> LedgeredEndpoint:
    model = ChatOpenAI(model=MODEL, base_url=server.url, api_key=SecretStr("sk-test"), max_retries=0)
    spec = Endpoint(base_url=server.url, model=MODEL, attempts=3, input_price=1.0)
    return LedgeredEndpoint(ChatModelTransport(model), ledger, spec, "run")


async def test_a_plugged_model_is_asked_and_recorded_like_any_other() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(failures=["500", "429:0"]) as server:
        first = await plugged(server, ledger).complete(CALL.model_copy(update={"stop": ("zzz",)}))
        again = await plugged(server, ledger).complete(CALL.model_copy(update={"stop": ("zzz",)}))
    assert len(server.requests) == 3 and again.from_ledger and again.text == first.text
    body = server.requests[2].body
    assert (body["seed"], body["temperature"], body["top_p"], body["stop"]) == (3, 1.0, 1.0, ["zzz"])
    assert 40 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert first.prompt_tokens == 4 and first.completion_tokens > 0 and first.cost == 4e-6
    assert ledger.calls[first.key].attempts == 3


async def test_a_plugged_model_answers_by_schema() -> None:
    with ScriptedServer() as server:
        grade, _ = await plugged(server, MemoryLedger()).complete_as(Grade, CALL)
    assert isinstance(grade.score, int)
    assert server.requests[0].body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(("failure", "kind"), [("401", EndpointRefused), ("drop", EndpointFailing)])
async def test_its_errors_become_ours(failure: str, kind: type[Exception]) -> None:
    with ScriptedServer(failures=[failure] * 3) as server:
        with pytest.raises(kind, match="ChatOpenAI"):
            await plugged(server, MemoryLedger()).complete(CALL)


async def test_a_server_that_is_gone_is_out_of_reach() -> None:
    with ScriptedServer() as server:
        asker = plugged(server, MemoryLedger())
    with pytest.raises(EndpointUnreachable, match="ChatOpenAI"):
        await asker.complete(CALL)


async def test_any_other_chat_model_works_too() -> None:
    transport = ChatModelTransport(FakeListChatModel(responses=["A river is water on its way."]))
    made = await LedgeredEndpoint(transport, MemoryLedger(), Endpoint(model="fake"), "run").complete(CALL)
    assert (made.text, made.finish_reason) == ("A river is water on its way.", "stop")


def test_a_model_that_retries_by_itself_is_refused() -> None:
    with pytest.raises(BadInput, match="max_retries=0"):
        ChatModelTransport(ChatOpenAI(model=MODEL, api_key=SecretStr("x")))


@pytest.fixture
def openai_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A scripted server where langchain-openai looks for OpenAI's."""
    with ScriptedServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


async def test_a_provider_is_asked_by_its_name_behind_the_same_ledger(openai_server: ScriptedServer) -> None:
    spec, ledger = Endpoint(base_url="langchain", model=f"openai:{MODEL}", input_price=1.0), MemoryLedger()
    assert (await probe(spec, load_settings())).models == (f"openai:{MODEL}",)
    assert openai_server.requests == [], "a probe spends nothing"
    endpoint = await open_endpoint(spec, ledger, "run", load_settings())
    first, again = await endpoint.complete(CALL), await endpoint.complete(CALL)
    assert again.from_ledger and again.text == first.text and first.cost == 4e-6
    body = openai_server.requests[0].body
    assert (body["model"], body["seed"], body["temperature"], body["top_p"]) == (MODEL, 3, 1.0, 1.0)
    assert 40 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert {(call.endpoint, call.model) for call in ledger.calls.values()} == {("langchain", f"openai:{MODEL}")}


async def test_a_provider_answers_by_its_own_structured_output(openai_server: ScriptedServer) -> None:
    spec = Endpoint(base_url="langchain", model=f"openai:{MODEL}")
    grade, _ = await (await open_endpoint(spec, MemoryLedger(), "run", load_settings())).complete_as(Grade, CALL)
    assert isinstance(grade.score, int)
    assert openai_server.requests[0].body["response_format"]["json_schema"]["strict"] is True


async def test_a_provider_does_not_retry_beside_the_ledger(openai_server: ScriptedServer) -> None:
    openai_server.failures.extend(["429:0", "500"])
    spec, ledger = Endpoint(base_url="langchain", model=f"openai:{MODEL}"), MemoryLedger()
    made = await (await open_endpoint(spec, ledger, "run", load_settings())).complete(CALL)
    assert len(openai_server.requests) == 3 <= ledger.calls[made.key].attempts


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("anthropic:claude-sonnet-4-5", "langchain needs a package for 'anthropic:claude-sonnet-4-5'.*anthropic"),
        ("nobody:x", "cannot make 'nobody:x'.*provider:model"),
        ("openai:gpt-4o", "cannot make 'openai:gpt-4o'.*(api_key|API_KEY)"),
    ],
)
async def test_a_provider_that_cannot_be_used_is_one_line(model: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as told:
        await probe(Endpoint(base_url="langchain", model=model), load_settings())
    assert "\n" not in str(told.value)


async def test_a_word_that_is_no_kind_of_endpoint_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"'wieghts' is neither a URL nor one of .*did you mean 'weights'"):
        await probe(Endpoint(base_url="wieghts"), load_settings())
