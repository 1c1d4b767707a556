"""``examples/loop.py`` at the smallest size: tiny weights, and a scripted server for who writes and judges."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from examples.loop import SMALL, circle, opinion
from tests.harness import write_prompts
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.config import load_request
from tools.registry import current, versions


def test_its_settings_are_settings() -> None:
    assert load_request(None, list(SMALL)).improve.similar == 4


@pytest.mark.parametrize(
    ("answer", "stars", "better"),
    [
        ("It warns ships. It shines.", 5, ""),
        ("One. Two! Three? Four.", 1, "One. Two!"),
        ("it goes on and on", 1, "it goes on and on."),
        ("", 1, ""),
    ],
)
def test_its_raters_dislike_more_than_two_sentences(answer: str, stars: int, better: str) -> None:
    assert opinion(answer) == (stars, better)


@pytest.mark.skipif(not os.environ.get("SLOW_TESTS"), reason="minutes of CPU: SLOW_TESTS=1 runs it")
def test_it_goes_round_once(tmp_path: Path) -> None:
    base, prompts = tiny_model(tmp_path / "base"), write_prompts(tmp_path / "prompts.jsonl")
    with ScriptedServer() as server:
        models = [
            f"models.{who}.{key}={value}"
            for who in ("generator", "policy", "judge")
            for key, value in (("base_url", server.url), ("model", "scripted"))
        ]
        small = ["train.lora_rank=4", "sampling.candidates=3", "train.seed_share=0"]
        given = [*models, f"models.base={base}", f"sources.prompts={prompts}", *small]
        found = asyncio.run(circle(tmp_path / "home", given, raters=120))
    registry = tmp_path / "home" / "registry"
    assert {found["old"], found["new"]} == set(versions(registry)) and found["promoted"] == found["new"]
    assert current(registry) == found["old"], "rolled back"
    assert found["corrected"] > 0 and set(found["stars"]) == {found["old"], found["new"]}
