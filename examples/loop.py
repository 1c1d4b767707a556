"""The whole circle on the embedded model, without a network: deploy, serve, gather ratings, improve, try, promote.

    python examples/loop.py [--home FOLDER] [--raters 120] [--set KEY=VALUE ...]

A first adapter is trained and deployed. 120 scripted people ask for something and rate the answer; they dislike answers
of more than two sentences, and every third writes a shorter one. That is a reason to retrain: an improvement makes the
next version, measures it against the deployed one, and lets it serve half of the people. They rate both. The ratings
decide, or a person does; and at the end the old version is back, by a rollback.

It takes about ten minutes on two cores. What people dislike, and what they ask, stands at the bottom.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
from fastapi import FastAPI

from graph.improving import next_turn
from graph.runs import Runs
from serving.app import create_app
from tools.config import load_request
from tools.improvement.canary import close_canary, read_canary
from tools.registry import current, point
from tools.settings import Settings

SMALL = (
    "sources.prompt_limit=8",
    "evaluate.limit=8",
    "generation.target=0",
    "sampling.candidates=2",
    "sampling.max_tokens=64",
    "judge.max_tokens=64",
    "judge.accept=50",
    "judge.review_from=40",
    "train.epochs=1",
    "train.seed_share=0.1",
    "train.rounds=1",
    "evaluate.max_tokens=64",
    "evaluate.sampled_draws=0",
    "evaluate.judged_pairs=0",
    "improve.similar=4",
)
"""What keeps the circle short. With these sizes a gain is seldom shown; the circle is what is shown."""


async def circle(home: Path, given: list[str], raters: int) -> dict[str, Any]:
    """Go round once, and return what happened."""
    request = load_request(None, [*SMALL, *given])
    settings = Settings(home=home, serve_canary=0.5, serve_parallel=4)
    app = create_app(lambda: settings)
    async with app.router.lifespan_context(app):
        runs: Runs = app.state.runs
        registry = runs.services.registry
        if current(registry) is None:
            await work(runs, await runs.create(request, "first"))
        old = current(registry) or ""
        say(f"deployed: {old}")
        say(f"nothing to improve on yet: {(await next_turn(runs, request)).reason}")

        await ask_and_rate(app, raters)
        turn = await next_turn(runs, request)
        say(f"trigger: {turn.reason}")
        state = await work(runs, turn.run)
        against = state["against"]
        figures = f"{against.base:.3f} -> {against.adapter:.3f} on {against.prompts} prompts"
        say(f"against {old}: {against.verdict}, {figures}")
        canary = read_canary(registry)
        new = canary.version if canary else ""
        say(f"{new} serves half of the people beside {old}")

        stars = await ask_and_rate(app, raters)
        say("; ".join(f"{version}: {fmean(given):.2f} stars by {len(given)}" for version, given in stars.items()))
        looked = await next_turn(runs, request.model_copy(update={"unattended": True}))
        say(f"{looked.action}: {looked.reason}")
        if current(registry) != new:
            point(registry, new)  # a person promotes it, as by 'corral canary --promote'
            close_canary(registry)
        promoted = current(registry)
        say(f"promoted: {promoted}")
        point(registry, old)
        say(f"rolled back: {current(registry)}")
    means = {version: round(fmean(given), 3) for version, given in stars.items()}
    improved = state["improvement"].model_dump(include={"corrected", "rejected", "chosen", "similar"})
    return {"old": old, "new": new, "promoted": promoted, "against": against.verdict, "stars": means} | improved


async def work(runs: Runs, name: str) -> Any:
    """Work on a run to its end, and answer what it asks as a person would who agrees; return its state."""
    answer = None
    while True:
        async for _ in runs.advance(name, answer):
            pass
        status = await runs.status(name)
        if status.standing != "waiting":
            return await runs.state(name)
        answer = "reject" if status.step == "review" else "approve"


async def ask_and_rate(app: FastAPI, raters: int) -> dict[str, list[int]]:
    """Let each rater ask one question and rate the answer; return the stars by version."""
    found: dict[str, list[int]] = {}
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=600) as client:
        room = asyncio.Semaphore(4)

        async def rate(number: int) -> None:
            asked = {"instruction": PROMPTS[number % len(PROMPTS)], "max_tokens": 64, "user": f"rater-{number}"}
            async with room:
                answer = (await client.post("/generate", json=asked | {"temperature": 0.7})).raise_for_status().json()
                stars, better = opinion(answer["response"])
                said = {"id": answer["id"], "stars": stars, "user": asked["user"]}
                if better and number % 3 == 0:
                    said["corrected"] = better
                (await client.post("/feedback", json=said)).raise_for_status()
            found.setdefault(answer["model"], []).append(stars)

        await asyncio.gather(*(rate(number) for number in range(raters)))
    return found


def opinion(answer: str) -> tuple[int, str]:
    """Return a rater's stars, and the answer as it should have been; empty where it is good."""
    sentences = [one for one in re.split(r"(?<=[.!?])\s+", answer.strip()) if one]
    short = " ".join(one if one.endswith((".", "!", "?")) else f"{one}." for one in sentences[:2])
    if len(sentences) <= 2 and answer.strip().endswith((".", "!", "?")):
        return 5, ""
    return 1, short


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> None:
    """Read the arguments, go round, and print what happened as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(".corral-loop"))
    parser.add_argument("--raters", type=int, default=120)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="given")
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(circle(arguments.home.absolute(), arguments.given, arguments.raters))))


PROMPTS = (
    "Tell me what a lighthouse is for.",
    "Explain why the sky is blue.",
    "Describe how bread is baked.",
    "What does a librarian do all day?",
    "Why do leaves fall in autumn?",
    "How does a bicycle stay upright?",
    "What is a good way to learn a song?",
    "Tell me something about honey bees.",
    "How do I keep a kitchen tidy?",
    "What should I pack for a day by the sea?",
    "Why is sleep good for people?",
    "How is paper made?",
)


if __name__ == "__main__":
    main()
