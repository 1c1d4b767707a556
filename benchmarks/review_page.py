"""What the review page costs: CPU of the queue at 5,000 and 50,000 waiting items, memory, and keystrokes a decision.

    python benchmarks/review_page.py

The application answers in this process, over a SQLite file, without a socket; its CPU-seconds are those of the whole
process, the client's among them. A figure is the median of ``REPEATS`` requests after one that warms up; ``ms_queue``
is for the first page of the queue over all runs, and other orders, filters and an item's page stand beside it. Memory
is the resident size of the process, after every page of the largest queue was shown, over that before.

Then a scripted reviewer decides 100 items in Chromium by keyboard alone, 50 without a rating and 50 with one; every key
is counted, and the decisions are counted in the database. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from serving.app import create_app  # noqa: E402  # found from a checkout, too
from state.database import Database  # noqa: E402  # found from a checkout, too
from state.records import Outcome, ReviewTask, Why  # noqa: E402  # found from a checkout, too
from state.request import RunRequest  # noqa: E402  # found from a checkout, too
from state.reviewing import ReviewStore  # noqa: E402  # found from a checkout, too
from state.store import RecordStore  # noqa: E402  # found from a checkout, too
from tests.browsing import CHROMIUM, add_waiting, chromium, served  # noqa: E402  # found from a checkout, too
from tests.builders import NOON  # noqa: E402  # found from a checkout, too
from tools.settings import Settings  # noqa: E402  # found from a checkout, too

SIZES = (5_000, 50_000)
RUNS, REPEATS, DECISIONS = 5, 20, 100
MEGABYTE = 2**20
WHYS: tuple[Why, ...] = ("between_thresholds", "checks_disagree", "audit")


async def fill(home: Path, size: int) -> None:
    """Put items before people in several runs; those of the first run have their rows, for the item's own page."""
    database = Database(f"sqlite:///{home / 'corral.db'}")
    await database.create()
    store, waiting = RecordStore(database), ReviewStore(database)
    await add_waiting(store, "shown", [f"The river number {number}." for number in range(100)])
    for run in range(RUNS):
        await store.open_run(f"run-{run}", RunRequest())
        share = range(run, size - 100, RUNS)
        tasks = [
            ReviewTask(
                id=f"{number:032x}",
                kind="completion",
                sample_id="s",
                why=(WHYS[number % 3],),
                position=place,
                disagreement=number % 997 / 997,
                machine=Outcome.WAITING,
                head=f"Describe the river number {number} in at most three sentences, and say where it rises.",
                opened_at=NOON + timedelta(minutes=1, seconds=number),
            )
            for place, number in enumerate(share)
        ]
        await waiting.open_tasks(f"run-{run}", tasks)
    await database.close()


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Open the application, and a client of it in this process."""
    app = create_app(lambda: Settings(home=home, reviewer="ada"))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def cpu_ms(client: httpx.AsyncClient, path: str) -> float:
    """Return the CPU-milliseconds of a page: the median."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.process_time()
        answer = await client.get(path, follow_redirects=True)
        times.append(1000 * (time.process_time() - began))
        answer.raise_for_status()
    return statistics.median(times[1:])


async def walk(client: httpx.AsyncClient) -> int:
    """Show every page of the queue, and return how many items they had."""
    items, path = 0, "/review"
    while True:
        page = (await client.get(path)).text
        items += page.count("completion of")
        _, found, rest = page.partition('<p><a href="/review?after=')
        if not found:
            return items
        path = f"/review?after={rest.partition(chr(34))[0]}"


async def measure(size: int) -> dict[str, float]:
    """Return the figures of one size."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        await fill(home, size)
        async with opened(home) as client:
            await client.get("/review")
            before = psutil.Process().memory_info().rss
            figures = {
                "first page": await cpu_ms(client, "/review"),
                "most disagreement": await cpu_ms(client, "/review?order=disagreement"),
                "one reason": await cpu_ms(client, "/review?why=audit"),
                "one run": await cpu_ms(client, "/review?run=run-3"),
                "an item": await cpu_ms(client, "/review/next"),
            }
            seen = await walk(client)
            assert seen == size, f"{seen} of {size} items were shown"
            figures["rss growth, MB"] = (psutil.Process().memory_info().rss - before) / MEGABYTE
    return figures


def decide_by_keyboard() -> dict[str, float]:
    """Return how many keys a decision took, without and with a rating."""
    pressed = {"plain": 0, "rated": 0}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        asyncio.run(fill(home, DECISIONS))
        with served(home) as (url, _), chromium() as browser:
            page = browser.new_page()
            page.goto(f"{url}/review/next")
            for number in range(DECISIONS):
                keys = ["a" if number % 3 else "r"] if number % 2 else [str(1 + number % 5), "a"]
                pressed["plain" if number % 2 else "rated"] += len(keys)
                for key in keys:
                    page.keyboard.press(key)
                page.locator(".progress", has_text=f"{number + 1} decided and not sent").wait_for()
        kept = asyncio.run(drafts(home))
        assert kept == DECISIONS, f"{kept} of {DECISIONS} decisions were kept"
    return {name: 2 * count / DECISIONS for name, count in pressed.items()}


async def drafts(home: Path) -> int:
    """Return how many decisions the store has kept."""
    database = Database(f"sqlite:///{home / 'corral.db'}")
    kept = len(await ReviewStore(database).drafts("tester", size=2 * DECISIONS))
    await database.close()
    return kept


def main() -> None:
    found = {size: asyncio.run(measure(size)) for size in SIZES}
    print(f"{'CPU-ms of a page, at waiting items':40}" + "".join(f"{size:>12,}" for size in SIZES))
    for name in found[SIZES[0]]:
        print(f"{name:40}" + "".join(f"{found[size][name]:12.1f}" for size in SIZES))
    result = {f"ms_queue_{size}": round(found[size]["first page"], 1) for size in SIZES}
    result["rss_growth_mb"] = round(found[SIZES[-1]]["rss growth, MB"], 1)
    if CHROMIUM.exists():
        keys = decide_by_keyboard()
        print(f"keys a decision: {keys['plain']:g}; with a rating {keys['rated']:g} ({DECISIONS} items by keyboard)")
        result |= {"keys_per_decision": keys["plain"], "keys_per_rated_decision": keys["rated"]}
    else:
        print(f"keys a decision: not measured, there is no {CHROMIUM}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
