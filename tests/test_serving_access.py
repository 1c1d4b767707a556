"""Who may use the application: tokens, logins, forms of ours alone, and this machine alone without tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from serving.access import BODY_BYTES, LOGIN, local_place, login_cookie, name_of_login, name_of_token
from state.errors import BadInput
from state.request import RunRequest
from tests.browsing import ADA, GRACE, PAGE, TOKENS, client, form, log_in
from tools.machine.loopback import is_loopback
from tools.settings import Settings, load_settings

GUARDED = ("/runs", "/runs/first", "/runs/first/live", "/runs/first/progress", "/runs/first/report.html")


def begin_run(browser: TestClient) -> None:
    runs = browser.app.state.runs  # type: ignore[attr-defined]
    assert browser.portal is not None
    browser.portal.call(runs.services.store.open_run, "first", RunRequest(name="first"))


@pytest.fixture(scope="module")
def open_with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client(tmp_path_factory.mktemp("with"), serve_tokens=TOKENS) as browser:
        begin_run(browser)
        yield browser


@pytest.fixture(scope="module")
def open_without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client(tmp_path_factory.mktemp("without")) as browser:
        begin_run(browser)
        yield browser


@pytest.fixture
def with_tokens(open_with_tokens: TestClient) -> TestClient:
    open_with_tokens.cookies.clear()
    return open_with_tokens


@pytest.fixture
def without(open_without: TestClient) -> TestClient:
    open_without.cookies.clear()
    return open_without


# With tokens


def test_nothing_but_the_login_is_shown_without_a_token(with_tokens: TestClient) -> None:
    for place in GUARDED:
        found = with_tokens.get(place, headers=PAGE)
        assert found.status_code == 303 and found.headers["location"].startswith("/login?next=%2Fruns"), place
        told = with_tokens.get(place)
        assert told.status_code == 401 and set(told.json()) == {"detail", "login"}, place
    for place in ("/runs/first/resume", "/runs/first/answer", "/name"):
        assert with_tokens.post(place, data=form(with_tokens)).status_code == 401, place
    assert with_tokens.get("/healthz").status_code == 200


def test_a_login_leads_back_and_its_name_is_the_raters(with_tokens: TestClient) -> None:
    log_in(with_tokens, ADA)
    page = with_tokens.get("/runs", headers=PAGE)
    assert page.status_code == 200 and "ada" in page.text and "Log out" in page.text
    done = with_tokens.post("/login", data=form(with_tokens, token=GRACE, next="/runs/first"))
    assert (done.status_code, done.headers["location"]) == (303, "/runs/first")
    with_tokens.post("/logout", data=form(with_tokens))
    assert with_tokens.get("/runs", headers=PAGE).status_code == 303


def test_a_cookie_can_neither_be_read_by_a_script_nor_sent_by_another_site(with_tokens: TestClient) -> None:
    done = with_tokens.post("/login", data=form(with_tokens, token=ADA))
    said = done.headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said and ADA not in said
    secure = with_tokens.post("https://localhost/login", data=form(with_tokens, token=ADA))
    assert "secure" in secure.headers["set-cookie"].lower()


def test_a_wrong_token_opens_nothing_and_is_not_repeated(
    with_tokens: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.entrance.SECONDS_AFTER_A_WRONG_TOKEN", 0.0)
    done = with_tokens.post("/login", data=form(with_tokens, token="no-such-token-anywhere"))
    assert done.status_code == 401 and "not known" in done.text and "no-such-token" not in done.text
    assert LOGIN not in with_tokens.cookies
    refused = with_tokens.get("/runs", headers={"authorization": "Bearer no-such-token-anywhere"})
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"


def test_a_bearer_token_needs_no_form_and_no_cookie(with_tokens: TestClient) -> None:
    bearer = {"authorization": f"Bearer {ADA}"}
    assert with_tokens.get("/runs/first/progress", headers=bearer).json()["status"]["standing"] == "new"
    answered = with_tokens.post("/runs/first/answer", headers=bearer, data={"decision": "approve"})
    assert answered.status_code == 409 and "does not wait" in answered.json()["detail"]


def test_a_login_ends_with_its_time_or_its_token() -> None:
    settings, now = Settings(serve_tokens=TOKENS), time.time()
    cookie = login_cookie(settings, "ada", int(now) + 60)
    assert name_of_login(settings, cookie, now) == "ada"
    assert name_of_login(settings, cookie, now + 61) is None
    assert name_of_login(Settings(serve_tokens={"ada": GRACE}), cookie, now) is None
    assert name_of_login(Settings(serve_tokens={"grace": ADA}), cookie, now) is None
    end, rest = cookie.split(".", 1)
    assert name_of_login(settings, f"{int(end) + 1}.{rest}", now) is None
    assert name_of_login(settings, cookie.replace(b"ada".hex(), b"grace".hex()), now) is None


@given(st.text(max_size=60))
def test_no_other_text_is_a_login_or_a_token(text: str) -> None:
    settings = Settings(serve_tokens=TOKENS)
    assert name_of_login(settings, text, 0.0) is None
    assert name_of_token(settings, text) is None


# Forms of ours


@pytest.mark.parametrize("csrf", ["", "guessed"])
def test_what_changes_something_needs_the_pages_own_form(without: TestClient, csrf: str) -> None:
    form(without)
    refused = without.post("/runs/first/resume", data={"csrf": csrf})
    assert refused.status_code == 403 and "load it again" in refused.json()["detail"]
    without.cookies.clear()
    assert without.post("/runs/first/resume", data={"csrf": ""}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_is_not_answered(without: TestClient, headers: dict[str, str]) -> None:
    fields = form(without)
    assert without.get("/runs", headers=headers).status_code == 403
    assert without.post("/runs/first/resume", data=fields, headers=headers).status_code == 403
    assert without.get("/login", headers=headers).status_code == 403


def test_a_link_on_another_site_may_be_followed(without: TestClient) -> None:
    assert without.get("/runs", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).is_success
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert without.post("/name", data=form(without, name="ada"), headers=own).status_code == 303


def test_a_form_of_any_size_is_not_read(without: TestClient) -> None:
    assert without.post("/name", data=form(without, name="x" * BODY_BYTES)).status_code == 413


# Without tokens


@pytest.mark.parametrize("host", ["corral.example", "127.0.0.1.elsewhere.example", "10.0.0.1", "[2001:db8::1]"])
def test_a_name_that_another_site_points_here_is_not_answered(without: TestClient, host: str) -> None:
    refused = without.get("/runs", headers={"host": host})
    assert refused.status_code == 403 and "CORRAL_SERVE_TOKENS" in refused.json()["detail"]
    assert without.get("/healthz", headers={"host": host}).is_success


def test_a_caller_elsewhere_or_behind_a_proxy_needs_a_token(without: TestClient) -> None:
    assert without.get("/runs", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 403
    elsewhere = TestClient(without.app, base_url="http://localhost", client=("192.0.2.1", 5))
    assert elsewhere.get("/runs").status_code == 403


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("", False)],
)
def test_loopback_is_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) == here


def test_the_name_is_the_settings_until_a_person_types_one(without: TestClient) -> None:
    assert "<summary>tester</summary>" in without.get("/runs", headers=PAGE).text
    assert without.post("/name", data=form(without, name=" Ada Löve ")).status_code == 303
    assert "<summary>Ada Löve</summary>" in without.get("/runs", headers=PAGE).text
    for wrong in ("", " ", "policy:mine", "a\nb", "\u202eada", "x" * 81):
        assert without.post("/name", data=form(without, name=wrong)).status_code == 422, wrong


# What a browser is told


def test_every_answer_says_what_a_browser_may_do_with_it(without: TestClient) -> None:
    for place in (*GUARDED, "/static/corral.css", "/static/corral.js", "/runs/none", "/no/such/page", "/healthz"):
        found = without.get(place, headers=PAGE).headers
        assert (
            "'unsafe" not in found["content-security-policy"]
            and "default-src 'none'" in found["content-security-policy"]
        ), place
        assert found["x-content-type-options"] == "nosniff" and found["x-frame-options"] == "DENY"
        assert found["referrer-policy"] == "same-origin" and found["cache-control"] == "no-store"


def test_pages_hold_no_script_and_no_style_of_their_own() -> None:
    root = Path(__file__).parent.parent / "serving"
    pages = sorted(root.glob("templates/*.html"))
    assert len(pages) > 4
    for path in pages:
        text = path.read_text()
        assert " style=" not in text and "<style" not in text and "|safe" not in text.replace(" ", ""), path
        assert "<script>" not in text and " on" + "click" not in text and "javascript:" not in text, path
        assert "http://" not in text and "https://" not in text, path
    for path in root.glob("static/*"):
        assert "http://" not in path.read_text() and "https://" not in path.read_text(), path


@pytest.mark.parametrize("place", ["//elsewhere.example", "/\\elsewhere.example", "https://elsewhere.example", "", "a"])
def test_a_login_leads_nowhere_else(place: str) -> None:
    assert local_place(place) == "/review"
    assert local_place("/runs/first?a=b") == "/runs/first?a=b"


# The setting


def test_tokens_are_read_as_json_and_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_SERVE_TOKENS", f'{{"ada": "{ADA}", "grace": "{GRACE}"}}')
    settings = load_settings()
    assert name_of_token(settings, GRACE) == "grace"
    assert ADA not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("secret-of-ada", "no JSON object"),
        ('["secret-of-ada"]', "dictionary"),
        ('{"ada": "secret-of"}', "at least 16"),
        ('{"ada": "secret of ada and of nobody"}', "at least 16"),
        ('{"": "secret-of-ada-and-nobody"}', "1 to 80 visible"),
        ('{"policy:x": "secret-of-ada-and-nobody"}', "a policy's"),
        ('{"a": "secret-of-ada-and-nobody", "b": "secret-of-ada-and-nobody"}', "the same token"),
    ],
)
def test_a_wrong_list_of_tokens_is_one_line_without_them(
    monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.setenv("CORRAL_SERVE_TOKENS", given)
    with pytest.raises(BadInput, match=said) as caught:
        load_settings()
    assert (
        "CORRAL_SERVE_TOKENS" in str(caught.value)
        and "secret-of" not in str(caught.value)
        and "of nobody" not in str(caught.value)
    )
