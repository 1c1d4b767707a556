"""The browser of rows in a real browser, from the disk and from the application: filter, search, page, open."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from graph.row_browser import write_rows
from graph.services import open_services
from state.request import RunRequest
from tests.browsing import CHROMIUM, chromium, client
from tests.builders import candidate, judgement, sample
from tools.report import REPORT, ROWS
from tools.settings import Settings

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium; .ci/run installs it")
HOSTILE = "<script>document.title='broken'</script>"


async def fill(home: Path) -> Path:
    async with open_services(Settings(home=home)) as services:
        await services.store.open_run("run", RunRequest())
        asked = [sample(f"Ask {n}. {HOSTILE}") for n in range(60)]
        answers = [candidate(one, f"Answer {n} {HOSTILE}", outcome="accepted") for n, one in enumerate(asked)]
        await services.store.add("run", asked)
        await services.store.add("run", answers)
        await services.store.add("run", [judgement(one, 1 + n % 5, float(n)) for n, one in enumerate(answers)])
        return await write_rows(services, "run", {}, services.runs_folder / "run" / REPORT)


def look_around(page: Page) -> None:
    expect(page.locator("#count")).to_have_text("120 of 120 rows")
    expect(page.locator("#rows details")).to_have_count(50)
    page.click("#next")
    expect(page.locator("#page")).to_have_text("page 2 of 3")
    page.select_option("#filter-kind", label="answer (60)")
    page.fill("#low", "50")
    page.select_option("#order", "highest")
    expect(page.locator("#count")).to_have_text("10 of 120 rows")
    expect(page.locator("#rows summary b").first).to_have_text("59.0")
    page.locator("#rows summary").first.click()
    expect(page.locator("#rows meter")).to_have_count(5)
    assert HOSTILE in page.locator("#rows details pre").nth(1).inner_text()
    page.fill("#words", "answer 57 ")
    expect(page.locator("#count")).to_have_text("1 of 120 rows")
    assert page.title() == "run: all rows"


def test_rows_are_filtered_searched_and_read_from_the_disk_and_from_the_application(tmp_path: Path) -> None:
    path = asyncio.run(fill(tmp_path))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(path.as_uri())
        look_around(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert faults == []
    with client(tmp_path) as web:
        shown = web.get(f"/runs/run/{ROWS}")
        assert shown.status_code == 200 and shown.content == path.read_bytes()
        policy = shown.headers["content-security-policy"]
        assert "sandbox allow-scripts" in policy and "default-src 'none'" in policy
        assert ROWS in web.get("/runs/run", headers={"accept": "text/html"}).text
        assert web.get(f"/runs/other/{ROWS}").status_code == 404
