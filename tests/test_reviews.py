"""The queue of what waits for people, their drafts and ratings, and what these decide, over both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from graph.reviews import QueuePage, Reviews
from graph.runs import Runs, open_runs
from state.errors import AlreadyDecided, BadInput, UnknownRun
from state.records import Draft, Judgement, Outcome, Rating, Review, ReviewTask, content_hash
from state.request import RunRequest
from state.reviewing import ReviewStore
from tests.builders import NOON, candidate, judgement, review_task, sample
from tools.people.settling import review_of
from tools.settings import Settings

LIMIT = "Name three rivers, in at most five words."


@pytest.fixture
async def runs(database_url: str, tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path, database_url=database_url, reviewer="ada")) as opened:  # type: ignore[call-arg]  # by name
        yield opened


@pytest.fixture
def reviews(runs: Runs) -> Reviews:
    return Reviews(runs)


async def fill(runs: Runs, run: str = "run", items: int = 5, hours: int = 0, **review: Any) -> list[ReviewTask]:
    """Open tasks of completions in a run, and return them."""
    store = runs.services.store
    await store.open_run(run, RunRequest.model_validate({"review": review}))
    asked = sample(LIMIT, checks=[{"kind": "max_words", "value": 5}])
    made = [candidate(asked, f"The river {n}.", draw=n, outcome=Outcome.WAITING) for n in range(items)]
    await store.add(run, [asked])
    await store.add(run, made)
    await store.add(run, [judgement(one, 3, 60.0) for one in made])
    tasks = [
        review_task(
            one,
            why=("audit",) if n % 2 else ("between_thresholds", "checks_disagree"),
            position=n,
            disagreement=n / items,
            head=asked.instruction,
            opened_at=NOON + timedelta(hours=hours),
        )
        for n, one in enumerate(made)
    ]
    await ReviewStore(runs.services.database).open_tasks(run, tasks)
    return tasks


def draft(task: ReviewTask, decision: str = "approve", rater: str = "ada", **changes: Any) -> Draft:
    fields = {"item_id": task.id, "rater": rater, "decision": decision, "decided_at": NOON}
    return Draft.model_validate(fields | changes)


def ids(page: QueuePage) -> list[tuple[str, str]]:
    return [(item.run_id, item.item_id) for item in page.items]


async def test_a_queue_goes_over_all_runs_page_by_page_the_oldest_first(runs: Runs, reviews: Reviews) -> None:
    later, first = await fill(runs, "later", hours=1), await fill(runs, "first")
    expected = [("first", task.id) for task in first] + [("later", task.id) for task in later]
    seen: list[tuple[str, str]] = []
    after = None
    while True:
        page = await reviews.queue("ada", size=3, after=after)
        assert len(page.items) <= 3 and (page.waiting, page.decided) == (10, 0)
        seen += ids(page)
        if (after := page.next) is None:
            break
    assert seen == expected
    assert ids(await reviews.queue("ada", run="later")) == expected[5:]


async def test_a_queue_is_ordered_by_disagreement_and_filtered_by_why(runs: Runs, reviews: Reviews) -> None:
    a, b = await fill(runs, "a"), await fill(runs, "b")
    farthest = [(run, tasks[n].id) for n in (4, 3, 2, 1, 0) for run, tasks in (("a", a), ("b", b))]
    first = await reviews.queue("ada", order="disagreement", size=3)
    rest = await reviews.queue("ada", order="disagreement", after=first.next)
    assert ids(first) + ids(rest) == farthest and rest.next is None
    audited = await reviews.queue("ada", why="audit", run="a")
    assert ids(audited) == [("a", a[1].id), ("a", a[3].id)] and audited.waiting == 2
    assert audited.items[0].why == ("audit",) and audited.items[0].head == LIMIT


@pytest.mark.parametrize("after", ["", "x", "eyJhIjoxfQ==", "WyIyMDI2Il0="])
async def test_a_page_that_is_none_is_refused(after: str, reviews: Reviews) -> None:
    if not after:
        assert (await reviews.queue("ada", after=after)).items == ()
        return
    for order in ("oldest", "disagreement"):
        with pytest.raises(BadInput, match="no such page"):
            await reviews.queue("ada", order=order, after=after)  # type: ignore[arg-type]  # a literal


async def test_a_draft_leaves_the_queue_of_its_rater_alone_and_can_be_taken_back(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs)
    await reviews.save("run", draft(tasks[0], "reject", comment="dull", ratings={"overall": 2, "honesty": 5}))
    page = await reviews.queue("ada")
    assert (page.waiting, page.decided, len(page.items)) == (5, 1, 4)
    assert (await reviews.queue("bob")).decided == 0 and len((await reviews.queue("bob")).items) == 5
    (kept,), following = await reviews.drafts("ada")
    assert (kept.item_id, kept.draft, following) == (tasks[0].id, "reject", None)
    await reviews.save("run", draft(tasks[0], "edit", text="Rhine, Ebro, Po."))
    item = await reviews.item("run", tasks[0].id, "ada")
    assert item.draft is not None and (item.draft.decision, item.draft.text) == ("edit", "Rhine, Ebro, Po.")
    assert (await reviews.item("run", tasks[0].id, "bob")).draft is None
    await reviews.withdraw("run", tasks[0].id, "ada")
    assert (await reviews.queue("ada")).decided == 0


async def test_the_last_decision_is_found_among_more_than_a_page_of_them(
    runs: Runs, reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, (other, *_) = await fill(runs), await fill(runs, "other")
    monkeypatch.setattr("graph.reviews.PAGE", 2)
    assert await reviews.last_draft("ada") is None
    order = [2, 4, 0, 3, 1]
    for minutes, number in enumerate(order):
        await reviews.save("run", draft(tasks[number], decided_at=NOON + timedelta(minutes=minutes)))
    await reviews.save("other", draft(other, decided_at=NOON + timedelta(hours=1)))
    assert await reviews.last_draft("ada") == ("other", other.id)
    for number in reversed(order):
        assert await reviews.last_draft("ada", run="run") == ("run", tasks[number].id)
        await reviews.withdraw("run", tasks[number].id, "ada")
    assert await reviews.last_draft("ada", run="run") is None


async def test_of_what_nothing_can_judge_no_figure_is_shown(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs, items=1)
    (kept,) = await runs.services.store.find("run", Judgement)
    bare = [score.model_copy(update={"score": None}) for score in kept.scores]
    unjudged = {"scores": tuple(bare), "overall": None, "stars": None, "confidence": 0.0, "feedback": "clarity: none"}
    await runs.services.store.settle("run", [kept.model_copy(update=unjudged)])
    item = await reviews.item("run", tasks[0].id, "ada")
    assert (item.scores, item.overall, item.stars, item.confidence, item.feedback) == ((), None, None, None, "")


async def test_an_item_is_shown_with_all_that_is_known_of_it(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs)
    item = await reviews.item("run", tasks[0].id, "ada")
    assert (item.kind, item.prompt, item.texts) == ("completion", LIMIT, ("The river 0.",))
    assert item.why == (
        "the machines could not decide: its score lies between the two thresholds",
        "checks and judge disagree about it",
    )
    assert (item.overall, item.stars, len(item.scores), item.editable) == (60.0, 3, 5, True)
    assert item.allowed == ("approve", "edit", "reject", "cannot_judge", "skip")
    for run, wanted, kind in (("run", "none", BadInput), ("other", tasks[0].id, UnknownRun)):
        with pytest.raises(kind):
            await reviews.item(run, wanted, "ada")
        with pytest.raises(kind):
            await reviews.save(run, draft(tasks[0]).model_copy(update={"item_id": wanted}))


async def test_an_edit_is_checked_at_once(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs)
    for text, passed in (("Rhine, Ebro and Po.", True), ("The Rhine, the Ebro, the Po and the Oder.", False)):
        found = await reviews.check("run", tasks[0].id, text)
        assert [one.passed for one in found if one.kind == "max_words"] == [passed]


BAD: list[dict[str, Any]] = [
    {"decision": "prefer_a"},
    {"decision": "edit"},
    {"decision": "edit", "text": " \n"},
    {"decision": "approve", "text": "mine"},
    {"rater": "policy:midpoint"},
]


@pytest.mark.parametrize("changes", BAD, ids=str)
async def test_a_draft_that_does_not_fit_is_refused(changes: dict[str, Any], runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs)
    with pytest.raises(BadInput):
        await reviews.save("run", draft(tasks[0], **changes))
    assert (await reviews.queue("ada")).decided == 0


@pytest.mark.parametrize("ratings", [{"overall": 0}, {"overall": 6}, {"beauty": 3}, {"overall": "x"}])
def test_a_rating_out_of_range_is_no_draft(ratings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Draft.model_validate(
            {"item_id": "a", "rater": "ada", "decision": "approve", "ratings": ratings, "decided_at": NOON}
        )


async def test_of_two_people_the_first_counts_and_the_second_is_told(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs)
    for rater, decision in (("ada", "approve"), ("bob", "reject")):
        await reviews.save("run", draft(tasks[0], decision, rater))
    await reviews.save("run", draft(tasks[1], "reject", "bob"))
    first, second = await reviews.send("run", "ada"), await reviews.send("run", "bob")
    assert (first.sent, first.settled, first.told) == (1, 1, ())
    assert (second.sent, second.settled) == (2, 1)
    (told,) = second.told
    assert "approved by ada at 2026-01-02 12:00:00 UTC" in told
    kept: list[Review] = await ReviewStore(runs.services.database).find("run", Review, [tasks[0].id])
    assert [(one.decision, one.reviewer) for one in kept] == [("approve", "ada")]
    with pytest.raises(AlreadyDecided, match="approved by ada") as caught:
        await reviews.save("run", draft(tasks[0], "reject", "eve"))
    assert (caught.value.who, caught.value.when) == ("ada", NOON)
    item = await reviews.item("run", tasks[0].id, "eve")
    assert item.decided is not None and item.decided.who == "ada" and len(item.history) == 2
    assert (await reviews.queue("ada")).waiting == 3 and (await reviews.queue("ada")).decided == 0


async def test_what_is_skipped_stays_and_what_cannot_be_judged_is_sent(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs)
    await reviews.save("run", draft(tasks[0], "skip"))
    await reviews.save("run", draft(tasks[1], "cannot_judge"))
    sent = await reviews.send("run", "ada")
    assert (sent.sent, sent.settled, sent.complete) == (1, 1, False)
    page = await reviews.queue("ada")
    assert (page.waiting, page.decided) == (4, 1)


async def test_several_people_rate_an_item_blind_and_the_majority_decides(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs, raters=2)
    said = (("ada", "approve", 5), ("bob", "reject", 2), ("eve", "approve", 4))
    for rater, decision, stars in said:
        await reviews.save("run", draft(tasks[0], decision, rater, ratings={"overall": stars}))
        before = await reviews.item("run", tasks[0].id, rater)
        assert before.decided is None and before.history == ()
        sent = await reviews.send("run", rater)
        assert (sent.sent, sent.settled) == (1, int(rater == "eve"))
        assert (await reviews.queue(rater)).waiting == 4
    with pytest.raises(AlreadyDecided, match=r"approved by ada, eve"):
        await reviews.save("run", draft(tasks[0], "reject", "ada"))
    item = await reviews.item("run", tasks[0].id, "ada")
    assert [rating.rater for rating in item.history] == ["ada", "bob", "eve"]
    (kept,) = await ReviewStore(runs.services.database).find("run", Review, [tasks[0].id])
    assert (kept.decision, kept.reviewer, kept.ratings) == ("approve", "ada, eve", {"overall": 4})


async def test_a_second_person_of_the_same_name_is_told(runs: Runs, reviews: Reviews) -> None:
    tasks = await fill(runs, raters=2)
    await reviews.save("run", draft(tasks[0]))
    await reviews.send("run", "ada")
    with pytest.raises(AlreadyDecided, match="another name"):
        await reviews.save("run", draft(tasks[0], "reject"))


def rating(decision: str, rater: str, minute: int = 0, **changes: Any) -> Rating:
    fields = {"item_id": "a", "rater": rater, "decision": decision, "decided_at": NOON + timedelta(minutes=minute)}
    return Rating.model_validate(fields | changes)


TASK = review_task(candidate(sample()), id="a")


@pytest.mark.parametrize(
    ("decisions", "raters", "decided"),
    [
        ([], 1, None),
        (["skip"], 1, None),
        (["approve"], 1, "approve"),
        (["approve"], 2, None),
        (["approve", "approve"], 2, "approve"),
        (["approve", "reject"], 2, None),
        (["approve", "reject", "reject"], 2, "reject"),
        (["approve", "reject", "edit"], 2, None),
        (["approve", "reject", "cannot_judge", "reject"], 3, "reject"),
        (["cannot_judge"], 1, "cannot_judge"),
        (["approve", "reject", "skip"], 2, None),
    ],
)
def test_a_majority_of_enough_people_decides(decisions: list[str], raters: int, decided: str | None) -> None:
    ratings = [rating(one, f"p{n}", n, text="Mine." if one == "edit" else "") for n, one in enumerate(decisions)]
    found = review_of(TASK, ratings, raters)
    assert (found.decision if found else None) == decided
    assert review_of(TASK, ratings[::-1], raters) == found


def test_the_first_of_several_edits_is_the_text() -> None:
    found = review_of(TASK, [rating("edit", "b", 1, text="Two."), rating("edit", "a", 2, text="One.")], 2)
    assert found is not None and (found.text, found.reviewer) == ("Two.", "b, a")
    assert found.id == content_hash("review", "a")


async def test_of_two_people_who_send_at_once_one_decides_and_the_other_is_told(runs: Runs, reviews: Reviews) -> None:
    first = (await fill(runs))[0].id
    await reviews.save("run", Draft(item_id=first, rater="ada", decision="approve", decided_at=NOON))
    await reviews.save("run", Draft(item_id=first, rater="bob", decision="reject", decided_at=NOON))
    both = await asyncio.gather(reviews.send("run", "ada"), reviews.send("run", "bob"))
    assert sorted(one.settled for one in both) == [0, 1]
    assert [len(one.told) for one in sorted(both, key=lambda one: one.settled)] == [1, 0]


async def test_a_draft_that_is_changed_while_its_batch_is_sent_stays(
    runs: Runs, reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await fill(runs))[0].id
    await reviews.save("run", draft(await reviews._task("run", first), "approve"))
    rate, changed = ReviewStore.rate, NOON + timedelta(seconds=1)

    async def late(self: ReviewStore, *given: Any) -> Any:
        await reviews.save("run", Draft(item_id=first, rater="ada", decision="reject", decided_at=changed))
        return await rate(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(ReviewStore, "rate", late)
        assert (await reviews.send("run", "ada")).sent == 1
    ((left,), _) = await reviews.drafts("ada")
    assert left.draft == "reject"
    assert len((await reviews.send("run", "ada")).told) == 1, "the first that was sent counts"
    assert (await reviews.drafts("ada"))[0] == ()
