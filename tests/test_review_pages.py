"""The review's pages as a client sees them: what they show, what a form does, and what is told of bad input."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from graph.reviews import Reviews
from serving.differences import MOST_PARTS, marked
from serving.presence import SECONDS, Presence
from serving.review_pages import WORDS
from state.records import ReviewTask
from state.request import RunRequest
from tests.browsing import ADA, GRACE, PAGE, TOKENS, add_waiting, client, form, log_in
from tools.judging.judge import identity_of
from tools.people.decisions import DECISIONS

TEXTS = [f"The river {number}." for number in range(4)]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[TestClient]:
    with client(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Yield a client of an application in which no decision is kept."""
    with client(tmp_path_factory.mktemp("untouched")) as opened:
        yield opened


def put(browser: TestClient, run: str = "rivers", texts: list[str] = TEXTS, **more: Any) -> list[ReviewTask]:
    runs = browser.app.state.runs  # type: ignore[attr-defined]
    assert browser.portal is not None

    async def write() -> list[ReviewTask]:
        return await add_waiting(runs.services.store, run, texts, **more)

    return browser.portal.call(write)


def reviews(browser: TestClient) -> Reviews:
    return Reviews(browser.app.state.runs)  # type: ignore[attr-defined]


def page(browser: TestClient, place: str) -> str:
    found = browser.get(place, headers=PAGE, follow_redirects=True)
    assert found.status_code == 200, found.text
    return unescape(found.text)


def decide(browser: TestClient, task: ReviewTask, decision: str, query: str = "", **fields: str) -> Any:
    place = f"/review/rivers/{task.id}{query}"
    return browser.post(place, data=form(browser, decision=decision, **fields), headers=PAGE)


# What is shown


def test_the_queue_is_filtered_ordered_and_says_why_each_item_waits(browser: TestClient) -> None:
    put(browser)
    put(browser, "lakes", ["The lake."], prompt="Name a lake.")
    shown = page(browser, "/review")
    assert shown.count("completion of") == 5 and "0 decided and not sent, 5 to go" in shown
    assert "checks and judge disagree about it" in shown
    assert page(browser, "/review?run=lakes").count("completion of") == 1
    assert page(browser, "/review?why=between_thresholds").count("completion of") == 2
    assert page(browser, "/review?why=audit").count("Nothing waits for you here") == 1
    first = page(browser, "/review/next?order=disagreement&run=rivers")
    assert "The river 3." in first


def test_an_item_is_shown_with_its_scores_and_what_may_be_decided(browser: TestClient) -> None:
    tasks = put(browser, pairs=1)
    shown = page(browser, f"/review/rivers/{tasks[0].id}")
    for words in ("The river 0.", "Name three rivers.", "brand alignment", "Overall 60 of 100", "<kbd>a</kbd>"):
        assert words in shown, words
    assert shown.count('type="radio"') == 25 and "A is better" not in shown
    pair = page(browser, "/review/rivers/pair-0")
    assert "The river <mark>0.</mark>" in pair and "The river <mark>1.</mark>" in pair
    assert "A is better" in pair and "Approve" not in pair and "Overall 60" not in pair


def test_every_decision_has_a_button() -> None:
    assert set(WORDS) == set(DECISIONS)


# What a form does


def test_a_decision_is_kept_at_once_and_the_next_item_is_shown(browser: TestClient) -> None:
    tasks = put(browser)
    done = decide(browser, tasks[0], "approve", rating_overall="4", rating_honesty="2", comment=" fine ")
    assert (done.status_code, done.headers["location"]) == (303, "/review/next")
    shown = page(browser, "/review/next")
    assert "The river 1." in shown and "1 decided and not sent, 3 to go" in shown
    assert browser.portal is not None
    item = browser.portal.call(reviews(browser).item, "rivers", tasks[0].id, "tester")
    assert item.draft is not None and item.draft.comment == "fine"
    assert item.draft.ratings == {"overall": 4, "honesty": 2}


def test_the_next_item_is_the_one_behind_and_from_the_end_the_first(browser: TestClient) -> None:
    tasks = put(browser)
    place = browser.get("/review/next", headers=PAGE).headers["location"]
    seen = [place.split("?")[0].rpartition("/")[2]]
    for _ in range(4):
        query = place.partition("?")[2]
        place = browser.get(f"/review/next?{query}", headers=PAGE).headers["location"]
        seen.append(place.split("?")[0].rpartition("/")[2])
    assert seen == [task.id for task in (*tasks, tasks[0])]
    for task in tasks:
        decide(browser, task, "reject")
    assert browser.get("/review/next", headers=PAGE).headers["location"] == "/review/batch"


def test_undo_takes_back_the_last_decision_or_the_one_that_is_named(browser: TestClient) -> None:
    tasks = put(browser)
    for task in tasks[:3]:
        decide(browser, task, "approve")
    last = browser.post("/review/undo", data=form(browser), headers=PAGE)
    assert last.headers["location"] == f"/review/rivers/{tasks[2].id}"
    named = browser.post("/review/undo", data=form(browser, run_id="rivers", item_id=tasks[0].id), headers=PAGE)
    assert named.headers["location"] == f"/review/rivers/{tasks[0].id}"
    assert "1 decided and not sent, 3 to go" in page(browser, "/review")
    browser.post("/review/undo", data=form(browser))
    told = browser.post("/review/undo", data=form(browser))
    assert told.status_code == 422 and "nothing to take back" in told.json()["detail"]


def test_a_batch_is_sent_over_all_runs_and_what_was_skipped_stays(browser: TestClient) -> None:
    tasks, lakes = put(browser), put(browser, "lakes", ["The lake."])
    decide(browser, tasks[0], "approve")
    decide(browser, tasks[1], "skip")
    browser.post(f"/review/lakes/{lakes[0].id}", data=form(browser, decision="cannot_judge"))
    assert page(browser, "/review/batch").count("Take back") == 3
    sent = browser.post("/review/send", data=form(browser), headers=PAGE).text
    assert "Decisions sent: 2" in sent and sent.count("Take back") == 1
    assert "approved by tester" in page(browser, f"/review/rivers/{tasks[0].id}")


def test_an_edit_is_checked_while_it_is_written_and_keeps_its_ends_of_lines(browser: TestClient) -> None:
    tasks = put(browser, texts=["One.\r\nTwo.", "Three."])
    place = f"/review/rivers/{tasks[0].id}"
    for text, verdict in (("Rhine, Ebro, Po.", "passed"), ("The Rhine, the Ebro, the Po, the Oder.", "failed")):
        checked = browser.post(f"{place}/check", data=form(browser, text=text)).text
        assert f'badge {verdict}">{verdict}</span> max words' in checked
    decide(browser, tasks[0], "edit", text="One.\r\nTwo.")
    decide(browser, tasks[1], "edit", text="Four.\r\nFive.")
    assert browser.portal is not None
    kept = [browser.portal.call(reviews(browser).item, "rivers", task.id, "tester").draft for task in tasks]
    assert [draft.text for draft in kept if draft] == ["One.\r\nTwo.", "Four.\nFive."]


def test_the_queue_says_how_many_more_decisions_the_next_figure_needs(browser: TestClient) -> None:
    judge = identity_of(RunRequest().models.judge, RunRequest().judge, Path("none"))
    tasks = put(browser, texts=[f"The river {number}." for number in range(12)], judge=judge)
    assert "10 more decisions on completions of" in page(browser, "/review")
    assert "10 more decisions" in page(browser, "/runs/rivers/judge")
    for number, task in enumerate(tasks):
        decide(browser, task, "approve" if number % 2 else "reject", rating_overall="4")
    browser.post("/review/send", data=form(browser))
    shown = page(browser, "/runs/rivers/judge")
    assert "18 more decisions on completions, and the judge's scores can be recalibrated" in shown
    assert "People decided on 12 of its completions, and took 6 as they were" in shown
    assert "0.50 [0.50 to 0.50]" in shown  # all its scores are alike
    put(browser, "lakes", ["The lake."], prompt="Name a lake.")
    assert "10 more decisions on completions of" in page(browser, "/review?run=lakes")


# What is told


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"decision": "approve", "rating_overall": "6"}, "ratings.overall"),
        ({"decision": "approve", "rating_honesty": "0"}, "ratings.honesty"),
        ({"decision": "approve", "rating_honesty": "many"}, "ratings.honesty"),
        ({"decision": "maybe"}, "decision"),
        ({}, "decision"),
        ({"decision": "prefer_a"}, "one of approve"),
        ({"decision": "edit", "text": " "}, "text"),
    ],
)
def test_a_wrong_decision_is_told_in_place_and_what_was_typed_stays(
    untouched: TestClient, fields: dict[str, str], said: str
) -> None:
    tasks = put(untouched)
    given = form(untouched, **{"comment": "typed <b>before</b>", "rating_helpfulness": "3", **fields})
    answer = untouched.post(f"/review/rivers/{tasks[0].id}", data=given, headers=PAGE)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text and said in unescape(answer.text.partition('role="alert"')[2][:400])
    assert 'value="typed &lt;b&gt;before&lt;/b&gt;"' in answer.text
    assert 'name="rating_helpfulness" value="3" checked' in answer.text
    told = untouched.post(
        f"/review/rivers/{tasks[0].id}", data=given, headers={"accept": "application/json, text/html"}
    )
    assert told.status_code == 422 and said in told.json()["detail"]
    assert "0 decided and not sent" in page(untouched, "/review")


def test_who_comes_second_is_told_who_and_when(tmp_path: Path) -> None:
    with client(tmp_path, serve_tokens=TOKENS) as browser:
        tasks = put(browser)
        bearer = [{"authorization": f"Bearer {token}"} for token in (ADA, GRACE)]
        place = f"/review/rivers/{tasks[0].id}"
        drafted = browser.post(place, data={"decision": "approve"}, headers=bearer[0], follow_redirects=False)
        assert drafted.status_code == 303
        browser.post(place, data={"decision": "reject"}, headers=bearer[1])
        assert (
            "Decisions sent: 1. Items that are decided by them: 1."
            in browser.post("/review/send", headers=bearer[1]).text
        )
        second = browser.post(place, data={"decision": "approve"}, headers=bearer[0])
        assert second.status_code == 409 and "rejected by grace at 20" in second.json()["detail"]
        shown = browser.post(place, data={"decision": "approve", "comment": "mine"}, headers=bearer[0] | PAGE)
        assert shown.status_code == 409 and "rejected by grace at 20" in shown.text
        assert "rejected by grace" in browser.post("/review/send", headers=bearer[0]).text


def test_people_are_blind_to_each_other_until_an_item_is_decided(tmp_path: Path) -> None:
    with client(tmp_path, serve_tokens=TOKENS) as browser:
        (task,) = put(browser, texts=["The Rhine."], raters=2)
        log_in(browser, ADA)
        decide(browser, task, "reject", comment="dull indeed")
        browser.post("/review/send", data=form(browser))
        assert "You have sent your rating" in page(browser, f"/review/rivers/{task.id}")
        log_in(browser, GRACE)
        assert "dull indeed" not in page(browser, f"/review/rivers/{task.id}")
        decide(browser, task, "reject")
        browser.post("/review/send", data=form(browser))
        assert "dull indeed" in page(browser, f"/review/rivers/{task.id}")


@pytest.mark.parametrize(
    ("place", "status", "said"),
    [
        ("/review?why=nonsense", 422, "why"),
        ("/review?order=nonsense", 422, "order"),
        ("/review?after=nonsense", 422, "no such page"),
        ("/review/rivers/none", 422, "goes to people"),
        ("/review/none/none", 404, "no run"),
        ("/runs/none", 404, "no run"),
        ("/runs/rivers/report.html", 404, "no report.html yet"),
        ("/runs/none/rows.html", 404, "no run"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_in_one_line(
    untouched: TestClient, place: str, status: int, said: str
) -> None:
    put(untouched)
    for headers in (PAGE, {"accept": "application/json"}):
        answer = untouched.get(place, headers=headers)
        assert answer.status_code == status and said in unescape(answer.text), answer.text
    assert untouched.get(place, headers={"accept": "application/json"}).json()["detail"].count("\n") == 0


def test_two_browsers_of_one_name_are_told_of_each_other() -> None:
    now = [0.0]
    presence = Presence(lambda: now[0])
    assert presence.others("ada", "one") == "" == presence.others("ada", "one")
    now[0] = 120.0
    assert "reviews as ada too, 2 minutes ago." in presence.others("ada", "two")
    assert presence.others("grace", "two") == ""
    now[0] += SECONDS + 1
    assert presence.others("ada", "one") == ""


# Differences of a pair


@given(st.text(alphabet="ab \n", max_size=60), st.text(alphabet="ab \n", max_size=60))
def test_the_parts_of_both_answers_are_the_answers_and_what_is_alike_is_in_both(a: str, b: str) -> None:
    sides = marked(a, b)
    assert ["".join(part.text for part in side) for side in sides] == [a, b]
    alike = ["".join(part.text for part in side if not part.differs) for side in sides]
    assert alike[0] == alike[1]
    assert a == b or any(part.differs for side in sides for part in side)
    assert a != b or not any(part.differs for side in sides for part in side)


def test_long_answers_are_compared_by_lines_and_longer_ones_not_at_all(line: str = "a b c d") -> None:
    long = "\n".join([line] * (MOST_PARTS // 2))
    first, second = marked(f"{long} more", long)
    assert [(part.text, part.differs) for part in first][-1] == (f"{line} more", True)
    assert [(part.text, part.differs) for part in second][-1] == (line, True)
    huge = "\n".join([line] * MOST_PARTS)
    assert [(len(side), side[0].differs) for side in marked(huge, huge + "x")] == [(1, True), (1, True)]


def test_a_long_edit_is_kept_and_one_that_is_too_long_to_check_says_so(browser: TestClient) -> None:
    item = put(browser)[0].id
    text = "The Rhine flows. " * 90_000
    kept = browser.post(f"/review/rivers/{item}", data=form(browser, decision="edit", text=text))
    assert kept.status_code == 303
    told = browser.post(f"/review/rivers/{item}/check", data=form(browser, text=text))
    assert told.status_code == 422 and "too long to be checked" in told.text


@pytest.mark.parametrize("place", ["/login?next=//[", "/review?after=WzEsMiwzXQ==", "/review/batch?page=x"])
def test_no_address_breaks_a_page(place: str, untouched: TestClient) -> None:
    assert untouched.get(place, headers=PAGE, follow_redirects=True).status_code in (200, 422)
