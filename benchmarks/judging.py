"""How fast is the crew, against the same calls made by langchain-openai without any crew?

    python benchmarks/judging.py

Both ask one local OpenAI-compatible server, in a process of its own, that answers each call after 200 ms. An item is
five judgements at once and then one by the expert who reads them: six calls. The concurrency is the number of calls in
flight, which is the request's own setting. The crew has everything on that a run has: checks, prompts by CrewAI,
the ledger in SQLite, the budget, retries. langchain-openai gets the same six prompts, ready-made, from
``with_structured_output``, and keeps nothing; its HTTP client keeps a connection open for each call in flight. The two
take turns, and the median of their turns is reported: ``warm``, after every crew is built and every connection is open,
and ``cold``, as processes of their own from start to end, with their imports.

Then 2,000 items by the crew alone: CPU milliseconds and memory, of this process and of that in which the crews work,
must stay flat. The last line is JSON; a ratio is the crew's items a second by langchain-openai's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import judging_langchain
from benchmarks.judging_langchain import by_langchain, timed
from state.calls import CallStore
from state.database import Database
from state.records import Candidate, Check, Outcome, Sample
from state.request import Endpoint, Judging
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import HttpTransport
from tools.judging import CrewJudge
from tools.judging.answers import DimensionRating, ExpertRating

LATENCY = 0.2
WARM_UP = 80
"""Items before the clock starts: every crew is built, every connection open."""
MEBIBYTE = 1 << 20
SAMPLE = Sample(
    id="bench",
    instruction="Explain to a beginner how rain forms, in at most 80 words.",
    checks=(Check(kind="max_words", value=80),),
)
TEXT = (
    "The sun warms the sea, and some of its water rises as vapour. High up the air is cold, so the vapour turns into "
    "tiny drops that hang together as a cloud. When the drops meet they grow, and once they are too heavy for the air "
    "to carry they fall to the ground as rain. Number {number} of the day fell on the old harbour wall."
)


def serve(latency: float) -> None:
    """Answer every chat completion after ``latency`` seconds; the first line printed is the base URL."""
    from aiohttp import web

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(latency)
        expert = "stars" in body["response_format"]["json_schema"]["schema"]["properties"]
        answer = {"stars": 4, "strength": "plain and right", "weakness": "a little short"}
        text = json.dumps(answer if expert else {"score": 82, "reason": "it does what was asked"})
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320}
        whole = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}
        return web.json_response(whole | {"usage": usage})

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", chat)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def candidate(number: int) -> Candidate:
    """Return an answer that no other number has, so that the ledger never has it."""
    return Candidate(id=f"c{number}", sample_id=SAMPLE.id, draw=0, text=TEXT.format(number=number), ended=True)


class Recorder:
    """Takes down the six prompts of one item."""

    model, server = "bench", ""
    can = HttpTransport.can

    def __init__(self) -> None:
        self.prompts: list[str] = []

    async def complete(self, call: Any) -> Any:
        """Refuse."""
        raise RuntimeError("the crew asks for structured answers only")

    async def complete_as(self, schema: Any, call: Any) -> Any:
        """Note the prompt and answer as the server does."""
        self.prompts.append(call.messages[0]["content"])
        if schema is ExpertRating:
            return ExpertRating(stars=4, strength="plain and right", weakness="a little short"), None
        return DimensionRating(score=82, reason="it does what was asked"), None


def by_crew(url: str, ledger: CallStore, concurrency: int) -> Callable[[int], Awaitable[None]]:
    """Return what judges one item by the crew."""
    spec = Endpoint(base_url=url, model="bench", concurrency=concurrency)
    crew = CrewJudge(LedgeredEndpoint(HttpTransport(url), ledger, spec, f"bench-{concurrency}"), Judging())

    async def judge(number: int) -> None:
        made = await crew.judge(SAMPLE, candidate(number))
        if made.outcome != Outcome.ACCEPTED or made.overall != 82:
            raise RuntimeError(f"an unexpected judgement: {made.outcome}, {made.reasons}")

    return judge


async def six_prompts() -> list[str]:
    """Return the prompts of one item, as the crew sends them."""
    recorder = Recorder()
    await CrewJudge(recorder, Judging()).judge(SAMPLE, candidate(0))
    return recorder.prompts


async def race(
    url: str, prompts: list[str], ledger: CallStore, concurrency: int, items: int, turns: int
) -> tuple[float, float]:
    """Return items a second by the crew and by langchain-openai, the medians of turns that alternate."""
    crew, plain = by_crew(url, ledger, concurrency), by_langchain(url, prompts, concurrency)
    first = concurrency * 100_000  # the ledger answers what was asked at another concurrency
    await asyncio.gather(timed(crew, range(first - WARM_UP, first)), timed(plain, range(first - WARM_UP, first)))
    rates: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        numbers = range(first + turn * items, first + (turn + 1) * items)
        for found, work in zip(rates, (crew, plain), strict=True):
            found.append(await timed(work, numbers))
    ours, theirs = (statistics.median(found) for found in rates)
    print(f"{concurrency} calls in flight, warm: crew {ours:.2f} items/s, langchain-openai {theirs:.2f}", flush=True)
    return ours, theirs


async def work_cold(url: str, concurrency: int, items: int) -> None:
    """Do the work of the crew's own process."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/bench.db")
        await database.create()
        await timed(by_crew(url, CallStore(database), concurrency), range(items))
        await database.close()


def race_cold(url: str, prompts: list[str], concurrency: int, items: int, turns: int) -> float:
    """Return the crew's items a second by langchain-openai's, each in processes of its own."""
    scripts = {"crew": [__file__, "--cold"], "langchain": [judging_langchain.__file__]}
    found: dict[str, list[float]] = {who: [] for who in scripts}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.json"
        file.write_text(json.dumps(prompts))
        for _ in range(turns):
            for who, seconds in found.items():
                command = [sys.executable, *scripts[who], url, str(file), str(concurrency), str(items)]
                began = time.perf_counter()
                subprocess.run(command, check=True)
                seconds.append(time.perf_counter() - began)
    ours, theirs = (items / statistics.median(seconds) for seconds in found.values())
    print(f"{concurrency} calls in flight, cold: crew {ours:.2f} items/s, langchain-openai {theirs:.2f}", flush=True)
    return ours / theirs


def used() -> tuple[float, list[float]]:
    """Return the CPU seconds of this process and that of the crews, and the MiB that each of the two holds."""
    here = psutil.Process()
    both = [here, *(one for one in here.children() if "tools.judging.worker" in one.cmdline())]
    return sum(sum(one.cpu_times()[:2]) for one in both), [one.memory_info().rss / MEBIBYTE for one in both]


async def endure(url: str, ledger: CallStore, items: int) -> tuple[float, float]:
    """Return CPU milliseconds an item, and how many MiB the process grew after the first quarter."""
    crew = by_crew(url, ledger, 64)
    quarter, cpu, memory = items // 4, [], []
    for part in range(4):
        before = used()[0]
        start = 1_000_000 + part * quarter
        await timed(crew, range(start, start + quarter))
        after, resident = used()
        cpu.append(1000 * (after - before) / quarter)
        memory.append(sum(resident))
        sizes = " + ".join(f"{size:.0f}" for size in resident)
        print(f"{(part + 1) * quarter} items: {cpu[-1]:.1f} ms CPU an item, {sizes} MiB", flush=True)
    return statistics.mean(cpu), memory[-1] - memory[0]


async def measure(url: str, prompts: list[str], items: int, turns: int, long: int) -> dict[str, float]:
    """Run both warm races and the long run."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/bench.db")
        await database.create()
        ledger = CallStore(database)
        crew_16, plain_16 = await race(url, prompts, ledger, 16, items, turns)
        crew_64, plain_64 = await race(url, prompts, ledger, 64, 2 * items, turns)
        cpu, growth = await endure(url, ledger, long)
        await database.close()
    return {
        "items_per_second_16": round(crew_16, 2),
        "items_per_second_64": round(crew_64, 2),
        "ratio_langchain_16": round(crew_16 / plain_16, 3),
        "ratio_langchain_64": round(crew_64 / plain_64, 3),
        "cpu_ms_per_item": round(cpu, 2),
        "rss_growth_mb": round(growth, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The crew's speed, beside bare langchain-openai.")
    parser.add_argument("--items", type=int, default=200, help="items of one turn at 16 calls in flight")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--long", type=int, default=2000, help="items of the long run")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cold", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(LATENCY)
    os.environ["LANGSMITH_TRACING"] = "false"
    if options.cold:
        url, _, concurrency, items = options.cold
        return asyncio.run(work_cold(url, int(concurrency), int(items)))
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None  # it was asked for
            url = server.stdout.readline().strip()
            prompts = asyncio.run(six_prompts())
            cold = {
                f"cold_ratio_langchain_{n}": round(race_cold(url, prompts, n, options.items, options.turns), 3)
                for n in (16, 64)
            }
            found = asyncio.run(measure(url, prompts, options.items, options.turns, options.long)) | cold
        finally:
            server.terminate()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
