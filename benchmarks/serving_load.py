"""Does anything leak or get lost when clients are many, rude or gone? ``corral serve`` with tiny weights, and tokens.

    python benchmarks/serving_load.py [--clients 200] [--seconds 60] [--strangers 10000]

In order: 10,000 requests without a token; a prompt of 10 MB; clients that hang up in mid-stream; a client that never
reads; so many clients for so many seconds, twice, half of them streaming; and SIGTERM while they ask, once they have
had as many answers as they are. The last line is JSON: ``lost`` counts requests that were answered by neither an answer
nor 429 (after SIGTERM: neither a whole answer, nor 503, nor a closed port); ``grown_mb`` and ``grown_files`` are memory
and open files of the second minute against the first.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

HOUSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOUSE))

from tests.served_registry import make_registry  # noqa: E402  # found from a checkout, too

TOKEN = secrets.token_urlsafe()
ALLOWED = {"Authorization": f"Bearer {TOKEN}"}
Counts = collections.Counter[str]


def body(stream: bool, tokens: int = 16, prompt: str = "Hello.") -> dict[str, Any]:
    asked = {"model": "current", "messages": [{"role": "user", "content": prompt}]}
    return asked | {"max_tokens": tokens, "stream": stream}


async def ask(session: aiohttp.ClientSession, url: str, stream: bool) -> str:
    """Return what became of a request, in one word."""
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body(stream), headers=ALLOWED) as response:
            text = await response.text()
    except aiohttp.ClientConnectorError:
        return "closed port"
    except aiohttp.ClientError as error:
        return f"broken: {type(error).__name__}"
    if response.status != 200:
        return str(response.status)
    whole = text.rstrip().endswith("[DONE]") if stream else bool(json.loads(text)["choices"])
    return "answered" if whole else "cut"


async def many(url: str, clients: int, seconds: float, found: Counts, stop: asyncio.Event) -> None:
    """So many clients ask one request after another; what became of each is counted at once."""
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        while time.monotonic() < end and not stop.is_set():
            became = await ask(session, url, number % 2 == 0)
            found[became] += 1
            if became != "answered":
                await asyncio.sleep(0.5)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(number) for number in range(clients)))


async def without_token(url: str, requests: int) -> Counts:
    found, left = Counts(), iter(range(requests))

    async def client() -> None:
        for _ in left:
            async with session.post(f"{url}/v1/chat/completions", json=body(False)) as response:
                found[str(response.status)] += 1

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client() for _ in range(20)))
    return found


async def hang_up(url: str, clients: int) -> None:
    """Ask for long streams and close the connection after the first bytes."""

    async def client() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/v1/chat/completions", json=body(True, 200), headers=ALLOWED) as response:
                await response.content.readany()

    await asyncio.gather(*(client() for _ in range(clients)))


def never_read(url: str) -> socket.socket:
    """Ask for a stream, and never read it."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    data = json.dumps(body(True, 200)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return connection


async def one(url: str, asked: dict[str, Any]) -> tuple[int, str, float]:
    begun = time.monotonic()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=asked, headers=ALLOWED) as response,
    ):
        return response.status, await response.text(), time.monotonic() - begun


async def measure(url: str, process: psutil.Process, clients: int, seconds: float, strangers: int) -> dict[str, Any]:
    found: dict[str, Any] = {"without_token": dict(await without_token(url, strangers))}
    status, said, took = await one(url, body(False, prompt="word " * 2_000_000))
    found["ten_megabytes"] = f"{status} in {took:.2f} s: {json.loads(said)['error']['code']}"
    await hang_up(url, 30)
    status, _, took = await one(url, body(False))
    found["after_30_hang_ups"] = f"{status} in {took:.2f} s"
    silent = never_read(url)
    sizes, lost = [], 0
    for _ in range(2):
        counts = Counts()
        await many(url, clients, seconds, counts, asyncio.Event())
        await asyncio.sleep(2)
        sizes.append((process.memory_info().rss / 2**20, process.num_fds()))
        print(dict(counts), f"{sizes[-1][0]:.0f} MB, {sizes[-1][1]} files", flush=True)
        lost += counts.total() - counts["answered"] - counts["429"]
    silent.close()
    stop, before, after = asyncio.Event(), Counts(), Counts()
    load = asyncio.create_task(many(url, clients, 600, after, stop))
    while after.total() < clients:
        await asyncio.sleep(0.1)
    before.update(after)
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    code = await asyncio.to_thread(process.wait, 90)
    found["ended"] = f"code {code} after {time.monotonic() - begun:.1f} s"
    stop.set()
    await load
    print("before SIGTERM:", dict(before), "after:", dict(after - before), flush=True)
    after.subtract(before)
    fine = ("answered", "429", "503", "closed port")
    found["lost"] = lost + sum(count for became, count in after.items() if became not in fine)
    (before_mb, before_files), (after_mb, after_files) = sizes
    return found | {
        "grown_mb": round(after_mb - before_mb, 1),
        "grown_files": after_files - before_files,
        "rss_mb": round(after_mb),
        "after_sigterm": dict(+after),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--strangers", type=int, default=10_000, help="requests without a token")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = make_registry(Path(folder)).home
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CORRAL_")}
        environment = kept | {"PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1", "CORRAL_HOME": str(home)}
        environment["CORRAL_SERVE_TOKENS"] = json.dumps({"ada": TOKEN})
        environment["CORRAL_SERVE_CONTEXT"] = "512"
        command = [sys.executable, "-m", "corral.cli", "serve", "--port", "0"]
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert running.stderr is not None
        try:
            line = next(line for line in running.stderr if "http://" in line)
            found = re.search(r"http://\S+", line)
            assert found is not None
            process = psutil.Process(running.pid)
            print(json.dumps(asyncio.run(measure(found[0], process, given.clients, given.seconds, given.strangers))))
        finally:
            if running.poll() is None:
                running.kill()


if __name__ == "__main__":
    main()
