"""The page on which people ask and rate, in a real browser: by keyboard alone, with hostile text, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from state.database import Database
from state.feedback import Feedback, FeedbackStore
from tests.browsing import CHROMIUM, chromium, served
from tests.test_ask_pages import VERSION, Echo
from tests.test_review_browser import HOSTILE, PHONE, aside, open_page

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def asking(browser: Browser, home: Path, **options: Any) -> Iterator[Page]:
    """Yield the page on which one asks; a request to anywhere else fails the test."""
    with served(home) as (url, app), open_page(browser, url, **options) as page:
        app.state.chat.engine = Echo()
        elsewhere: list[str] = []
        page.on("request", lambda sent: None if sent.url.startswith(url) else elsewhere.append(sent.url))
        page.goto("/ask")
        yield page
        assert elsewhere == []


def kept(home: Path) -> list[Feedback]:
    async def read() -> list[Feedback]:
        database = Database(f"sqlite:///{home / 'corral.db'}")
        found = await FeedbackStore(database).feedback()
        await database.close()
        return found

    return aside(read())


def test_a_person_asks_and_rates_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    with asking(browser, tmp_path) as page:
        question = page.get_by_label("What should it do?")
        for _ in range(20):
            if question.evaluate("field => field === document.activeElement"):
                break
            page.keyboard.press("Tab")
        page.keyboard.type("Name a river, in 1 word.")
        page.keyboard.press("Control+Enter")
        expect(page.locator("h1")).to_have_text(f"Answer of {VERSION}")
        expect(page.locator("#answer + .text")).to_have_text("You asked: Name a river, in 1 word.")
        page.keyboard.press("2")
        page.keyboard.press("m")
        page.keyboard.type("3 words too many")
        page.keyboard.press("Enter")
        page.keyboard.press("e")
        page.keyboard.press("Control+A")
        page.keyboard.type("The Loire.")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".message.kept")).to_contain_text("Your feedback is kept: 2 of 5 stars")
        (one,) = kept(tmp_path)
        assert (one.stars, one.comment, one.corrected) == (2, "3 words too many", "The Loire.")
        page.keyboard.press("5")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".message.kept")).to_contain_text("Your feedback is kept: 5 of 5 stars")
        page.keyboard.press("n")
        expect(question).to_have_value("")


def test_hostile_text_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    with asking(browser, tmp_path) as page:
        for name in ("script", "overrides", "right-to-left", "long"):
            text = HOSTILE[name]
            page.goto("/ask")
            page.get_by_label("What should it do?").fill(text)
            page.keyboard.press("Control+Enter")
            page.wait_for_url("**/ask/chatcmpl-*")
            shown = r"user\u202e\u2066txt.exe\u2069" if name == "overrides" else text
            assert page.title() == "Answer - Corral", name
            assert page.locator("#turn1 + .text").inner_text() == shown
            assert page.locator("#answer + .text").inner_text() == f"You asked: {shown}"
            assert page.locator("#corrected").input_value() == f"You asked: {text}"
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name


def test_a_form_works_without_javascript_and_a_screen_reader_finds_no_serious_fault(
    browser: Browser, tmp_path: Path
) -> None:
    with asking(browser, tmp_path, java_script_enabled=False) as page:
        page.get_by_label("What should it do?").fill("Name a river.")
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("radio", name="4").check()
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".message.kept")).to_contain_text("4 of 5 stars")
        assert [one.stars for one in kept(tmp_path)] == [4]
    with asking(browser, tmp_path) as page:
        page.get_by_label("What should it do?").fill("Name a river.")
        for place in ("the form", "the answer"):
            if place == "the answer":
                page.keyboard.press("Control+Enter")
                page.wait_for_url("**/ask/chatcmpl-*")
                page.keyboard.press("e")
            found = Axe().run(page).response["violations"]
            assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] != "minor"] == [], place
            page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a dictionary of two numbers
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), place
