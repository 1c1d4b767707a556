"""langchain-openai's part of ``benchmarks/judging.py``: its six calls of an item, and a process that makes them alone.

It imports the schemas of the answers, and nothing else of Corral's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from langchain_openai import ChatOpenAI

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.judging.answers import DimensionRating, ExpertRating


async def timed(work: Callable[[int], Awaitable[None]], numbers: range) -> float:
    """Return items a second."""
    started = time.perf_counter()
    await asyncio.gather(*(work(number) for number in numbers))
    return len(numbers) / (time.perf_counter() - started)


def by_langchain(url: str, prompts: list[str], concurrency: int) -> Callable[[int], Awaitable[None]]:
    """Return what makes the same six calls of one item by langchain-openai."""
    *judges, expert = prompts
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.AsyncClient(limits=limits, timeout=60)
    draws = {"temperature": 0.2, "max_tokens": 160, "max_retries": 0}
    model = ChatOpenAI(base_url=url, api_key="none", model="bench", http_async_client=client, **draws)
    scored = model.with_structured_output(DimensionRating, method="json_schema", strict=True)
    starred = model.with_structured_output(ExpertRating, method="json_schema", strict=True)
    room = asyncio.Semaphore(concurrency)

    async def ask(chain: Any, prompt: str, number: int) -> Any:
        async with room:
            return await chain.ainvoke(prompt.replace("Number 0", f"Number {number}"))

    async def judge(number: int) -> None:
        scores = await asyncio.gather(*(ask(scored, prompt, number) for prompt in judges))
        stars = await ask(starred, expert, number)
        if [score.score for score in scores] != [82] * 5 or stars.stars != 4:
            raise RuntimeError("an unexpected answer")

    return judge


if __name__ == "__main__":
    os.environ["LANGSMITH_TRACING"] = "false"
    url, file, concurrency, items = sys.argv[1:]
    work = by_langchain(url, json.loads(Path(file).read_text()), int(concurrency))
    asyncio.run(timed(work, range(int(items))))
