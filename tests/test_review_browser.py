"""The review in a real browser: by keyboard alone, by two people, with hostile text, through a kill, for everybody."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from graph.runs import open_runs
from state.database import Database
from state.records import Outcome, ReviewTask, Sample
from state.request import RunRequest
from state.store import RecordStore
from tests.browsing import ADA, CHROMIUM, GRACE, TOKENS, add_waiting, chromium, served
from tests.builders import candidate, judgement
from tests.harness import ROOT, write_prompts
from tools.settings import Settings

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}: apt-get install chromium"
)
T = TypeVar("T")
PICTURES = ROOT / "build" / "screenshots"
"""Where the pictures of the pages are left, for whoever looks at a build."""
SECONDS = 30
"""How long anything may take: other tests run at the same time."""
expect.set_options(timeout=SECONDS * 1000)
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
HOSTILE = {
    "script": "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">{{ 7 * 7 }}",
    "terminal": "a\x1b[31mred\x1b]0;title\x07\x00b",
    "overrides": "user\u202e\u2066txt.exe\u2069",
    "right-to-left": "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, hello",
    "lines": "\n".join(f"line {number}" for number in range(3000)),
    "long": "x" * 1_000_000,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def open_page(browser: Browser, url: str, token: str = "", **options: Any) -> Iterator[Page]:
    """Yield a page of a browser of its own, which logs in first; what its console complains of fails the test."""
    context = browser.new_context(base_url=url, **{"viewport": DESKTOP, **options})
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if "Content Security Policy" in line.text else None)
    if token:
        page.goto("/login")
        page.get_by_label("Your token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_url("**/review")
    yield page
    assert complaints == []
    context.close()


def put(home: Path, run: str, texts: list[str], **more: Any) -> list[ReviewTask]:
    """Put completions before people."""

    async def write() -> list[ReviewTask]:
        database = Database(f"sqlite:///{home / 'corral.db'}")
        await database.create()
        tasks = await add_waiting(RecordStore(database), run, texts, **more)
        await database.close()
        return tasks

    return aside(write())


def aside(work: Coroutine[Any, Any, T]) -> T:
    """Do asynchronous work in a thread: Playwright's own loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _judged(home: Path) -> None:
    """Take a run as far as its gates, and write the answers and judgements that would follow.

    It goes on to its dataset, and stops before a training, which would be the test's longest part.
    """
    wanted = {"generation": {"target": 0}, "sampling": {"candidates": 1, "scaffold_draws": 0, "repairs": 0}}
    sources = {"prompts": str(write_prompts(home / "prompts.jsonl", 4, 2))}
    request = RunRequest.model_validate(wanted | {"sources": sources, "judge": {"licence": 0.9}})
    async with open_runs(Settings(home=home)) as runs:
        await runs.create(request, "first")
        async for _ in runs.advance("first", last="gate"):
            pass
        store = runs.services.store
        asked = await store.find("first", Sample, tag="train")
        answers = [candidate(one, "A sentence. And another.", outcome=Outcome.WAITING) for one in asked]
        await store.add("first", answers)
        await store.add("first", [judgement(one, 3, 60.0) for one in answers])


def progress(page: Page, decided: int, to_go: int) -> None:
    expect(page.locator(".progress")).to_contain_text(f"{decided} decided and not sent, {to_go} to go")


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def test_a_batch_is_decided_by_keyboard_alone_and_the_run_goes_on(browser: Browser, tmp_path: Path) -> None:
    aside(_judged(tmp_path))
    with served(tmp_path) as (url, _), open_page(browser, url) as page:
        page.goto("/runs/first")
        page.get_by_role("button", name="Go on with it").click()
        expect(page.locator("#live > .standing")).to_contain_text("waiting at review")
        picture(page, "run-waiting")

        page.goto("/review")
        waiting = page.locator(".queue li").count()
        assert waiting >= 3
        page.keyboard.press("Enter")
        answer = page.locator("#answer + .text")
        first = answer.inner_text()
        page.keyboard.press("4")
        page.keyboard.press("a")
        progress(page, 1, waiting - 1)
        page.keyboard.press("e")
        page.keyboard.press("Control+A")
        page.keyboard.type("A text of my own. It has two sentences.")
        expect(page.locator("#verdicts")).to_contain_text("passed")
        page.keyboard.press("Control+Enter")
        progress(page, 2, waiting - 2)
        page.keyboard.press("u")
        expect(page.get_by_label("Your own text")).to_have_count(1)
        progress(page, 1, waiting - 1)
        page.keyboard.press("u")
        progress(page, 0, waiting)
        expect(answer).to_have_text(first)
        for place in range(waiting):
            page.keyboard.press("r" if place == 1 else "a")
            if place < waiting - 1:
                progress(page, place + 1, waiting - place - 1)
        expect(page.locator("h1")).to_have_text("The batch")
        picture(page, "batch")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("The batch is sent")
        page.locator("a.going").press("Enter")
        expect(page.locator(".step.failed .name")).to_have_text("assemble")
        expect(page.locator(".step", has_text="review")).to_have_class(re.compile("done"))
        expect(page.locator("body")).to_contain_text("by a person: tester")
        picture(page, "run-went-on")


def test_of_two_people_the_second_is_told_who_and_when_in_place(browser: Browser, tmp_path: Path) -> None:
    (task,) = put(tmp_path, "shared", ["The Rhine."])
    with served(tmp_path, serve_tokens=TOKENS) as (url, _):
        with open_page(browser, url, ADA) as hers, open_page(browser, url, GRACE) as other:
            hers.goto(f"/review/shared/{task.id}")
            other.goto(f"/review/shared/{task.id}")
            other.keyboard.press("r")
            expect(other.locator("h1")).to_have_text("The batch")
            other.keyboard.press("Enter")
            expect(other.locator("h1")).to_have_text("The batch is sent")
            hers.keyboard.press("m")
            hers.keyboard.type("I like it")
            hers.keyboard.press("Enter")
            hers.keyboard.press("a")
            expect(hers.get_by_role("alert")).to_have_text(re.compile(r"rejected by grace at \d{4}-\d\d-\d\d .* UTC"))
            expect(hers.get_by_label("Comment")).to_have_value("I like it")
            hers.reload()
            expect(hers.locator(".message")).to_contain_text("rejected by grace")
            hers.goto("/review/batch")
            expect(hers.locator("main")).to_contain_text("You have decided nothing")


def test_an_expired_login_is_told_in_place_and_nothing_is_lost(browser: Browser, tmp_path: Path) -> None:
    (task,) = put(tmp_path, "shared", ["The Rhine."])
    with served(tmp_path, serve_tokens=TOKENS) as (url, _), open_page(browser, url, ADA) as page:
        page.goto(f"/review/shared/{task.id}")
        page.keyboard.press("m")
        page.keyboard.type("typed before")
        page.keyboard.press("Escape")
        while not page.evaluate("sessionStorage.length"):
            page.wait_for_timeout(50)
        page.reload()
        expect(page.get_by_label("Comment")).to_have_value("typed before")
        page.context.clear_cookies(name="corral_login")
        page.keyboard.press("a")
        expect(page.get_by_role("alert")).to_contain_text("log in first")
        expect(page.get_by_label("Comment")).to_have_value("typed before")
        with page.context.expect_page() as opened:
            page.get_by_role("alert").get_by_role("link").click()
        opened.value.get_by_label("Your token").fill(ADA)
        opened.value.keyboard.press("Enter")
        opened.value.wait_for_url("**/review")
        page.bring_to_front()
        page.keyboard.press("a")
        expect(page.locator("h1")).to_have_text("The batch")


def test_hostile_text_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    tasks = dict(zip(HOSTILE, put(tmp_path, "hostile", list(HOSTILE.values()), prompt=HOSTILE["script"]), strict=True))
    with served(tmp_path) as (url, _), open_page(browser, url) as page:
        shown = {}
        for name, task in tasks.items():
            page.goto(f"/review/hostile/{task.id}")
            shown[name] = page.locator("#answer + .text").inner_text()
            assert page.title() == "Completion of hostile - Corral"
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
            assert page.locator("#prompt + .text").inner_text() == HOSTILE["script"]
        same = ("script", "right-to-left", "lines", "long")
        assert {name: shown[name] for name in same} == {name: HOSTILE[name] for name in same}
        assert shown["terminal"] == r"a\x1b[31mred\x1b]0;title\x07\x00b"
        assert shown["overrides"] == r"user\u202e\u2066txt.exe\u2069"
        page.goto("/review")
        assert page.title() == "Review - Corral" and page.locator(".queue li").count() == len(HOSTILE)
        # An edit that changes nothing of a long text with two kinds of line ends stays an approval when it is sent.
        page.goto(f"/review/hostile/{tasks['lines'].id}")
        page.keyboard.press("e")
        page.keyboard.press("Control+Enter")
        progress(page, 1, len(HOSTILE) - 1)


def test_a_server_that_is_killed_keeps_every_decision_and_the_page_what_is_typed(
    browser: Browser, tmp_path: Path
) -> None:
    put(tmp_path, "killed", [f"River {number}." for number in range(4)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first = _start(tmp_path, port)
    with open_page(browser, f"http://127.0.0.1:{port}") as page:
        page.goto("/review/next")
        page.keyboard.press("a")
        progress(page, 1, 3)
        page.keyboard.press("2")
        page.keyboard.press("r")
        progress(page, 2, 2)
        first.send_signal(signal.SIGKILL)
        first.wait()
        page.keyboard.press("m")
        page.keyboard.type("typed while it was away")
        page.keyboard.press("Enter")
        page.keyboard.press("a")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        with served(tmp_path, port=port):
            page.keyboard.press("a")
            progress(page, 3, 1)
            page.keyboard.press("Shift+B")
            expect(page.locator(".queue li")).to_have_count(3)


def _start(home: Path, port: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"CORRAL_HOME": str(home), "CORRAL_REVIEWER": "tester"}
    code = f"import uvicorn; uvicorn.run('serving.app:app', port={port}, log_level='error')"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment | {"CORRAL_HOME": str(home), "CORRAL_REVIEWER": "tester"},
    )
    for _ in range(600):
        assert process.poll() is None
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success:
                return process
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not start in a minute")


def test_the_pages_have_no_serious_fault_for_a_screen_reader_and_fit_a_phone(browser: Browser, tmp_path: Path) -> None:
    texts = [f"The Rhine, {number * 'the Danube, '}and the Ebro." for number in range(4)]
    tasks = put(tmp_path, "rivers", texts, pairs=1, prompt="Name three rivers of Europe, in at most five words.")
    item = f"/review/rivers/{tasks[0].id}"
    with served(tmp_path) as (url, _), open_page(browser, url) as page:
        page.goto(f"/review/rivers/{tasks[1].id}")
        page.keyboard.press("a")
        progress(page, 1, 4)
        for place in ("/review", item, "/review/rivers/pair-0", "/review/batch", "/runs", "/runs/rivers", "/runs/none"):
            page.goto(place)
            if page.locator("details.edit").count():
                page.keyboard.press("e")
            for scheme in ("light", "dark") if place in (item, "/runs/rivers") else ("light",):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its words
                found = Axe().run(page).response["violations"]
                assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] != "minor"] == [], place
            page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a dictionary of two numbers
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), place
            if place in (item, "/runs/rivers"):
                picture(page, f"{place.split('/')[1]}-phone-dark")
            page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]  # a dictionary of two numbers
            page.emulate_media(color_scheme="light")


def test_a_form_works_without_javascript(browser: Browser, tmp_path: Path) -> None:
    tasks = put(tmp_path, "rivers", ["The Rhine.", "The Po."])
    with served(tmp_path) as (url, _), open_page(browser, url, java_script_enabled=False) as page:
        page.goto(f"/review/rivers/{tasks[0].id}")
        page.get_by_label("Comment").fill("no script")
        page.get_by_role("button", name="Reject").click()
        progress(page, 1, 1)
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("h1")).to_contain_text("Completion")
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("button", name="Send the batch").click()
        expect(page.locator("h1")).to_have_text("The batch is sent")
        page.goto(page.url)
        expect(page.locator("h1")).to_have_text("The batch")
