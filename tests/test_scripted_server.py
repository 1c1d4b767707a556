"""The scripted server keeps its word: the same request gets the same answer, in its form, and the log tells all."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field

from tests.scripted_answers import QUALITY, answer_to, fill, quality_of
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint.schema import strict_schema

ROOT = Path(__file__).parents[1]


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


class Inner(BaseModel):
    kind: Literal["a", "b"]
    stars: int = Field(ge=1, le=5)


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    score: float = Field(ge=0, le=100)
    good: bool
    note: str = Field(min_length=3, max_length=20)
    inner: list[Inner] = Field(min_length=1, max_length=3)
    maybe: int | None


def test_an_answer_follows_from_the_request_alone() -> None:
    assert answer_to(body("What is a river?", seed=1)) == answer_to(body("What is a river?", seed=1))
    assert answer_to(body("What is a river?", seed=1)) != answer_to(body("What is a river?", seed=2))


def test_json_fits_its_schema_and_follows_the_quality_of_what_is_judged() -> None:
    schema = strict_schema(Answer)
    for word, (low, high) in QUALITY.items():
        for draw in range(30):
            value = fill(
                schema, random.Random(draw), quality_of(f"It answers {word}.", random.Random(0)), schema["$defs"]
            )
            assert low * 100 <= Answer.model_validate(value).score <= high * 100


def test_tasks_go_on_from_the_prompts_last_number() -> None:
    prompt = "Write 20 tasks.\n1. Instruction: a\n1. Input: b\n1. Output: c\n2. Instruction:"
    answer = answer_to(body(prompt))
    assert answer.startswith(" ") and "\n3. Instruction: " in answer and "\n20. Instruction: " in answer
    assert answer_to(body(prompt.removesuffix("2. Instruction:"))).startswith("2. Instruction: ")


def test_the_log_of_a_killed_server_tells_every_request_and_every_answer(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "tests.scripted_server", "--log", str(log), "--fail", "500"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    statuses = [httpx.post(f"{url}/chat/completions", json=body(text)).status_code for text in ("a", "a", "b")]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert statuses == [500, 200, 200]
    assert [(line["event"], line["outcome"]) for line in lines] == [
        ("request", "500"),
        ("request", "ok"),
        ("answer", "ok"),
        ("request", "ok"),
        ("answer", "ok"),
    ]
    assert len({line["hash"] for line in lines}) == 2


def test_requests_are_seen_with_their_text_key_and_outcome() -> None:
    with ScriptedServer(fail_when={"poison": "400"}) as server:
        for text in ("poison", "water"):
            httpx.post(f"{server.url}/chat/completions", json=body(text), headers={"Authorization": "Bearer k"})
    assert [(seen.text, seen.key, seen.outcome) for seen in server.requests] == [
        ("poison", "k", "400"),
        ("water", "k", "ok"),
    ]
    assert [seen.text for seen in server.answered] == ["water"]
