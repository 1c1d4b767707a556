"""The page on which people ask what is deployed and rate the answer, as forms alone and in a browser."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.browsing import ADA, GRACE, PAGE, TOKENS, client, form, log_in
from tools.engine.asked import Asked, Piece

VERSION = "v1-00000000"


class Echo:
    """A version that says what it was asked, and the engine that has it alone."""

    version = VERSION

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[Echo]:
        assert model == "current"
        yield self

    async def begin(self, asked: Asked) -> AsyncGenerator[Piece]:
        async def pieces() -> AsyncGenerator[Piece]:
            said = asked.turns[-1]["content"].replace("\n\n", " <b>with</b> ")
            yield Piece(text=f"You asked: {said}", finish="stop", prompt_tokens=4, completion_tokens=4)

        return pieces()

    async def close(self) -> None: ...


@pytest.fixture
def browser(tmp_path: Path) -> Any:
    with client(tmp_path) as opened:
        opened.app.state.chat.engine = Echo()  # type: ignore[attr-defined]
        yield opened


def kept(browser: TestClient) -> list[Any]:
    runs: Any = browser.app.state.runs  # type: ignore[attr-defined]
    assert browser.portal is not None
    found: list[Any] = browser.portal.call(runs.services.feedback.feedback)
    return found


def asked(browser: TestClient, instruction: str, given: str = "") -> str:
    sent = browser.post("/ask", data=form(browser, instruction=instruction, input=given), headers=PAGE)
    assert sent.status_code == 303, sent.text
    return str(sent.headers["location"])


def test_a_person_asks_and_says_what_the_answer_is_worth(browser: TestClient) -> None:
    place = asked(browser, "Name a river.", "In France.")
    page = browser.get(place, headers=PAGE).text
    assert "You asked: Name a river. &lt;b&gt;with&lt;/b&gt; In France." in page and VERSION in page
    rated = {"stars": "2", "comment": "Too short", "corrected": "The Loire.\r\nIn France."}
    for _ in range(2):
        assert browser.post(place, data=form(browser, **rated), headers=PAGE).headers["location"] == place
    (one,) = kept(browser)
    assert (one.version, one.rater, one.stars, one.comment) == (VERSION, "tester", 2, "Too short")
    assert one.corrected == "The Loire.\nIn France."
    assert "Your feedback is kept: 2 of 5 stars" in browser.get(place, headers=PAGE).text


def test_an_answer_that_is_left_as_it_was_is_no_correction(browser: TestClient) -> None:
    place = asked(browser, "Name a river.")
    said = form(browser, stars="5", corrected="You asked: Name a river.")
    assert browser.post(place, data=said, headers=PAGE).status_code == 303
    (one,) = kept(browser)
    assert (one.stars, one.corrected) == (5, "")


def test_what_says_nothing_or_asks_nothing_is_told(browser: TestClient) -> None:
    place = asked(browser, "Name a river.")
    assert browser.post("/ask", data=form(browser, instruction=" "), headers=PAGE).status_code == 422
    assert browser.post(place, data=form(browser), headers=PAGE).status_code == 422
    assert browser.post(place, data=form(browser, stars="6"), headers=PAGE).status_code == 422
    assert browser.post("/ask", data={"instruction": "Name a river."}, headers=PAGE).status_code == 403
    assert browser.get("/ask/unknown", headers=PAGE).status_code == 404
    assert kept(browser) == []


def test_without_a_deployed_version_the_page_says_so_and_keeps_what_was_typed(tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        told = browser.post("/ask", data=form(browser, instruction="Name a river."), headers=PAGE)
    assert told.status_code == 404 and 'role="alert"' in told.text and "Name a river." in told.text


def test_nobody_sees_or_rates_what_another_was_answered(tmp_path: Path) -> None:
    with client(tmp_path, serve_tokens=TOKENS) as browser:
        browser.app.state.chat.engine = Echo()  # type: ignore[attr-defined]
        assert browser.get("/ask", headers=PAGE).status_code == 303, "log in first"
        log_in(browser, ADA)
        place = asked(browser, "Name a river.")
        log_in(browser, GRACE)
        assert browser.get(place, headers=PAGE).status_code == 404
        assert browser.post(place, data=form(browser, stars="1"), headers=PAGE).status_code == 404
        assert kept(browser) == []
