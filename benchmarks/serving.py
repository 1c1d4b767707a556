"""What does Corral's API cost over the bare server? The same requests to ``corral serve`` and to llama.cpp itself.

    python benchmarks/serving.py [--rounds 3] [--tokens 64] [--overload 20]

Both are processes of their own with the embedded model, the same number of threads, slots and tokens of context. A
number of clients ask for streams of greedy answers to prompts that nobody has asked before, each as soon as it has its
last one; rounds of the two servers alternate, and a ratio is the median of the rounds' ratios of tokens a second.
``cpu_ratio_llamacpp`` is the same of tokens a CPU-second of the server's process, which other work on the machine
disturbs less.
Overload: requests arrive at twice the rate that 16 clients reached; ``p99_ms_overload`` is of those that were answered,
and ``sent_away`` counts the answers 429. Memory is the whole process's, after all of it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

HOUSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOUSE))
CLIENTS = (1, 4, 16)
SLOTS, CONTEXT = 8, 2048
BARE = """
import sys, time
from tools.engine.llama import LlamaServer
from tools.weights.embedded import embedded_model
server = LlamaServer(embedded_model(), {}, parallel=int(sys.argv[1]), context=int(sys.argv[2]))
print(server.url, file=sys.stderr, flush=True)
time.sleep(1e6)
"""
TOPICS = (
    "kettles",
    "ladders",
    "lanterns",
    "anchors",
    "saddles",
    "marbles",
    "bridges",
    "candles",
    "violins",
    "harbours",
)
numbers = itertools.count()
Server = tuple[str, psutil.Process]
"""Its URL, and its process."""


@dataclass
class Measured:
    """What some requests came to."""

    tokens: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of the server's process."""
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[Server]:
    """Run a server until the block ends; the value is the URL that it prints, and the process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CORRAL_")}
    paths = {"PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [sys.executable, *arguments], env=kept | paths | environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stderr is not None
        for line in running.stderr:
            if found := re.search(r"http://\S+", line):
                yield found[0], psutil.Process(running.pid)
                return
        raise SystemExit("a server did not start")
    finally:
        running.terminate()
        running.wait()


def asked(tokens: int) -> dict[str, Any]:
    number = next(numbers)
    prompt = f"Write a story about {number} {TOPICS[number % len(TOPICS)]} and who made them."
    return {
        "model": "base",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def ask(session: aiohttp.ClientSession, url: str, tokens: int, into: Measured) -> None:
    begun, first = time.monotonic(), 0.0
    async with session.post(f"{url}/v1/chat/completions", json=asked(tokens)) as response:
        if response.status == 429:
            into.refused += 1
            return
        assert response.status == 200, await response.text()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event["choices"] and event["choices"][0]["delta"].get("content") and not first:
                first = time.monotonic() - begun
            if event.get("usage"):
                into.tokens += event["usage"]["completion_tokens"]
    into.first.append(first)
    into.whole.append(time.monotonic() - begun)


def connections() -> aiohttp.TCPConnector:
    """Return connections that are used once: llama.cpp closes one after a hundred requests, the next on its way."""
    return aiohttp.TCPConnector(limit=0, force_close=True)


async def closed(server: Server, clients: int, each: int, tokens: int) -> Measured:
    """So many clients ask one request after another."""
    (url, process), found = server, Measured()

    async def client() -> None:
        for _ in range(each):
            await ask(session, url, tokens, found)

    async with aiohttp.ClientSession(connector=connections()) as session:
        begun, cpu = time.monotonic(), cpu_seconds(process)
        await asyncio.gather(*(client() for _ in range(clients)))
        found.seconds, found.cpu = time.monotonic() - begun, cpu_seconds(process) - cpu
    return found


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def overload(url: str, rate: float, seconds: float, tokens: int) -> Measured:
    """Requests arrive at a rate, whatever becomes of those before."""
    found = Measured()
    async with aiohttp.ClientSession(connector=connections()) as session:
        tasks = []
        for number in range(round(rate * seconds)):
            tasks.append(asyncio.create_task(ask(session, url, tokens, found)))
            await asyncio.sleep(1 / rate if number else 0)
        await asyncio.gather(*tasks)
    return found


def compare(served: Server, bare: Server, clients: int, rounds: int, tokens: int) -> tuple[float, float, Measured]:
    """Return the ratio of tokens a second, that of tokens a CPU-second, and what Corral's last round came to."""
    ratios, cpu_ratios, last = [], [], Measured()
    for number in range(rounds):
        each = max(2, 8 // clients)
        # Who is first changes: what else the machine does comes and goes.
        order = (bare, served) if number % 2 else (served, bare)
        found = {server[0]: asyncio.run(closed(server, clients, each, tokens)) for server in order}
        last, there = found[served[0]], found[bare[0]]
        ratios.append(last.rate / there.rate)
        cpu_ratios.append((last.tokens / last.cpu) / (there.tokens / there.cpu))
        print(
            f"{clients:3} clients: {last.rate:7.1f} tokens/s, llama.cpp {there.rate:7.1f}; first token "
            f"{1000 * statistics.median(last.first):6.0f} ms, llama.cpp {1000 * statistics.median(there.first):6.0f} "
            f"ms; CPU a token {1000 * last.cpu / last.tokens:5.2f} ms, llama.cpp "
            f"{1000 * there.cpu / there.tokens:5.2f} ms",
            flush=True,
        )
    return statistics.median(ratios), statistics.median(cpu_ratios), last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--overload", type=float, default=20, help="seconds")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        serve = ("-m", "corral.cli", "serve", "--port", "0")
        with (
            process("-c", BARE, str(SLOTS), str(CONTEXT)) as bare,
            process(
                *serve, CORRAL_HOME=home, CORRAL_SERVE_PARALLEL=str(SLOTS), CORRAL_SERVE_CONTEXT=str(CONTEXT)
            ) as served,
        ):
            for server in (served, bare):
                asyncio.run(closed(server, 1, 1, 4))  # until it is ready
            last = Measured()
            for clients in CLIENTS:
                ratio, cpu_ratio, last = compare(served, bare, clients, given.rounds, given.tokens)
                found[f"ratio_llamacpp_{clients}"] = round(ratio, 3)
                found[f"cpu_ratio_llamacpp_{clients}"] = round(cpu_ratio, 3)
                found[f"tokens_per_second_{clients}"] = round(last.rate, 1)
                if clients == 1:
                    found["ttft_ms_1"] = round(1000 * statistics.median(last.first), 1)
            rate = 2 * len(last.whole) / last.seconds
            loaded = asyncio.run(overload(served[0], rate, given.overload, given.tokens))
            found["p99_ms_overload"] = round(1000 * sorted(loaded.whole)[int(0.99 * (len(loaded.whole) - 1))])
            found |= {"overload_per_second": round(rate, 2), "answered": len(loaded.whole), "sent_away": loaded.refused}
            found["rss_mb"] = round(served[1].memory_info().rss / 2**20)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
