"""Statuses, headers and foreign exceptions become our errors, each with what to do and none with a key."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import CallRefused, EndpointError, EndpointFailing, EndpointRefused, EndpointUnreachable, RateLimited
from tools.endpoint.failures import TryAgain, failure, foreign, retry_after, said_by_server

URL = "https://models.example/v1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = httpx.Request("POST", URL)


def means(status: int, body: str = "", keys: int = 1, **headers: str) -> TryAgain | EndpointError:
    dashed = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure(status, body, dashed, url=URL, model="m", keys=keys)


def answered(status: int) -> httpx.Response:
    return httpx.Response(status, request=REQUEST)


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 529])
def test_passing_troubles_are_tried_again_and_end_as_failing(status: int) -> None:
    failed = means(status)
    assert isinstance(failed, TryAgain) and type(failed.error) is EndpointFailing
    assert URL in str(failed.error) and str(status) in str(failed.error)


def test_a_rate_limit_is_tried_again_and_ends_as_rate_limited() -> None:
    failed = means(429, Retry_After="7")
    assert isinstance(failed, TryAgain) and type(failed.error) is RateLimited
    assert failed.limited and failed.after == 7.0


def test_an_empty_account_is_no_rate_limit() -> None:
    failed = means(429, '{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}')
    assert type(failed) is type(means(402)) is EndpointRefused and "credit" in str(failed)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(status, EndpointRefused) for status in (301, 308, 401, 403, 404, 405)]
    + [(status, CallRefused) for status in (400, 413, 422, 451)],
)
def test_what_will_never_pass_is_refused(status: int, kind: type[EndpointError]) -> None:
    failed = means(status, Location="https://new.example")
    assert type(failed) is kind
    assert URL in str(failed) and "\n" not in str(failed)


def test_a_refused_key_says_which_variable_and_shows_no_key() -> None:
    body = '{"error": {"message": "Incorrect API key provided: sk-abc123def"}}'
    said = "It says: Incorrect API key provided: [key]"
    assert str(means(401, body)) == f"{URL} refuses the key (401). Check OPENAI_API_KEY. {said}"
    assert str(means(401, body, keys=0)) == f"{URL} refuses the key (401). It wants a key: set OPENAI_API_KEY. {said}"


def test_a_moved_server_and_an_unknown_model_say_what_to_set() -> None:
    assert "https://new.example" in str(means(308, Location="https://new.example"))
    assert "'m'" in str(means(404)) and "base_url" in str(means(404))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"error": {"message": "too\\nlong"}}', "too long"),
        ('{"error": "plain"}', "plain"),
        ('{"detail": "fastapi"}', '{"detail": "fastapi"}'),
        ("no json", "no json"),
        ("<html>a page</html>", ""),
        ("", ""),
        ('{"error": {"message": "bad key sk-proj-abcdefgh1234"}}', "bad key [key]"),
    ],
)
def test_the_servers_own_words_are_one_short_line(body: str, said: str) -> None:
    assert said_by_server(body) == said


@given(st.text())
def test_any_body_gives_one_short_line(body: str) -> None:
    assert len(said_by_server(body).splitlines()) <= 1
    assert len(said_by_server(body)) <= 240


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.25", 0.25), ("-4", 0.0), ("", None), ("soon", None), ("nan", None), ("Infinity", None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds


@given(st.integers(-100_000, 100_000))
def test_retry_after_as_a_date(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"Retry-After": date}, NOW) == max(0, seconds)


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    wait = retry_after({"Retry-After": value})
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (openai.APITimeoutError(REQUEST), EndpointFailing),
        (openai.APIConnectionError(request=REQUEST), EndpointFailing),
        (httpx.ReadTimeout("slow"), EndpointFailing),
        (httpx.ConnectTimeout("slow"), EndpointUnreachable),
        (httpx.ConnectError("refused"), EndpointUnreachable),
        (ConnectionRefusedError("refused"), EndpointUnreachable),
        (ConnectionResetError("reset"), EndpointFailing),
        (openai.InternalServerError("x", response=answered(500), body=None), EndpointFailing),
        (openai.RateLimitError("x", response=answered(429), body=None), RateLimited),
        (httpx.HTTPStatusError("x", request=REQUEST, response=answered(429)), RateLimited),
    ],
)
def test_foreign_errors_that_may_pass(error: Exception, kind: type[EndpointError]) -> None:
    failed = foreign(error, url=URL, model="m")
    assert isinstance(failed, TryAgain) and type(failed.error) is kind


@pytest.mark.parametrize(
    "kind",
    [
        (openai.BadRequestError, 400, CallRefused),
        (openai.AuthenticationError, 401, EndpointRefused),
        (openai.PermissionDeniedError, 403, EndpointRefused),
        (openai.NotFoundError, 404, EndpointRefused),
        (openai.UnprocessableEntityError, 422, CallRefused),
    ],
)
def test_foreign_errors_that_will_never_pass(
    kind: tuple[type[openai.APIStatusError], int, type[EndpointError]],
) -> None:
    error = kind[0]("x", response=answered(kind[1]), body=None)
    assert type(foreign(error, url=URL, model="m")) is kind[2]


def test_an_unknown_foreign_error_is_named_and_not_tried_again() -> None:
    failed = foreign(KeyError("choices"), url=URL, model="m")
    assert type(failed) is EndpointFailing and "KeyError" in str(failed)


def test_a_connection_that_was_never_made_is_known_by_what_the_error_was_raised_from() -> None:
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = httpx.ConnectError("refused")
    failed = foreign(error, url=URL, model="m")
    assert isinstance(failed, TryAgain) and type(failed.error) is EndpointUnreachable
