"""Gold items: everybody meets one now and then, no run waits for one, and each person's accuracy is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from graph.accounts import gold_of
from graph.reviews import Reviews
from graph.runs import Runs, open_runs
from state.errors import AlreadyDecided, BadInput
from state.records import Candidate, Draft
from tests.builders import NOON
from tests.waiting import advance, waiting_run
from tools.people.gold import is_due, read_gold
from tools.settings import Settings

LABELS = [
    {"prompt": "Name a river.", "output": "The Rhine.", "rating": 5},
    {"prompt": "Name a lake.", "output": "No.", "rating": 1},
    {"prompt": "Name a sea.", "output": "The Baltic, perhaps.", "rating": 3},
]


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path / "home")) as opened:  # type: ignore[call-arg]  # by name
        yield opened


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_clearly_good_or_bad_is_gold(tmp_path: Path) -> None:
    found = read_gold(write(tmp_path / "gold.jsonl", LABELS))
    assert [(one.prompt, one.text, one.decision) for one in found] == [
        ("Name a river.", "The Rhine.", "approve"),
        ("Name a lake.", "No.", "reject"),
    ]
    pairs = [{"prompt": "a", "output_1": "b", "output_2": "c", "label": label} for label in (0, 1, 2)]
    with pytest.raises(BadInput, match="no answer that is rated from 4 on or up to 2"):
        read_gold(write(tmp_path / "pairs.jsonl", pairs))


@pytest.mark.parametrize(
    ("said", "gold", "due"), [(0, 0, False), (3, 0, False), (4, 0, True), (5, 1, False), (14, 1, True)]
)
def test_one_item_in_ten_is_gold(said: int, gold: int, due: bool) -> None:
    assert is_due(said, gold) is due


async def decide(reviews: Reviews, rater: str, decision: str) -> list[str]:
    """Decide all that is offered to a person, one at a time, and return the texts."""
    shown = []
    while (page := await reviews.queue(rater, run="mine", size=1)).items:
        item = await reviews.item("mine", page.items[0].item_id, rater)
        shown.append(item.texts[0])
        fields = {"item_id": item.item_id, "rater": rater, "decision": decision, "decided_at": NOON}
        await reviews.save("mine", Draft.model_validate(fields))
        assert page.items[0].why in (("between_thresholds",), ("audit",)), "nobody is told which ones they are"
    return shown


async def test_everybody_meets_gold_items_and_the_run_waits_for_none(runs: Runs, tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", LABELS)
    await waiting_run(runs, number=16, gold=gold, raters=2, page=20)
    reviews = Reviews(runs)
    (question,) = await runs.interrupts("mine")
    assert len(question.value["action_requests"]) == 16, "an interrupt asks about none"
    for rater, decision, right in (("ada", "approve", "The Rhine."), ("bob", "reject", "No.")):
        shown = await decide(reviews, rater, decision)
        assert len(shown) == 18 and (shown.index("The Rhine."), shown.index("No.")) == (4, 14)
        sent = await reviews.send("mine", rater)
        assert sent.sent == 18 and sent.settled == 0 and sent.gold is not None
        assert (sent.gold.items, sent.gold.accuracy.value) == (2, 0.5), right
        assert f"{rater}: right on 1 of 2 items" in sent.gold.in_words
    assert [one.rater for one in await gold_of(runs.services, "mine")] == ["ada", "bob"]
    item = await reviews._store.gold("mine")
    with pytest.raises(AlreadyDecided):
        await reviews.save("mine", Draft(item_id=item[0].id, rater="ada", decision="reject", decided_at=NOON))
    assert (await decide(reviews, "eve", "reject"))[4] == "The Rhine."
    assert (await reviews.send("mine", "eve")).complete
    await advance(runs, answer=await reviews.answer_of("mine"))
    assert (await runs.status("mine")).step == "assemble"
    assert len(await runs.services.store.find("mine", Candidate)) == 16, "no row of the run is one"
