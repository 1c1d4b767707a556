"""Curator's part of ``benchmarks/peers.py``: one pass for the answers and one for all scores.

The last line printed is the number of answers and scores that it returned.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bespokelabs import curator
from pydantic import BaseModel


class Rating(BaseModel):
    """What a judge answers."""

    score: int
    reason: str


class Answers(curator.LLM):
    """Answers a prompt."""

    def prompt(self, input: dict[str, Any]) -> str:
        """Return what is asked."""
        return str(input["prompt"])

    def parse(self, input: dict[str, Any], response: str) -> dict[str, Any]:
        """Return the row with its answer."""
        return {"prompt": input["prompt"], "answer": response}


class Scores(curator.LLM):
    """Judges an answer."""

    response_format = Rating

    def prompt(self, input: dict[str, Any]) -> str:
        """Return what is asked."""
        return str(input["judge"])

    def parse(self, input: dict[str, Any], response: Rating) -> dict[str, Any]:
        """Return the row with its score."""
        return {"judge": input["judge"], "score": response.score, "reason": response.reason}


def main(url: str, in_flight: int, work: Path) -> int:
    given = json.loads(work.read_text())

    def settings() -> dict[str, Any]:
        # Each model changes its own; rates that no server of this size reaches.
        unlimited = {"max_requests_per_minute": 1_000_000, "max_tokens_per_minute": 10**12}
        return {"base_url": url, "api_key": "none", "max_concurrent_requests": in_flight, **unlimited}

    draws = {"temperature": 0.7, "max_tokens": 160}
    answers = Answers("bench", backend="openai", generation_params=draws, backend_params=settings())
    answered = answers([{"prompt": prompt} for prompt in given["prompts"]]).dataset
    asked = [
        {"judge": judge.replace("<<PROMPT>>", row["prompt"]).replace("<<ANSWER>>", row["answer"])}
        for row in answered
        for judge in given["judges"]
    ]
    scores = Scores(
        "bench", response_format=Rating, backend="openai", generation_params=draws, backend_params=settings()
    )
    rated = scores(asked).dataset
    return sum(bool(row["answer"]) for row in answered) + sum(row["score"] is not None for row in rated)


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
