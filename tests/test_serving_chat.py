"""The adapter's API over llama.cpp with tiny weights: OpenAI's own client, LangChain's, and plain HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from langchain_openai import ChatOpenAI
from openai import BadRequestError, NotFoundError, OpenAI, RateLimitError
from pydantic import SecretStr

from serving.app import create_app
from serving.chat.service import Answered, Chat
from serving.server import Server, bound
from tests.served_registry import ServedRegistry, add_adapter
from tools.engine.admission import Admission, Closed, Full
from tools.improvement.canary import close_canary, open_canary
from tools.registry import point
from tools.settings import Settings

HELLO: Any = [{"role": "user", "content": "Hello."}]
Answer = dict[str, Any]


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, FastAPI]]:
    """Run the real server in a thread; the value is its URL."""
    listening = bound("127.0.0.1", 0)
    app = create_app(lambda: settings)
    server = Server(app, "ERROR", load=True, drain=60.0)
    app.state.server = server
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", app
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def url(served: ServedRegistry) -> Iterator[str]:
    with serving(served.settings()) as (url, _):
        yield url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_models_are_the_base_the_versions_and_current(client: OpenAI, served: ServedRegistry) -> None:
    found = {model.id: model for model in client.models.list()}
    assert set(found) == {"base", "current", served.first, served.second}
    assert client.models.retrieve("current").to_dict()["parent"] == served.first


def test_each_model_answers_by_its_own_weights_and_says_which(client: OpenAI, served: ServedRegistry) -> None:
    texts = {}
    for name in ("base", "current", served.first, served.second):
        answer = client.chat.completions.with_raw_response.create(
            model=name, messages=HELLO, max_tokens=8, temperature=0
        )
        parsed = answer.parse()
        assert parsed.model == answer.headers["x-corral-version"] == (served.first if name == "current" else name)
        texts[name] = parsed.choices[0].message.content
        assert parsed.usage is not None and parsed.usage.completion_tokens <= 8 < parsed.usage.prompt_tokens
    assert texts["current"] == texts[served.first]
    assert len({texts["base"], texts[served.first], texts[served.second]}) == 3


def test_a_stream_is_the_same_answer_piece_by_piece(client: OpenAI, served: ServedRegistry) -> None:
    asked: Any = {"model": "current", "messages": HELLO, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content and sum(map(bool, texts)) > 3
    assert {chunk.model for chunk in chunks} == {served.first}
    assert [chunk.usage for chunk in chunks] == [None] * (len(chunks) - 1) + [whole.usage]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason


def test_several_answers_are_several_draws_and_a_seed_gives_the_same_ones(client: OpenAI) -> None:
    def texts(seed: int) -> list[str | None]:
        drawn = client.chat.completions.create(model="current", messages=HELLO, n=3, max_tokens=6, seed=seed)
        assert [choice.index for choice in drawn.choices] == [0, 1, 2]
        return [choice.message.content for choice in drawn.choices]

    assert len(set(texts(7))) == 3 and texts(7) == texts(7) != texts(8)


def test_a_stop_text_ends_the_answer(client: OpenAI) -> None:
    asked: Any = {"model": "current", "messages": HELLO, "max_tokens": 12, "temperature": 0}
    text = client.chat.completions.create(**asked).choices[0].message.content or ""
    stop = text[len(text) // 2 :][:3]
    cut = client.chat.completions.create(**asked, stop=stop).choices[0]
    assert (cut.message.content, cut.finish_reason) == (text[: text.index(stop)], "stop")


def test_log_probabilities_are_those_of_the_tokens(client: OpenAI) -> None:
    found = client.chat.completions.create(
        model="current", messages=HELLO, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3
    ).choices[0]
    assert found.logprobs is not None and found.logprobs.content is not None
    assert "".join(token.token for token in found.logprobs.content) == found.message.content
    for token in found.logprobs.content:
        assert len(token.top_logprobs) == 3 and token.logprob == token.top_logprobs[0].logprob < 0


def test_an_answer_has_the_form_that_is_asked(client: OpenAI) -> None:
    form: Any = {"name": "colour", "strict": True, "schema": {"enum": ["red", "blue"]}}
    answer = client.chat.completions.create(
        model="base", messages=HELLO, response_format={"type": "json_schema", "json_schema": form}
    ).choices[0]
    assert answer.message.content in ('"red"', '"blue"') and answer.finish_reason == "stop"


def test_langchain_asks_and_streams(url: str, served: ServedRegistry) -> None:
    model = ChatOpenAI(model="current", base_url=f"{url}/v1", api_key=SecretStr("none"), temperature=0, max_retries=0)
    asked = model.bind(max_tokens=6)
    answer = asked.invoke([("system", "Be brief."), ("user", "Hello.")])
    assert answer.response_metadata["model_name"] == served.first
    assert "".join(str(chunk.content) for chunk in asked.stream([("system", "Be brief."), ("user", "Hello.")])) == str(
        answer.content
    )


def test_the_guides_own_request_is_answered(url: str, served: ServedRegistry) -> None:
    asked = {"instruction": "Name a colour.", "input": "warm", "max_tokens": 6, "temperature": 0}
    found = httpx.post(f"{url}/generate", json=asked)
    assert found.json()["response"] and found.json()["model"] == found.headers["x-corral-version"] == served.first
    chat = {"role": "user", "content": "Name a colour.\n\nwarm"}
    same = {"model": "current", "messages": [chat], "max_tokens": 6, "temperature": 0}
    told = httpx.post(f"{url}/v1/chat/completions", json=same).json()
    assert told["choices"][0]["message"]["content"] == found.json()["response"]


@pytest.mark.parametrize(
    ("change", "status", "code", "words"),
    [
        ({"model": "v1-0000"}, 404, "model_not_found", "did you mean 'v1-00000001'"),
        ({"messages": [{"role": "user", "content": "word " * 300}]}, 400, "context_length_exceeded", "256 tokens"),
        ({"max_tokens": 500}, 400, "context_length_exceeded", "500 more for the answer"),
        ({"messages": []}, 400, "invalid_request", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_request", "role"),
        ({"temperature": 9}, 400, "invalid_request", "temperature"),
        ({"n": 99}, 400, "invalid_request", "n:"),
        ({"tools": [{"type": "function"}]}, 400, "unsupported", "tools is not supported"),
        ({"response_format": {"type": "json_schema"}}, 400, None, "json_schema is missing"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}}, 400, None, "schema"),
        ({"top_logprobs": 2}, 400, None, "top_logprobs needs logprobs"),
    ],
)
def test_what_is_wrong_is_one_line_of_openais_form(
    url: str, change: Answer, status: int, code: str | None, words: str
) -> None:
    asked = {"model": "current", "messages": HELLO, "max_tokens": 4} | change
    for stream in (False, True):
        found = httpx.post(f"{url}/v1/chat/completions", json=asked | {"stream": stream})
        error = found.json()["error"]
        assert (found.status_code, error["code"]) == (status, code or error["code"])
        assert words in error["message"] and "\n" not in error["message"] and len(error["message"]) < 700


def test_openais_client_raises_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="there is no model"):
        client.chat.completions.create(model="nobody", messages=HELLO)
    with pytest.raises(BadRequestError, match="the context has 256 tokens, and the prompt has at least"):
        client.chat.completions.create(model="current", messages=[{"role": "user", "content": "word " * 2_000_000}])


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (b"", 400), (b" " * (17 * 2**20), 413)])
def test_what_is_no_request_is_refused(url: str, body: bytes, status: int) -> None:
    found = httpx.post(f"{url}/v1/chat/completions", content=body)
    assert (found.status_code, set(found.json()["error"])) == (status, {"message", "type", "param", "code"})
    assert httpx.post(f"{url}/v1/embeddings", json={}).json()["error"]["code"] == "unknown_url"


def test_without_a_token_nothing_is_answered(served: ServedRegistry) -> None:
    secret = "a-token-of-twenty-characters"
    settings = served.settings(serve_tokens={"ada": SecretStr(secret)})
    told: list[Answered] = []

    async def listen(answered: Answered) -> None:
        told.append(answered)

    asked = {"model": "current", "messages": HELLO, "max_tokens": 2}
    with serving(settings) as (url, app), httpx.Client(base_url=url) as http:
        app.state.chat.listeners.append(listen)
        for path in ("/v1/chat/completions", "/generate", "/v1/other"):
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                found = http.post(path, json=asked, headers=headers)
                assert (found.status_code, found.json()["error"]["type"]) == (401, "authentication_error")
        assert http.get("/v1/models").status_code == 401 and told == []
        found = http.post("/v1/chat/completions", json=asked, headers={"Authorization": f"Bearer {secret}"})
    assert found.status_code == 200
    (answered,) = told
    assert (answered.who, answered.id, answered.version) == ("ada", found.json()["id"], served.first)
    assert answered.texts == (found.json()["choices"][0]["message"]["content"],)


def test_beyond_the_queue_a_client_is_told_when_to_come_back(served: ServedRegistry) -> None:
    with serving(served.settings(serve_parallel=1, serve_queue=1)) as (url, app):
        chat = app.state.chat
        with httpx.Client(base_url=url, timeout=60) as http:
            asked = {"model": "current", "messages": HELLO, "max_tokens": 2}
            waiting = threading.Thread(target=http.post, args=("/v1/chat/completions",), kwargs={"json": asked})
            with held_place(app):
                waiting.start()
                until(lambda: chat.admission.waiting == 1)
                found = http.post("/v1/chat/completions", json=asked)
                assert (found.status_code, found.json()["error"]["type"]) == (429, "rate_limit_error")
                assert int(found.headers["retry-after"]) >= 1
                with OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client, pytest.raises(RateLimitError):
                    client.chat.completions.create(model="current", messages=HELLO)
            waiting.join()
        assert (chat.admission.working, chat.admission.waiting, chat.requests) == (0, 0, 0)


def test_a_client_that_hangs_up_gives_its_place_back(served: ServedRegistry) -> None:
    asked = {"model": "current", "messages": HELLO, "stream": True, "temperature": 1}
    with serving(served.settings(serve_parallel=1, serve_context=8192)) as (url, app):
        chat = app.state.chat
        for stream in (True, False):  # in mid-stream, and while it waits for the whole answer
            with httpx.Client(base_url=url, timeout=60) as http:
                if stream:
                    with http.stream("POST", "/v1/chat/completions", json=asked) as response:
                        assert next(response.iter_lines())
                else:
                    with pytest.raises(httpx.ReadTimeout):
                        http.post("/v1/chat/completions", json=asked | {"stream": False}, timeout=0.2)
            until(lambda: chat.requests == 0 == chat.admission.working)
        slots = httpx.get(f"{chat.engine._live.server.url}/slots").json()
        assert [slot["is_processing"] for slot in slots] == [False]


def test_answers_in_flight_end_and_new_ones_are_sent_away(served: ServedRegistry) -> None:
    import signal

    with serving(served.settings(serve_parallel=2)) as (url, app), httpx.Client(base_url=url, timeout=60) as http:
        asked = {"model": "current", "messages": HELLO, "max_tokens": 40, "stream": True}
        with http.stream("POST", "/v1/chat/completions", json=asked) as response:
            lines = response.iter_lines()
            next(lines)
            app.state.server.handle_exit(signal.SIGTERM, None)
            until(lambda: app.state.chat.draining)
            refused = http.post("/v1/chat/completions", json=asked)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ending")
            assert "retry-after" in refused.headers
            assert [line for line in lines if line][-1] == "data: [DONE]"


def test_at_the_end_who_waits_is_sent_away_at_once(served: ServedRegistry) -> None:
    import signal

    with serving(served.settings(serve_parallel=1)) as (url, app), ThreadPoolExecutor(1) as aside:
        with held_place(app):
            asked = {"model": "current", "messages": HELLO, "max_tokens": 2}
            waiting = aside.submit(httpx.post, f"{url}/v1/chat/completions", json=asked, timeout=60)
            until(lambda: app.state.chat.admission.waiting == 1)
            app.state.server.handle_exit(signal.SIGTERM, None)
            refused = waiting.result()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ending")
        assert "retry-after" in refused.headers


async def test_at_the_end_the_port_stays_open_for_who_has_connected_already() -> None:
    import signal

    listening, app = bound("127.0.0.1", 0), FastAPI()
    engine: Any = None  # asked for nothing
    app.state.chat = Chat(engine, Admission(1, 1))
    server = Server(app, "ERROR", load=False, drain=60.0)
    server._loop, server._listening = asyncio.get_running_loop(), [listening]
    with listening, socket.create_connection(listening.getsockname()):
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.sleep(0.3)
        assert not server.should_exit, "closing the port would reset the one in its queue"
        listening.accept()[0].close()
        async with asyncio.timeout(30):
            while not server.should_exit:
                await asyncio.sleep(0.01)


async def test_places_are_handed_on_in_order_and_none_is_lost() -> None:
    admission, order = Admission(1, 3), []

    async def work(number: int) -> None:
        async with admission.place():
            order.append(number)
            await asyncio.sleep(0)

    async with admission.place():
        tasks = [asyncio.create_task(work(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert admission.waiting == 3
        with pytest.raises(Full):
            await work(3)
        tasks[1].cancel()
        await asyncio.sleep(0)
    tasks[0].cancel()  # its turn has just come
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [2] and (admission.working, admission.waiting) == (0, 0)
    admission.close()
    with pytest.raises(Closed):
        await work(4)


def test_versions_change_under_load_without_a_dropped_request(served: ServedRegistry, tmp_path: Path) -> None:
    home = served.copied(tmp_path)
    seen: list[tuple[int, str]] = []
    with serving(home.settings()) as (url, _):
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=60) as http:
                while not stop.is_set():
                    asked = {"model": "current", "messages": HELLO, "max_tokens": 3}
                    found = http.post("/v1/chat/completions", json=asked)
                    assert found.json().get("model") == found.headers.get("x-corral-version")
                    seen.append((found.status_code, str(found.json().get("model"))))

        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        until(lambda: (200, home.first) in seen)
        point(home.registry, home.second)  # in memory already
        until(lambda: seen[-1] == (200, home.second))
        third = add_adapter(tmp_path, home.base, 3)  # a deployment
        point(home.registry, third)
        until(lambda: seen[-1] == (200, third), 30)
        point(home.registry, home.first)  # a rollback
        until(lambda: seen[-1] == (200, home.first))
        stop.set()
        for asker in askers:
            asker.join()
    assert {status for status, _ in seen} == {200}


def test_a_registry_without_current_says_so(served: ServedRegistry, tmp_path: Path) -> None:
    home = served.copied(tmp_path)
    (home.registry / "current").unlink()
    with serving(home.settings()) as (url, _), httpx.Client(base_url=url, timeout=60) as http:
        found = http.post("/generate", json={"instruction": "Hello."})
        assert found.status_code == 404 and "no current version; it has v1-00000001" in found.json()["error"]["message"]
        asked = {"model": home.second, "messages": HELLO, "max_tokens": 2}
        assert http.post("/v1/chat/completions", json=asked).json()["model"] == home.second


def until(true: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.02)


@contextmanager
def held_place(app: FastAPI) -> Iterator[None]:
    """Hold a place of the running application."""
    with held(app, app.state.chat.admission.place):
        yield


@contextmanager
def held(app: FastAPI, enter: Any) -> Iterator[None]:
    entered, leave = threading.Event(), asyncio.Event()
    loop = app.state.server._loop

    async def hold() -> None:
        async with enter():
            entered.set()
            await leave.wait()

    future = asyncio.run_coroutine_threadsafe(hold(), loop)
    entered.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(leave.set)
        future.result(10)


def test_events_are_json(url: str) -> None:
    asked = {"model": "current", "messages": HELLO, "max_tokens": 3, "stream": True}
    lines = [line for line in httpx.post(f"{url}/v1/chat/completions", json=asked).text.split("\n") if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
    assert all(json.loads(line[6:])["object"] == "chat.completion.chunk" for line in lines[:-1])


def test_what_is_served_is_kept_for_feedback_and_measured(served: ServedRegistry) -> None:
    with serving(served.settings()) as (url, _), OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        two = client.chat.completions.create(model=served.second, messages=HELLO, max_tokens=4, n=2, user="ada")
        stream = client.chat.completions.create(model="base", messages=HELLO, max_tokens=4, stream=True)
        streamed = [chunk.id for chunk in stream]
        for id_, version in ((two.id, served.second), (f"{two.id}-1", served.second), (streamed[0], "base")):
            given = httpx.post(f"{url}/feedback", json={"id": id_, "stars": 2})
            assert given.status_code == 200 and given.json()["version"] == version, given.text
        told = httpx.get(f"{url}/metrics").text
    assert f'corral_answers_total{{version="{served.second}"}} 1.0' in told
    assert 'corral_served_tokens_total{kind="completion",version="base"} 4.0' in told
    assert "corral_queue_requests 0.0" in told and "corral_model_load_seconds 0.0" not in told


def test_a_tenth_of_the_users_are_served_the_canary_and_their_ratings_say_so(served: ServedRegistry) -> None:
    open_canary(served.registry, served.second, 0.3)
    try:
        with serving(served.settings()) as (url, _):
            found = {}
            for user in [f"user-{n}" for n in range(12)] * 2:
                asked = {"instruction": "Hello.", "max_tokens": 1, "user": user}
                answer = httpx.post(f"{url}/generate", json=asked, timeout=30).json()
                assert found.setdefault(user, answer["model"]) == answer["model"], "always the same"
                rated = httpx.post(f"{url}/feedback", json={"id": answer["id"], "stars": 4, "user": user}).json()
                assert rated["arm"] == ("canary" if answer["model"] == served.second else "current")
            assert set(found.values()) == {served.first, served.second}
            named = httpx.post(f"{url}/generate", json={"instruction": "Hello.", "max_tokens": 1, "model": "base"})
            assert named.json()["model"] == "base"
    finally:
        close_canary(served.registry)
