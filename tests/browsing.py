"""The web application as a browser or a client sees it, in this process and without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from serving.access import BROWSER
from serving.app import create_app
from tools.settings import Settings

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
