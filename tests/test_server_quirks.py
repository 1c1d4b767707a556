"""Servers differ from OpenAI's, each in its way: what is right for each of about ninety ways that were met."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from state.errors import CallFailed, CallRefused, EndpointError, EndpointRefused
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.quirky_server import LISTS, QUIRKS, TEXT, QuirkyServer
from tools.endpoint import probe, probing, retries
from tools.endpoint.chat import ChatCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.completions import MOST_TOKENS
from tools.endpoint.connection import Connection
from tools.endpoint.failures import wait_asked
from tools.endpoint.http_transport import HttpTransport
from tools.endpoint.parameters import Accepted, accepted, learned
from tools.endpoint.probing import listed_names
from tools.endpoint.streams import joined
from tools.settings import Settings


class Verdict(BaseModel):
    """What the judge is asked for."""

    score: int
    reason: str


CALL = ChatCall(
    purpose="test",
    messages=({"role": "user", "content": "What is a river?"},),
    temperature=0.5,
    top_p=0.9,
    seed=3,
    stop=("\n20.",),
    max_tokens=64,
)

READ = """plain think think_noopen reasoning maxcompl notemp notopp noseed unknownname nostop noschema schema_ignored
fenced fenced_up trail bom schema_in_tool finishnull finisheos finishend finishSTOP finishempty nousage usagenull
usagefloat usageneg usagestr usagezero usagelist streamonly padded jsonbom s201 gzip textchoice nan""".split()
"""What is read as the verdict."""
AGAIN = """finisherror err200once ra_sec ra_date ra_ms ra_unit ra_body ra_delay ra_neg quota_said 529 503ra
cutonce""".split()
"""What is read as the verdict after a second try."""
TEXTS = {"latin": "café", "badcharset": "café", "surrogate": "half \ud83d of a pair", "nul": "a\0b"}
"""What is read as a text."""
FAILS = {
    "reasoning_only": (1, "reasoned and gave no answer; raise max_tokens"),
    "reasoning_stop": (1, "reasoned and gave no answer; raise max_tokens"),
    "filter": (1, "content filter took the whole answer"),
    "empty": (2, "gave an empty answer"),
    "nullstop": (2, "gave an empty answer"),
    "err200": (2, "answered with an error: upstream is overloaded"),
    "nullchoices": (2, "not as an OpenAI-compatible server"),
    "nochoices": (2, "not as an OpenAI-compatible server"),
    "ra_huge": (1, r"asks to wait 86,400 s\. It says: Daily limit reached"),
    "ctx": (1, "maximum context length"),
    "ctxmax": (1, "maximum context length"),
    "ctx500": (1, "maximum context length"),
    "html502": (2, r"502.*an HTML page, 'Just a moment\.\.\.'"),
    "html200": (2, r"an HTML page, 'Just a moment\.\.\.'"),
    "huge": (1, "more than 8 MiB"),
    "emptybody": (2, "It sent nothing"),
    "empty204": (2, "It sent nothing"),
    "deep": (2, "not as an OpenAI-compatible server"),
    "cut": (2, "broke the connection"),
    "shortlen": (2, "broke the connection|not as an OpenAI-compatible server"),
    "badgzip": (2, "broke the connection"),
    "hang": (1, "gave no answer in 0.3 s"),
    "drip": (1, "gave no answer in 0.3 s"),
}
"""How often it is asked, and with which words the one row fails."""
STOPS = {
    "quota": r"no credit left \(429\).*You exceeded your current quota",
    "gquota": r"no credit left \(429\).*limit: 0",
    "cf403": r"refuses what it is asked \(403\).*an HTML page, 'Just a moment\.\.\.'",
    "region403": r"refuses what it is asked \(403\).*Country, region, or territory not supported",
    "redirect": "has moved to https://elsewhere.example/v1/chat/completions",
    "redirslash": "has moved to /redirslash/v1/chat/completions/",
}
"""With which words the step ends, at the first request."""


@pytest.fixture(scope="module")
def server() -> Iterator[QuirkyServer]:
    with QuirkyServer() as running:
        yield running


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF", lambda state: 0.0)


def endpoint(server: QuirkyServer, quirk: str, ledger: MemoryLedger | None = None) -> LedgeredEndpoint:
    server.asked(quirk).clear()
    url = server.url(quirk)
    slow = quirk in ("hang", "drip")
    spec = Endpoint(base_url=url, model="m", attempts=1 if slow else 2, timeout=0.3 if slow else 10)
    return LedgeredEndpoint(HttpTransport(url, ["sk-test-key"]), ledger or MemoryLedger(), spec, "run")


def poisoned(draw: int = 0) -> ChatCall:
    return CALL.model_copy(update={"messages": ({"role": "user", "content": "poison"},), "draw": draw})


def test_every_quirk_has_its_outcome() -> None:
    tested = [*READ, *AGAIN, *TEXTS, *FAILS, *STOPS, "filterhalf", "mod403", "err401ok"]
    assert sorted(tested) == sorted(QUIRKS)


@pytest.mark.parametrize("quirk", READ)
async def test_it_is_read(server: QuirkyServer, quirk: str) -> None:
    ledger = MemoryLedger()
    verdict, completion = await endpoint(server, quirk, ledger).complete_as(Verdict, CALL)
    assert (verdict.score, completion.finish_reason) == (80, "stop")
    (call,) = ledger.calls.values()
    assert (0 < call.prompt_tokens < MOST_TOKENS and 0 < call.completion_tokens < MOST_TOKENS) or quirk == "usagezero"
    assert call.request == server.asked(quirk)[-1], "the ledger has the request as it was taken"
    assert completion.thought == quirk.startswith("think")


@pytest.mark.parametrize("quirk", AGAIN)
async def test_it_is_tried_again(server: QuirkyServer, quirk: str) -> None:
    verdict, _ = await endpoint(server, quirk).complete_as(Verdict, CALL)
    assert verdict.score == 80 and len(server.asked(quirk)) == 2


@pytest.mark.parametrize("quirk", TEXTS)
async def test_its_text_is_kept(server: QuirkyServer, quirk: str) -> None:
    assert (await endpoint(server, quirk).complete(CALL)).text == TEXTS[quirk]


async def test_half_an_answer_that_a_filter_left_did_not_end(server: QuirkyServer) -> None:
    assert (await endpoint(server, "filterhalf").complete(CALL)).finish_reason == "content_filter"


@pytest.mark.parametrize("quirk", FAILS)
async def test_the_row_fails_with_the_words(server: QuirkyServer, quirk: str) -> None:
    times, words = FAILS[quirk]
    with pytest.raises(CallFailed, match=words) as caught:
        await endpoint(server, quirk).complete(CALL)
    assert len(server.asked(quirk)) == times and "\n" not in str(caught.value)


@pytest.mark.parametrize("quirk", STOPS)
async def test_the_step_ends_with_the_words(server: QuirkyServer, quirk: str) -> None:
    with pytest.raises(EndpointRefused, match=STOPS[quirk]) as caught:
        await endpoint(server, quirk).complete(CALL)
    assert len(server.asked(quirk)) == 1 and "OPENAI_API_KEY" not in str(caught.value)


async def test_a_prompt_that_moderation_refuses_fails_alone(server: QuirkyServer) -> None:
    asked = endpoint(server, "mod403")
    for draw in range(5):
        with pytest.raises(CallRefused, match="flagged by moderation"):
            await asked.complete(poisoned(draw))
    assert (await asked.complete(CALL)).text == TEXT


async def test_a_key_that_was_taken_may_be_refused_twice_in_a_row(server: QuirkyServer) -> None:
    asked = endpoint(server, "err401ok")
    with pytest.raises(EndpointRefused, match="OPENAI_API_KEY"):
        await endpoint(server, "err401ok").complete(poisoned())
    await asked.complete(CALL)
    for draw in range(2):
        with pytest.raises(CallRefused, match="Bad request signature"):
            await asked.complete(poisoned(draw))
    await asked.complete(CALL.model_copy(update={"draw": 1}))
    for draw in range(2, 4):
        with pytest.raises(CallRefused):
            await asked.complete(poisoned(draw))
    with pytest.raises(EndpointRefused, match="OPENAI_API_KEY"):
        await asked.complete(poisoned(4))


@pytest.mark.parametrize(
    ("quirk", "gone", "there"),
    [
        ("maxcompl", "max_tokens", {"max_completion_tokens": 64}),
        ("notemp", "temperature", {"top_p": 0.9}),
        ("notopp", "top_p", {"temperature": 0.5}),
        ("noseed", "seed", {}),
        ("unknownname", "seed", {}),
        ("nostop", "stop", {}),
    ],
)
async def test_what_a_server_refuses_is_remembered_and_told_once(
    server: QuirkyServer, quirk: str, gone: str, there: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    asked = endpoint(server, quirk)
    with caplog.at_level(logging.WARNING):
        for draw in range(3):
            await asked.complete(CALL.model_copy(update={"draw": draw}))
    first, *others = server.asked(quirk)
    assert gone in first and len(others) == 3
    assert all(gone not in body and there.items() <= body.items() for body in others)
    told = [record.message for record in caplog.records if "refuses a request as it is" in record.message]
    assert len(told) == 1 and gone in told[0]


async def test_without_a_schema_json_is_asked_for_otherwise(server: QuirkyServer) -> None:
    asked = endpoint(server, "noschema")
    for draw in range(2):
        await asked.complete_as(Verdict, CALL.model_copy(update={"draw": draw}))
    forms = [body.get("response_format", {}).get("type") for body in server.asked("noschema")]
    assert forms == ["json_schema", "json_object", None, None]
    assert '"score"' in server.asked("noschema")[1]["messages"][-1]["content"]


async def test_the_settings_say_it_from_the_start(server: QuirkyServer) -> None:
    known = accepted({"max_tokens": "max_completion_tokens", "seed": None, "temperature": 1, "think": False}, "object")
    url = server.url("plain")
    server.asked("plain").clear()
    spec = Endpoint(base_url=url, model="m")
    await LedgeredEndpoint(HttpTransport(url, known=known), MemoryLedger(), spec, "run").complete_as(Verdict, CALL)
    (body,) = server.asked("plain")
    assert body["max_completion_tokens"] == 64 and body["temperature"] == 1 and body["think"] is False
    assert not {"max_tokens", "seed"} & body.keys() and body["response_format"] == {"type": "json_object"}


async def test_stop_words_that_a_server_refuses_end_the_text_all_the_same(server: QuirkyServer) -> None:
    call = CALL.model_copy(update={"stop": ("reason",)})
    assert (await endpoint(server, "nostop").complete(call)).text == TEXT[: TEXT.index("reason")]


@pytest.mark.parametrize("quirk", [*LISTS, "plain"])
async def test_a_list_of_models_that_says_nothing_is_followed_by_one_small_chat(
    server: QuirkyServer, quirk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "LIST_SECONDS", 0.3 if quirk == "slow_models" else 10.0)
    server.asked(quirk).clear()
    found = await probe(Endpoint(base_url=server.url(quirk), model="m"), Settings())
    listed = quirk in ("plain", "modelslist", "modelsnames", "modelsollama", "wildcard")
    assert len(server.asked(quirk)) == (not listed) and bool(found.note) == (not listed)
    if not listed:
        assert "it answered one small chat" in found.detail and server.asked(quirk)[0]["max_tokens"] == 16


async def test_a_server_that_answers_no_chat_either_is_refused(server: QuirkyServer) -> None:
    for quirk in ("cf403", "quota"):
        with pytest.raises(EndpointError):
            await probe(Endpoint(base_url=server.url(quirk), model="not listed"), Settings())


def test_a_url_is_named_where_it_is_too_long() -> None:
    for url, words in {
        "http://h/v1/chat/completions": "it ends before /chat/completions",
        "http://h/v1#part": "must end with its path",
        "http://h/v1?key=1": "must end with its path",
    }.items():
        with pytest.raises(ValueError, match=words):
            Endpoint(base_url=url)


async def test_azures_query_follows_each_path(server: QuirkyServer) -> None:
    url = server.url("plain") + "?api-version=2024-10-21"
    assert Endpoint(base_url=url).base_url == url
    status, _, _ = await Connection(url).exchange("GET", "/models", None, "", 5)
    assert status == 200
    azure = Connection("https://x.openai.azure.com/openai/deployments/d?api-version=1", ["key"])
    assert azure.address("/models") == "https://x.openai.azure.com/openai/deployments/d/models?api-version=1"
    assert (azure.key_header, Connection(url).key_header) == ("api-key", "")


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "2s"}, "", 2.0),
        ({"Retry-After": "1m30s"}, "", 90.0),
        ({"retry-after-ms": "1500"}, "", 1.5),
        ({"Retry-After": "-5"}, "Please try again in 3s", None),
        ({}, "Please try again in 6m0s.", 360.0),
        ({}, "Please retry in 34.07s.", 34.07),
        ({}, "retry after 20 seconds", 20.0),
        ({}, "Try again in 120ms", 0.12),
        ({}, '{"error": {"details": [{"retryDelay": "34s"}]}}', 34.0),
        ({}, '{"retry_after": 3}', 3.0),
        ({}, '{"retry_after_ms": 300}', 0.3),
        ({}, "You sent 40 requests.", None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], body: str, seconds: float | None) -> None:
    assert wait_asked(headers, body) == (seconds if seconds is None else pytest.approx(seconds))


BODY = {"model": "m", "messages": [], "temperature": 1, "top_p": 1, "max_tokens": 9, "seed": 1}


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("Unrecognized request argument supplied: seed", "seed is left out"),
        ("property 'seed' is unsupported", "seed is left out"),
        ("Unsupported fields in the request: temperature, seed", "temperature and seed are left out"),
        ("invalid temperature: only 1 is allowed for this model", "temperature is left out"),
        ("Unsupported parameter: max_tokens", "max_tokens is sent as max_completion_tokens"),
        ("This model does not support parameter top_p.", "top_p is left out"),
        (f"{'context length'} is 4096, but max_tokens is 5000", None),
        ("The prompt is too long", None),
        ("content is required", None),
        ("", None),
    ],
)
def test_what_a_refusal_names(said: str, change: str | None) -> None:
    found = learned(Accepted(), BODY, said)
    assert (found and found[1]) == change


@given(st.text(), st.sampled_from(["", "unsupported ", "temperature ", "stream "]))
def test_no_refusal_drops_the_limit(said: str, word: str) -> None:
    known, sent = Accepted(), dict(BODY)
    for _ in range(12):
        found = learned(known, sent, word + said)
        if found is None:
            break
        known = found[0]
        sent = known.shaped(BODY)
        assert {"max_tokens", "max_completion_tokens"} & sent.keys() and sent["model"] == "m"
    else:
        pytest.fail("it goes on for ever")


@given(st.text())
def test_any_text_is_a_list_of_models_or_none(text: str) -> None:
    names = listed_names(text)
    assert names is None or all(names)


@given(st.text())
def test_any_stream_is_put_together(text: str) -> None:
    assert "choices" in joined(f"data: {text}\n\n") or "error" in joined(f"data: {text}\n\n")
