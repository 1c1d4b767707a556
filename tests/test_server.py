"""The real ``langgraph dev`` on a free port, driven by its SDK: to the review, through it, to the end."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from state.wording import number_of
from tests.harness import ROOT, Home, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, server: ScriptedServer) -> Home:
    base, prompts = tiny_model(tmp_path / "base"), write_prompts(tmp_path / "prompts.jsonl", training=5, heldout=2)
    return Home.make(tmp_path, request_of(server.url, base, prompts, unattended=False, train={"epochs": 2}))


@pytest.fixture
async def client(home: Home) -> AsyncIterator[LangGraphClient]:
    async with _served(home) as client:
        yield client


@asynccontextmanager
async def _served(home: Home) -> AsyncIterator[LangGraphClient]:
    """Run the server, and end it as ``docker stop`` does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home.folder / "server.log").open("w")
    command = [Path(sys.executable).with_name("langgraph"), "dev", "--no-browser", "--no-reload"]
    process = subprocess.Popen(
        [*map(str, command), "--port", str(port), "--n-jobs-per-worker", "4"],
        cwd=ROOT, env=home.environment, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        await _until_up(f"http://127.0.0.1:{port}", process, home)
        yield get_client(url=f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        log.close()


async def test_server_runs_to_the_review_and_through_it(client: LangGraphClient, home: Home) -> None:
    import yaml

    schemas = await client.assistants.get_schemas(await _assistant(client))
    assert "RunRequest" in str(schemas["input_schema"])
    thread = (await client.threads.create())["thread_id"]
    request = {"request": yaml.safe_load(home.config.read_text())}

    bad = {"request": request["request"] | {"sources": {"prompts": "/none/here.jsonl"}}}
    for given, said in (
        ({}, "the input names no request"),
        ({"request": {"trian": {}}}, "unknown key trian; did you mean train?"),
        ({"request": {"train": {"epochs": 0}}}, "train.epochs: Input should be greater than 0"),
        (bad, "/none/here.jsonl"),
    ):
        await _refused(client, thread, home, said, input=given)
    await _refused(client, thread, home, "does not wait for an answer", command={"resume": "approve"})
    values = await _run(client, thread, home, input=request)
    asked = (await client.threads.get_state(thread))["tasks"][0]["interrupts"][0]["value"]
    assert {a["name"] for a in asked["action_requests"]} <= {"review_completion", "review_instruction"}
    assert all(a["args"] == a["arguments"] for a in asked["action_requests"])
    _has_our_pages_beside_studios_api(str(client.http.client.base_url), thread)

    short = f"the answer does not fit: {number_of(len(asked['action_requests']), 'decision')} asked, 99 given"
    await _refused(client, thread, home, short, command={"resume": {"decisions": [{"type": "approve"}] * 99}})
    await _refused(client, thread, home, f"this thread is run {thread}, which waits for a person", input=request)
    asked_again = (await client.threads.get_state(thread))["tasks"][0]["interrupts"][0]["value"]
    assert asked_again == asked

    decisions = [{"type": "approve", "ratings": {"overall": 5}}] * len(asked["action_requests"])
    values = await _run(client, thread, home, command={"resume": {"decisions": decisions, "reviewer": "sdk"}})
    while (state := await client.threads.get_state(thread))["next"] == ["review"]:
        asked = state["tasks"][0]["interrupts"][0]["value"]
        inbox = [{"type": "ignore", "args": None}] * len(asked["action_requests"])
        values = await _run(client, thread, home, command={"resume": inbox})
    assert (await client.threads.get_state(thread))["next"] == ["approve"]
    values = await _run(client, thread, home, command={"resume": "approve"})

    state = await client.threads.get_state(thread)
    assert state["next"] == []
    assert values["approval"]["approved"] and values["deployed"].startswith("v1-")
    assert (home.folder / "home" / "registry" / "current" / "adapter_config.json").is_file()
    await _answers(str(client.http.client.base_url), values["deployed"], home)
    rows = home.query("SELECT count(*) FROM calls")
    for second in (request, {"request": request["request"] | {"name": "another"}}):
        await _refused(client, thread, home, f"this thread is run {thread} already, it is done", input=second)
    assert (await client.threads.get_state(thread))["values"] == state["values"]
    assert home.query("SELECT count(*) FROM calls") == rows
    reviewers = {row[0] for row in home.query("SELECT json_extract(body, '$.reviewer') FROM reviews")}
    assert "sdk" in reviewers
    stars = home.query("SELECT DISTINCT json_extract(body, '$.ratings.overall') FROM ratings WHERE tag = 'sdk'")
    assert stars == [(5,)]


def _has_our_pages_beside_studios_api(url: str, thread: str) -> None:
    """One server has the pages, guarded, and LangGraph's own API, which is as it was."""
    with httpx.Client(base_url=url.replace("127.0.0.1", "localhost"), headers={"accept": "text/html"}) as browser:
        page = browser.get(f"/runs/{thread}")
        assert "Review what waits" in page.text and "default-src 'none'" in page.headers["content-security-policy"]
        assert "completion of" in browser.get("/review").text and browser.get("/static/corral.js").is_success
        assert browser.get("/review", headers={"host": "elsewhere.example"}).status_code == 403
        assert "content-security-policy" not in browser.get("/info").headers


async def test_server_that_is_ended_gives_its_leases_back(home: Home, server: ScriptedServer) -> None:
    import yaml

    server.latency = 2.0
    async with _served(home) as client:
        thread = (await client.threads.create())["thread_id"]
        given = {"request": yaml.safe_load(home.config.read_text())}
        await client.runs.create(thread, await _assistant(client), input=given)
        async with asyncio.timeout(60):
            while len(server.requests) < 4:
                await asyncio.sleep(0.05)
        assert home.query("SELECT lease_until FROM runs") != [(0.0,)]
    assert home.query("SELECT lease_until FROM runs") == [(0.0,)], _log(home)
    answered = home.query("SELECT count(*) FROM calls WHERE status = 'answered'")
    assert answered == [(len(server.requests),)], "what was sent is paid for, and kept"


async def _answers(url: str, version: str, home: Home) -> None:
    """Demand that the same server answers by what was just deployed: the application is mounted beside Studio's API."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["current", version, "base"]
        found = await http.post("/generate", json={"instruction": "Say something.", "max_tokens": 4})
        assert found.status_code == 200 and found.json()["model"] == version, f"{found.text}\n{_log(home)}"


async def _run(client: LangGraphClient, thread: str, home: Home, **given: Any) -> dict[str, Any]:
    values = await client.runs.wait(thread, await _assistant(client), raise_error=False, **given)
    assert isinstance(values, dict) and "__error__" not in values, f"{values}\n{_log(home)}"
    return values


async def _refused(client: LangGraphClient, thread: str, home: Home, said: str, **given: Any) -> None:
    """Demand that a client is told why, in one line."""
    values = await client.runs.wait(thread, await _assistant(client), raise_error=False, **given)
    assert isinstance(values, dict) and "__error__" in values, f"{values}\n{_log(home)}"
    message = values["__error__"]["message"]
    assert said in message and "\n" not in message, message


async def _assistant(client: LangGraphClient) -> str:
    (assistant,) = await client.assistants.search(graph_id="corral")
    return assistant["assistant_id"]


async def _until_up(url: str, process: subprocess.Popen[bytes], home: Home) -> None:
    async with httpx.AsyncClient() as http:
        for _ in range(3000):
            assert process.poll() is None, _log(home)
            try:
                if (await http.get(f"{url}/ok")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError(f"the server is not up after five minutes:\n{_log(home)}")


def _log(home: Home) -> str:
    return (home.folder / "server.log").read_text()[-6000:]
