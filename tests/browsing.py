"""The web application as a client sees it, in this process; as a browser does, on a port; and what waits in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, sync_playwright

from serving.access import BROWSER
from serving.app import create_app
from state.records import Outcome, ReviewTask, Sample
from state.request import RunRequest
from state.reviewing import ReviewStore
from state.store import RecordStore
from tests.builders import NOON, candidate, judgement, sample
from tools.settings import Settings

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)

ADA, GRACE = "ada-s-token-of-32-letters-or-so", "grace-has-another-token-than-ada"
TOKENS = {"ada": ADA, "grace": GRACE}
PAGE = {"accept": "text/html"}


@contextmanager
def client(home: Path, **settings: Any) -> Iterator[TestClient]:
    """Yield a client of the application on this machine; the settings are over the defaults."""
    made = Settings(home=home, reviewer="tester", **settings)
    with TestClient(
        create_app(lambda: made), base_url="http://localhost", client=("127.0.0.1", 50_000), follow_redirects=False
    ) as opened:
        yield opened


def form(browser: TestClient, **fields: str) -> dict[str, str]:
    """Return the fields of a form of ours, as this browser would send them."""
    if BROWSER not in browser.cookies:
        browser.get("/login", headers=PAGE)
        browser.get("/runs", headers=PAGE)
    return {"csrf": browser.cookies[BROWSER], **fields}


def log_in(browser: TestClient, token: str) -> None:
    """Log in as a person does."""
    assert browser.post("/login", data=form(browser, token=token)).status_code == 303


async def add_waiting(
    store: RecordStore,
    run: str,
    texts: Sequence[str],
    *,
    prompt: str = "Name three rivers.",
    pairs: int = 0,
    judge: str = "crew-1",
    **review: Any,
) -> list[ReviewTask]:
    """Put completions before people in a run that need not have begun, and compare the first ones in pairs."""
    await store.open_run(run, RunRequest.model_validate({"review": review}))
    asked: Sample = sample(prompt, checks=[{"kind": "max_words", "value": 5}])
    made = [candidate(asked, text, draw=number, outcome=Outcome.WAITING) for number, text in enumerate(texts)]
    await store.add(run, [asked])
    await store.add(run, made)
    await store.add(run, [judgement(one, 3, 60.0, judge=judge) for one in made])
    common: dict[str, Any] = {"sample_id": asked.id, "machine": Outcome.WAITING, "head": prompt[:120]}
    tasks = [
        ReviewTask(
            id=one.id,
            kind="completion",
            why=("between_thresholds",) if number % 2 else ("checks_disagree",),
            position=number,
            disagreement=number / len(made),
            opened_at=NOON + timedelta(seconds=number),
            **common,
        )
        for number, one in enumerate(made)
    ]
    tasks += [
        ReviewTask(
            id=f"pair-{number}",
            kind="pair",
            candidates=(made[2 * number].id, made[2 * number + 1].id),
            why=("human_share",),
            position=len(made) + number,
            disagreement=0.0,
            opened_at=NOON + timedelta(seconds=len(made) + number),
            **common,
        )
        for number in range(pairs)
    ]
    await ReviewStore(store.database).open_tasks(run, tasks)
    return tasks


@contextmanager
def served(home: Path, port: int = 0, **settings: Any) -> Iterator[tuple[str, Any]]:
    """Serve the application on this machine, on a free port or this one; yields its address and the application."""
    made = Settings(home=home, reviewer="tester", **settings)
    app = create_app(lambda: made)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", app
    server.should_exit = True
    thread.join(30)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium, without a window and without a word to its makers."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()
