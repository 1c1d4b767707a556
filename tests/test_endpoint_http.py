"""Any OpenAI-compatible server over real loopback HTTP: what is sent, keys in turn, and every way it fails."""

import socket
from typing import Any

import pytest

from state.errors import (
    BadInput,
    CallRefused,
    EndpointError,
    EndpointFailing,
    EndpointRefused,
    EndpointUnreachable,
    RateLimited,
)
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint import open_endpoint, probe
from tools.endpoint.chat import ChatCall
from tools.endpoint.completions import read_completion
from tools.endpoint.failures import TryAgain
from tools.endpoint.http_transport import HttpTransport
from tools.settings import Settings

CALL = ChatCall(purpose="test", messages=({"role": "user", "content": "What is a river?"},))


def unused_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        return int(probing.getsockname()[1])


def settings(*keys: str) -> Settings:
    return Settings.model_validate({"openai_api_key": ",".join(keys) or None})


async def test_the_request_is_openais_and_holds_nothing_unasked() -> None:
    call = CALL.model_copy(update={"stop": ("\n20.",), "seed": 7, "json_schema": {"type": "object"}})
    with ScriptedServer() as server:
        await HttpTransport(server.url).send(CALL, MODEL, 5)
        await HttpTransport(server.url, ["sk-one"]).send(call, MODEL, 5)
    plain, full = server.requests
    assert plain.body == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What is a river?"}],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 256,
    }
    assert plain.key == "" and full.key == "sk-one"
    assert full.body["stop"] == ["\n20."] and full.body["seed"] == 7
    assert full.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
    }


def test_openai_itself_is_asked_by_the_name_that_all_its_models_take() -> None:
    assert HttpTransport("https://api.openai.com/v1").body(CALL, "m")["max_completion_tokens"] == 256
    assert "max_tokens" not in HttpTransport("https://api.openai.com/v1").body(CALL, "m")


async def test_the_reply_has_text_reason_and_tokens() -> None:
    with ScriptedServer(answer=lambda body: "one two three") as server:
        reply = await HttpTransport(server.url).send(CALL, MODEL, 5)
        short = await HttpTransport(server.url).send(CALL.model_copy(update={"max_tokens": 2}), MODEL, 5)
    assert (reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == (
        "one two three",
        "stop",
        4,
        3,
    )
    assert (short.text, short.finish_reason) == ("one two", "length")


async def test_keys_are_used_in_turn() -> None:
    with ScriptedServer() as server:
        transport = HttpTransport(server.url, ["a", "b", "c"])
        for _ in range(6):
            await transport.send(CALL, MODEL, 5)
    assert [seen.key for seen in server.requests] == ["a", "b", "c", "a", "b", "c"]


async def test_a_refused_key_gives_way_to_the_next() -> None:
    with ScriptedServer(keys=["good"]) as server:
        transport = HttpTransport(server.url, ["bad", "good"])
        replies = [await transport.send(CALL, MODEL, 5) for _ in range(2)]
        assert all(reply.text for reply in replies)
        with pytest.raises(EndpointRefused, match="OPENAI_API_KEY"):
            await HttpTransport(server.url, ["bad", "worse"]).send(CALL, MODEL, 5)


async def test_a_limited_key_gives_way_to_the_next_at_once() -> None:
    with ScriptedServer(failures=["429:60", "ok", "429:60", "429:2"]) as server:
        transport = HttpTransport(server.url, ["a", "b"])
        assert (await transport.send(CALL, MODEL, 5)).text
        with pytest.raises(TryAgain) as caught:
            await transport.send(CALL, MODEL, 5)
    assert [seen.key for seen in server.requests] == ["a", "b", "b", "a"]
    assert caught.value.after == 2.0
    assert type(caught.value.error) is RateLimited


@pytest.mark.parametrize("failed", ["500", "503:1", "408", "409", "drop", "garbage"])
async def test_failures_that_may_pass(failed: str) -> None:
    with ScriptedServer(failures=[failed]) as server:
        with pytest.raises(TryAgain) as caught:
            await HttpTransport(server.url).send(CALL, MODEL, 5)
        assert type(caught.value.error) is EndpointFailing and server.url in str(caught.value.error)


@pytest.mark.parametrize(
    ("failed", "kind"),
    [(status, EndpointRefused) for status in ("403", "404", "302")]
    + [(status, CallRefused) for status in ("400", "422")],
)
async def test_failures_that_never_pass(failed: str, kind: type[EndpointError]) -> None:
    with ScriptedServer(failures=[failed]) as server:
        with pytest.raises(kind) as caught:
            await HttpTransport(server.url).send(CALL, MODEL, 5)
        assert server.url in str(caught.value)
        assert len(server.requests) == 1


async def test_no_answer_in_time() -> None:
    with ScriptedServer(failures=["timeout"]) as server:
        with pytest.raises(TryAgain, match=r"no answer in 0\.2 s") as caught:
            await HttpTransport(server.url).send(CALL, MODEL, 0.2)
    assert type(caught.value.error) is EndpointFailing


async def test_no_server_there() -> None:
    url = f"http://127.0.0.1:{unused_port()}/v1"
    with pytest.raises(TryAgain) as caught:
        await HttpTransport(url).send(CALL, MODEL, 5)
    assert type(caught.value.error) is EndpointUnreachable
    assert str(caught.value.error).startswith(f"no connection to {url}: ")


async def test_plain_text_where_tls_is_asked() -> None:
    with ScriptedServer() as server:
        with pytest.raises(TryAgain, match="no connection to https"):
            await HttpTransport(server.url.replace("http", "https")).send(CALL, MODEL, 5)


async def test_a_refusal_and_an_empty_answer_are_answers() -> None:
    with ScriptedServer(failures=["refusal", "empty"]) as server:
        refusal = await HttpTransport(server.url).send(CALL, MODEL, 5)
        empty = await HttpTransport(server.url).send(CALL, MODEL, 5)
    assert refusal.finish_reason == "refusal" and refusal.text == "I cannot help with that."
    assert empty.text == "" and empty.finish_reason == "stop"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 3}}]},
    ],
)
def test_json_that_is_no_completion_is_a_broken_answer(answer: dict[str, Any]) -> None:
    with pytest.raises(TryAgain, match="OpenAI-compatible") as caught:
        read_completion(answer, {"messages": []}, "http://x/v1")
    assert type(caught.value.error) is EndpointFailing


def test_an_error_in_place_of_a_completion_is_told() -> None:
    with pytest.raises(TryAgain, match="answered with an error: provider is overloaded"):
        read_completion({"error": {"message": "provider is overloaded"}}, {"messages": []}, "http://x/v1")


def test_tokens_are_estimated_where_the_server_does_not_count() -> None:
    reply = read_completion({"choices": [{"message": {"content": "x" * 40}}]}, {"messages": ["y" * 80]}, "http://x/v1")
    assert reply.completion_tokens == 10 and reply.prompt_tokens == 21


def test_a_key_in_the_url_is_refused_without_showing_it() -> None:
    with pytest.raises(BadInput) as caught:
        HttpTransport("https://me:sk-secret@models.example/v1")
    assert "sk-secret" not in str(caught.value) and "OPENAI_API_KEY" in str(caught.value)


def test_a_proxy_is_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert HttpTransport("http://models.example/v1").proxy == "http://proxy.example:3128"
    assert HttpTransport("http://inside.example/v1").proxy is None
    assert HttpTransport("http://127.0.0.1:8000/v1").proxy is None


async def test_probe_finds_a_well_endpoint_and_spends_nothing() -> None:
    with ScriptedServer(keys=["good"], models=["alpha", "beta:latest"]) as server:
        result = await probe(Endpoint(base_url=server.url, model="alpha"), settings("good"))
        assert result.models == ("alpha", "beta:latest") and result.url == server.url
        assert result.detail.startswith("2 models, answered in ")
        await probe(Endpoint(base_url=server.url, model="beta"), settings("good"))
    assert server.requests == []


async def test_probe_takes_a_server_without_a_list_of_models() -> None:
    with ScriptedServer(models=()) as server:
        result = await probe(Endpoint(base_url=server.url, model="anything"), settings())
    assert result.models == () and result.detail.startswith("no list of models, ")
    assert server.requests == []


async def test_probe_says_what_is_wrong() -> None:
    with ScriptedServer(keys=["good"], models=["alpha-large", "beta"]) as server:
        spec = Endpoint(base_url=server.url, model="alpha-larg")
        with pytest.raises(EndpointRefused, match="refuses the key"):
            await probe(spec, settings("bad"))
        with pytest.raises(EndpointRefused, match="set OPENAI_API_KEY"):
            await probe(spec, settings())
        with pytest.raises(EndpointRefused, match="refuses key 2 of 2"):
            await probe(spec, settings("good", "bad"))
        with pytest.raises(EndpointRefused, match="has no model 'alpha-larg'; the nearest it has: alpha-large"):
            await probe(spec, settings("good"))
        with pytest.raises(EndpointRefused, match="OpenAI-compatible"):
            await probe(Endpoint(base_url=server.url.removesuffix("/v1") + "/page", model="x"), settings("good"))
    with pytest.raises(EndpointUnreachable, match="no connection"):
        await probe(spec, settings("good"))


async def test_the_embedded_endpoint_has_one_model() -> None:
    with pytest.raises(BadInput, match="smollm2-135m-instruct"):
        await open_endpoint(Endpoint(model="gpt-4o"), MemoryLedger(), "run", settings())


def test_every_error_of_the_room_is_in_our_tree() -> None:
    assert all(issubclass(kind, EndpointError) for kind in (EndpointRefused, EndpointUnreachable, RateLimited))
