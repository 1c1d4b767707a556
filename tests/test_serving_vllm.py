"""The engine elsewhere: the same API through a vLLM server, which is told of each version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from state.errors import BadInput
from tests.fake_vllm import BASE, FakeVllm
from tests.tiny_model import tiny_model
from tools.endpoint.chat import Likelihood, LikelihoodCall, user_message
from tools.engine.choosing import make_engine, serve_alone
from tools.engine.parity import REQUESTS, Parity, measure_parity
from tools.registry import point
from tools.settings import Settings
from tools.weights.template import load_tokenizer

HELLO = [{"role": "user", "content": "Hello."}]
FIRST, SECOND = "v1-00000001", "v2-00000002"


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    with FakeVllm() as vllm:
        yield vllm


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    for version in (FIRST, SECOND):
        (tmp_path / "registry" / version).mkdir(parents=True)
        (tmp_path / "registry" / version / "adapter_config.json").write_text("{}")
    point(tmp_path / "registry", FIRST)
    return tmp_path / "registry"


def settings(home: Path, url: str) -> Settings:
    return Settings(home=home, serve_engine="vllm", serve_url=url, database_url=f"sqlite:///{home / 'db.sqlite'}")


@pytest.fixture
def client(vllm: FakeVllm, registry: Path) -> Iterator[TestClient]:
    app = create_app(lambda: settings(registry.parent, vllm.url))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000)) as client:
        yield client


def ask(client: TestClient, **changes: Any) -> Any:
    asked = {"model": "current", "messages": HELLO, "max_tokens": 5} | changes
    return client.post("/v1/chat/completions", json=asked)


def test_a_deployment_is_loaded_and_answers(client: TestClient, vllm: FakeVllm, registry: Path) -> None:
    found = ask(client)
    assert found.json()["model"] == found.headers["x-corral-version"] == FIRST
    assert found.json()["choices"][0]["message"]["content"] == f"I am {FIRST}"
    assert found.json()["usage"] == {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    assert vllm.loaded == {FIRST: str(registry / FIRST)}
    point(registry, SECOND)
    assert ask(client).json()["model"] == SECOND and set(vllm.loaded) == {FIRST, SECOND}
    point(registry, FIRST)
    assert ask(client).json()["model"] == FIRST
    assert ask(client, model="base").json()["choices"][0]["message"]["content"] == f"I am {BASE}"
    assert client.post("/generate", json={"instruction": "Say it."}).json()["response"] == f"I am {FIRST}"
    assert {model["id"] for model in client.get("/v1/models").json()["data"]} == {"base", "current", FIRST, SECOND}


def test_what_is_asked_reaches_it_and_the_answer_streams(client: TestClient, vllm: FakeVllm) -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    asked = {"n": 2, "seed": 4, "stop": "END", "logprobs": True, "top_logprobs": 1, "response_format": form}
    found = ask(client, **asked, stream=True, stream_options={"include_usage": True})
    lines = [line for line in found.text.split("\n") if line]
    assert lines[-1] == "data: [DONE]" and '"completion_tokens":6' in lines[-2]
    assert sum('"content":"am "' in line for line in lines) == 2 and all(
        '"logprob":-0.5' in x for x in lines if "am" in x
    )
    (sent,) = vllm.asked
    assert (sent["n"], sent["seed"], sent["stop"], sent["max_tokens"]) == (2, 4, ["END"], 5)
    assert sent["response_format"]["json_schema"]["schema"] == schema


def test_its_errors_have_openais_form(client: TestClient, vllm: FakeVllm, registry: Path) -> None:
    long = ask(client, messages=[{"role": "user", "content": "x" * 600}])
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert "100 tokens" in long.json()["error"]["message"]
    (registry / SECOND / "adapter_config.json").unlink()
    broken = ask(client, model=SECOND)
    assert broken.status_code == 400 and "does not load v2-00000002: No adapter" in broken.json()["error"]["message"]
    assert ask(client, model="v3").status_code == 404


def test_a_server_that_is_away_or_another_is_one_line(registry: Path) -> None:
    with pytest.raises(BadInput, match="set CORRAL_SERVE_URL"):
        make_engine(settings(registry.parent, ""))
    app = create_app(lambda: settings(registry.parent, "http://127.0.0.1:9/v1"))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000)) as client:
        found = ask(client)
    assert found.status_code == 502 and "out of reach" in found.json()["error"]["message"]


def test_what_another_process_has_loaded_is_used(client: TestClient, vllm: FakeVllm) -> None:
    vllm.loaded[FIRST] = "there"
    assert ask(client).json()["model"] == FIRST


async def parity(vllm: FakeVllm, registry: Path, trained: Any) -> Parity:
    async def likelihood(call: LikelihoodCall) -> Likelihood:
        return Likelihood(log_likelihood=-1.5, tokens=3)

    async with serve_alone(settings(registry.parent, vllm.url), registry / SECOND) as held:
        prompts, answers = [user_message("Name a river.")], [f"I am {SECOND}"]
        return await measure_parity(held, trained, prompts, answers, likelihood, 16)


async def test_a_deployment_compares_how_it_reads_a_chat(vllm: FakeVllm, registry: Path, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    trained, vllm.tokenizer = load_tokenizer(base), load_tokenizer(base)
    found = await parity(vllm, registry, trained)
    assert (found.requests_equal, found.answers_equal, found.faults, found.untold) == (len(REQUESTS), 1, (), "")
    assert SECOND in vllm.loaded, "the deployment has it loaded"
    vllm.tokenizer.chat_template = vllm.tokenizer.chat_template.replace("You are a helpful", "You are an")
    other = await parity(vllm, registry, trained)
    assert other.requests_equal < len(REQUESTS) and "as other token ids" in other.faults[0]
    vllm.tokenizer = None
    untold = await parity(vllm, registry, trained)
    assert (untold.requests, untold.answers_equal, untold.faults) == (0, 1, ())
    assert untold.words.startswith("the server offers no /tokenize, so no token ids were compared; 1 of 1 greedy")
