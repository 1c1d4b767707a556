"""What was served and what was said of it, in both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graph.served import give_feedback, record_answer
from graph.services import Services, make_services
from state.database import Database
from state.errors import BadInput, UnknownAnswer
from state.feedback import FeedbackStore, look_of
from tools.settings import Settings

ASKED = [{"role": "user", "content": "Name a river.\n\nIn Europe \ud800 \N{GRINNING FACE}"}]


@pytest.fixture
async def services(database: Database, tmp_path: Path) -> Services:
    made = make_services(Settings(home=tmp_path))
    return replace(made, database=database, feedback=FeedbackStore(database))


async def served(services: Services, id_: str = "a1", version: str = "v1-00000000", text: str = "The Rhine.") -> str:
    return await record_answer(services, id_, version=version, messages=ASKED, text=text, user="u")


async def test_an_answer_is_kept_once_as_it_was_served(services: Services) -> None:
    await served(services)
    await served(services, text="another text under the same id")
    (kept,) = (await services.feedback.answers(["a1", "unknown"])).values()
    assert kept.text == "The Rhine." and kept.version == "v1-00000000" and not kept.withdrawn
    assert kept.messages[0].content == "Name a river.\n\nIn Europe \N{REPLACEMENT CHARACTER} \N{GRINNING FACE}"


async def test_feedback_is_tied_to_what_was_served_and_said_twice_is_said_once(services: Services) -> None:
    await served(services)
    first = await give_feedback(services, "a1", "ada", stars=2, comment=" too short ")
    again = await give_feedback(services, "a1", "ada", stars=2, comment="too short")
    assert again == first and first.version == "v1-00000000" and first.comment == "too short"
    await give_feedback(services, "a1", "bob", thumb="up", corrected="The Rhine and the Danube.")
    changed = await give_feedback(services, "a1", "ada", stars=5)
    assert changed.id == first.id and changed.comment == ""
    said = {one.rater: one.stars for one in await services.feedback.feedback_on("a1")}
    assert said == {"ada": 5, "bob": 4}
    assert await services.feedback.stars_by_version() in (
        [("v1-00000000", 4, 1), ("v1-00000000", 5, 1)],
        [("v1-00000000", 5, 1), ("v1-00000000", 4, 1)],
    )


async def test_feedback_is_read_by_version_and_time(services: Services) -> None:
    await served(services)
    await served(services, "a2", version="v2-11111111")
    for id_ in ("a1", "a2"):
        await give_feedback(services, id_, "ada", stars=3)
    assert [f.answer_id for f in await services.feedback.feedback("v2-11111111")] == ["a2"]
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await services.feedback.feedback(since=later) == []
    assert len(await services.feedback.feedback()) == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "nothing is said"),
        ({"comment": "  ", "corrected": "\n"}, "nothing is said"),
        ({"stars": 4, "thumb": "up"}, "not both"),
        ({"comment": "x" * 100_001}, "comment has more than 100,000 characters"),
    ],
)
async def test_what_says_nothing_or_too_much_is_refused(services: Services, said: dict[str, object], why: str) -> None:
    await served(services)
    with pytest.raises(BadInput, match=why):
        await give_feedback(services, "a1", "ada", **said)  # type: ignore[arg-type]  # as a client may send it
    assert await services.feedback.feedback() == []


async def test_nothing_is_said_of_what_was_never_served_or_was_withdrawn(services: Services) -> None:
    with pytest.raises(UnknownAnswer, match="no answer 'a1' was served"):
        await give_feedback(services, "a1", "ada", stars=1)
    await served(services)
    said = await give_feedback(services, "a1", "ada", stars=1, comment="my address", corrected="mine")
    answer = (await services.feedback.answers(["a1"]))["a1"]
    await services.feedback.withdraw(answer, [said])
    (left,) = await services.feedback.feedback_on("a1")
    assert (left.stars, left.comment, left.corrected) == (1, "", "")
    assert (await services.feedback.answers(["a1"]))["a1"].text == ""
    with pytest.raises(UnknownAnswer, match="withdrawn"):
        await give_feedback(services, "a1", "bob", stars=1)


async def test_each_look_is_recorded_with_its_reason(services: Services) -> None:
    for action, reason in (("wait", "12 of 100 ratings"), ("retrain", "the mean 2.8 is below 3.5")):
        await services.feedback.add_look(look_of("retrain", "v1-00000000", action, reason, ratings=12))
    assert [look.action for look in await services.feedback.looks("retrain")] == ["retrain", "wait"]
    assert await services.feedback.looks("canary") == []
