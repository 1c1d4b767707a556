"""How a page is made: the templates, what they may call, and what an error looks like. All text is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.access import BROWSER, AccessRefused, LoginNeeded, browser_of, login_place, set_cookie, settings_of
from state.errors import (
    AlreadyDecided,
    BadInput,
    CorralError,
    RunBusy,
    RunWaiting,
    StaleQuestion,
    StorageError,
    UnknownAnswer,
    UnknownRun,
)
from state.wording import number_of
from tools.report.scales import duration
from tools.visible import one_line, visible

TEMPLATES = Path(__file__).parent / "templates"
PIECE = 4_000
"""Characters of a piece of a text."""
STATUS: tuple[tuple[type[CorralError], int], ...] = (
    (UnknownRun, 404),
    (UnknownAnswer, 404),
    (AlreadyDecided, 409),
    (StaleQuestion, 409),
    (RunBusy, 409),
    (RunWaiting, 409),
    (BadInput, 422),
    (StorageError, 503),
)
"""The status that an error is answered with, the first that fits; 500 for all others."""


@lru_cache(maxsize=1)
def templates() -> Environment:
    """Return the templates, all of them read: a handler reads no file."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"visible": seen, "pieces": pieces, "line": one_line, "duration": duration, "when": when}
    environment.filters["counted"] = number_of
    for name in environment.list_templates():
        environment.get_template(name)
    return environment


def render(
    request: Request, template: str, caller: str = "", *, status: int = 200, context: Mapping[str, Any] | None = None
) -> HTMLResponse:
    """Return a page; its forms repeat the value of the browser's cookie, which is set where there is none.

    Args:
        request: what is answered.
        template: the file's name.
        caller: who looks at the page; empty where nobody has logged in.
        status: the answer's status.
        context: what the template shows.
    """
    browser = browser_of(request)
    logs_in = bool(settings_of(request).serve_tokens)
    shown = {"caller": caller, "csrf": browser, "logs_in": logs_in, "path": request.url.path, **(context or {})}
    page = templates().get_template(template).render(shown)
    response = HTMLResponse(page.encode("utf-8", "replace"), status)
    if request.cookies.get(BROWSER) != browser:
        set_cookie(request, response, BROWSER, browser)
    return response


def wants_page(request: Request) -> bool:
    """Return whether an error is to be told on a page of its own, rather than to the page that asked."""
    accepted = request.headers.get("accept", "")
    return "text/html" in accepted and "application/json" not in accepted


def seen(text: str) -> str:
    """Return a foreign text of several lines as it may be shown."""
    return visible(text.replace("\r\n", "\n"))


def pieces(text: str) -> list[str]:
    """Return a text in the pieces in which a browser lays it out: one, unless a line of it is very long.

    A line of a million characters takes Chromium five seconds; in pieces, one.
    """
    if max(map(len, text.split("\n"))) <= 2 * PIECE:
        return [text]
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def when(moment: datetime | float | str) -> str:
    """Return a time for a page: of the clock, in UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(moment, UTC)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def tell_errors(app: FastAPI) -> None:
    """Have the application tell our errors: on a page, or as JSON to whoever asks for that."""

    @app.exception_handler(LoginNeeded)
    async def login_needed(request: Request, error: LoginNeeded) -> Response:
        if wants_page(request):
            return RedirectResponse(login_place(request), 303)
        return JSONResponse({"detail": error.detail, "login": login_place(request)}, 401, headers=error.headers)

    @app.exception_handler(AccessRefused)
    async def access_refused(request: Request, error: AccessRefused) -> Response:
        return told(request, str(error.detail), error.status_code)

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> Response:
        # Without what was given: that may be no JSON, such as NaN or half of a surrogate pair.
        first = error.errors()[0]
        return told(request, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 422)

    @app.exception_handler(CorralError)
    async def failed(request: Request, error: CorralError) -> Response:
        return told(request, str(error), status_of_error(error))


def status_of_error(error: CorralError) -> int:
    """Return the status that an error is answered with."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def told(request: Request, message: str, status: int) -> Response:
    """Return an error's one line, as a page or as JSON."""
    if wants_page(request):
        return render(request, "error.html", status=status, context={"message": message})
    return JSONResponse({"detail": one_line(message)}, status)
