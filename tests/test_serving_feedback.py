"""``POST /feedback``: tied to what was served, by name or token, and said twice it is said once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from graph.served import record_answer
from tests.browsing import ADA, TOKENS, client

VERSION = "v1-00000000"


def serve(browser: TestClient) -> None:
    runs: Any = browser.app.state.runs  # type: ignore[attr-defined]

    async def work() -> None:
        asked = [{"role": "user", "content": "Name a river."}]
        await record_answer(runs.services, "chatcmpl-1", version=VERSION, messages=asked, text="The Rhine.")

    assert browser.portal is not None
    browser.portal.call(work)


def kept(browser: TestClient) -> list[Any]:
    runs: Any = browser.app.state.runs  # type: ignore[attr-defined]
    assert browser.portal is not None
    found: list[Any] = browser.portal.call(runs.services.feedback.feedback)
    return found


def test_what_is_said_is_kept_once_with_the_version_that_answered(tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        serve(browser)
        said = {"id": "chatcmpl-1", "stars": 2, "comment": "Which one?", "corrected": "The Rhine and the Danube."}
        first, again = browser.post("/feedback", json=said), browser.post("/feedback", json=said)
        assert first.status_code == again.status_code == 200 and first.json() == again.json()
        assert (first.json()["version"], first.json()["rater"]) == (VERSION, "tester")
        browser.post("/feedback", json={"id": "chatcmpl-1", "thumb": "up", "user": "grace"})
        assert [(one.rater, one.stars) for one in kept(browser)] == [("tester", 2), ("grace", 4)]


def test_the_name_behind_the_token_is_the_raters(tmp_path: Path) -> None:
    with client(tmp_path, serve_tokens=TOKENS) as browser:
        serve(browser)
        said = {"id": "chatcmpl-1", "stars": 5}
        assert browser.post("/feedback", json=said).status_code == 401
        ada = {"authorization": f"Bearer {ADA}"}
        assert browser.post("/feedback", json=said, headers=ada).json()["rater"] == "ada"
        of_app = browser.post("/feedback", json=said | {"user": "grace"}, headers=ada)
        assert of_app.json()["rater"] == "ada/grace", "nobody rates in another's name"
        assert len(kept(browser)) == 2


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        ({"id": "chatcmpl-9", "stars": 3}, 404, "no answer 'chatcmpl-9' was served here"),
        ({"id": "chatcmpl-1"}, 400, "nothing is said"),
        ({"id": "chatcmpl-1", "stars": 6}, 400, "less than or equal to 5"),
        ({"id": "chatcmpl-1", "stars": 2.5}, 400, "integer"),
        ({"id": "chatcmpl-1", "stars": True}, 400, "integer"),
        ({"id": "chatcmpl-1", "thumb": "sideways"}, 400, "'up' or 'down'"),
        ({"id": "chatcmpl-1", "stars": 1, "thumb": "down"}, 400, "not both"),
        ({"id": "chatcmpl-1", "star": 1}, 400, "Extra inputs"),
        ({"id": "a\x00b", "stars": 1}, 400, "pattern"),
        ({"stars": 1}, 400, "Field required"),
        ({"id": "chatcmpl-1", "comment": "x" * 100_001}, 400, "at most 100000 characters"),
    ],
)
def test_what_cannot_be_feedback_is_refused(tmp_path: Path, said: dict[str, Any], status: int, why: str) -> None:
    with client(tmp_path) as browser:
        serve(browser)
        told = browser.post("/feedback", json=said)
        error = told.json()["error"]
        assert told.status_code == status and why in error["message"], told.text
        assert error["type"] == "invalid_request_error" and error.keys() == {"message", "type", "param", "code"}
        assert kept(browser) == []


def test_no_other_site_may_rate(tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        serve(browser)
        said = {"id": "chatcmpl-1", "stars": 1}
        foreign = browser.post("/feedback", json=said, headers={"origin": "http://elsewhere.example"})
        assert foreign.status_code == 403
        plain = browser.post(
            "/feedback", content=b'{"id":"chatcmpl-1","stars":1}', headers={"content-type": "text/plain"}
        )
        assert plain.status_code == 400
        assert kept(browser) == []


@pytest.mark.parametrize(
    "body",
    ['{"id": "chatcmpl-1", "stars": NaN}', '{"id": "chatcmpl-1", "stars": 1e999}', '{"id": "\\ud800", "stars": 9}'],
)
def test_what_is_no_json_value_is_refused_in_one_line(body: str, tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        found = browser.post("/feedback", content=body, headers={"content-type": "application/json"})
    assert found.status_code == 400 and "\n" not in found.json()["error"]["message"]


@pytest.mark.parametrize("user", ["policy:approve", "a\u202eb", "a\nb"])
def test_no_user_takes_a_policys_name_or_one_that_cannot_be_read(user: str, tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        serve(browser)
        assert browser.post("/feedback", json={"id": "chatcmpl-1", "stars": 5, "user": user}).status_code == 400
        assert kept(browser) == []
