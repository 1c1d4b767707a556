"""Decisions from a file: what ``corral review RUN --json`` prints comes back with the decisions filled in."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from graph.runs import open_runs
from state.records import Rating
from tests.harness import Corral, refused
from tests.waiting import waiting_run
from tools.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    async def prepare() -> None:
        async with open_runs(Settings(home=tmp_path / "home")) as runs:  # type: ignore[call-arg]  # by name
            await waiting_run(runs, number=4)

    asyncio.run(prepare())
    return tmp_path / "home"


def ratings(home: Path) -> dict[str, tuple[str, str, str, dict[str, int]]]:
    async def read() -> list[Rating]:
        async with open_runs(Settings(home=home)) as runs:  # type: ignore[call-arg]  # by name
            return await runs.services.store.find("mine", Rating)

    return {r.item_id: (r.decision, r.text, r.rater, dict(r.ratings)) for r in asyncio.run(read())}


def write(path: Path, *lines: Any) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def printed(corral: Corral) -> list[dict[str, Any]]:
    code, out, error = corral("review", "mine", "--json")
    assert code == 0, error
    return [json.loads(line) for line in out.splitlines()]


def test_what_is_printed_comes_back_with_decisions(
    home: Path, corral: Corral, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = printed(corral)
    assert [item["decision"] for item in items] == [""] * 4 and items[0]["texts"] == ["The river 2."]
    said: list[dict[str, Any]] = [
        {"decision": "approve", "ratings": {"overall": 4, "honesty": 5}},
        {"decision": "edit", "text": "Rhine, Ebro, Po.", "comment": "mine", "rater": "bob", "ratings": {"overall": 5}},
        {"decision": "cannot_judge"},
    ]
    lines = [item | more for item, more in zip(items, said, strict=False)] + items[3:]
    code, out, error = corral("review", "mine", "--decisions", write(tmp_path / "mine.jsonl", *lines))
    assert code == 3 and "decisions sent: 3; items decided by them: 3" in out, error
    ids = [item["item_id"] for item in items]
    kept = ratings(home)
    assert [kept.get(id_) for id_ in ids] == [
        ("approve", "", "tester", {"honesty": 5, "overall": 4}),
        ("edit", "Rhine, Ebro, Po.", "bob", {"overall": 5}),
        ("cannot_judge", "", "tester", {}),
        None,
    ]
    # The same file again, with another word on the first: it was decided, and who and when is told.
    again = write(tmp_path / "mine.jsonl", {"item_id": ids[0], "decision": "reject", "rater": "eve"})
    code, out, error = corral("review", "mine", "--decisions", again)
    assert code == 3 and "decisions sent: 0" in out and f"item {ids[0]}: this item was approved by tester at" in error
    last = json.dumps({"item_id": ids[3], "decision": "reject"}).encode()
    give(monkeypatch, last)
    code, out, error = corral("review", "mine", "--decisions", "-")
    assert "decisions sent: 1; items decided by them: 1" in out
    assert code == 2 and "no-model" in error, "it went on to its training"


BAD: list[tuple[Any, str]] = [
    ({"item_id": "none", "decision": "approve"}, "no item 'none' of this run"),
    ({"decision": "approve"}, "item_id"),
    ({"item_id": "@", "decision": "maybe"}, "decision"),
    ({"item_id": "@", "decision": "approve", "ratings": {"overall": 7}}, "stars go from 1 to 5"),
    ({"item_id": "@", "decision": "approve", "ratings": {"beauty": 1}}, "is no criterion"),
    ({"item_id": "@", "decision": "edit"}, "an edit carries the new text"),
    ({"item_id": "@", "decision": "prefer_a"}, "one of approve"),
    ({"item_id": "@", "decision": "approve", "mood": "good"}, "mood"),
    ({"item_id": "@", "decision": "approve", "rater": "policy:midpoint"}, "no person's name"),
]


def test_a_line_that_does_not_fit_is_named_and_nothing_is_saved(
    home: Path, corral: Corral, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = printed(corral)
    good = {"item_id": items[0]["item_id"], "decision": "approve"}
    for line, said in BAD:
        bad = {name: items[1]["item_id"] if value == "@" else value for name, value in line.items()}
        result = corral("review", "mine", "--decisions", write(tmp_path / "bad.jsonl", good, bad))
        refused(result, "bad.jsonl, line 2", said, "nothing was saved")
    refused(corral("review", "mine", "--decisions", str(tmp_path / "none.jsonl")), "none.jsonl", "nothing was saved")
    refused(
        corral("review", "mine", "--decisions", write(tmp_path / "open.jsonl", *items)),
        "open.jsonl: no line has a decision",
    )
    for raw, said in (
        (b"[1,2]", "row 1: not an object"),
        (b'{"item_id": ""}\nno', "line 2: not JSON"),
        (b'{"x": 1}', "line 1: 'x'"),
    ):
        give(monkeypatch, raw)
        refused(corral("review", "mine", "--decisions", "-"), f"corral: standard input, {said}", "nothing was saved")
    refused(corral("review", "mine", "--json", "--all", "approve"), "--all and --json exclude one another")
    refused(corral("review", "other", "--decisions", write(tmp_path / "good.jsonl", good)), "other")
    assert ratings(home) == {} and len(printed(corral)) == 4
