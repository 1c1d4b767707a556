"""Who may use the application, and what a browser may do with its pages.

A caller is named by a bearer token, or by the cookie that a login with the token leaves. Where no tokens are set, the
application answers this machine alone: the caller's address and the host's name in the request must be loopback, so
that no site can reach it through a name that it points here (DNS rebinding). A page of another site is never answered,
and what changes something needs the token of the page's own form as well (CSRF).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Annotated
from urllib.parse import SplitResult, urlencode, urlsplit

from fastapi import Depends, HTTPException, Request, Response
from starlette.datastructures import FormData

from serving.services import runs
from state.names import demand_persons_name
from tools.machine.loopback import is_loopback
from tools.settings import Settings

LOGIN, NAME, BROWSER = "corral_login", "corral_name", "corral_browser"
"""The cookies: who has logged in; the name that a person typed where there are no tokens; and a random value that
tells one browser from another and that every form repeats."""
LOGIN_SECONDS = 14 * 24 * 3600
"""How long a login lasts."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers of requests that came through a proxy."""
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_BYTES = 16 * 2**20
"""Of a form at most: a text of some megabytes, as it is encoded."""


class AccessRefused(HTTPException):
    """The caller may not do this, whoever it is."""


class LoginNeeded(HTTPException):
    """Nobody knows who the caller is, or not any more."""

    def __init__(self, detail: str) -> None:
        super().__init__(401, detail, headers={"WWW-Authenticate": "Bearer"})


def who(request: Request) -> str:
    """Return the caller's name: a dependency of every route but those that tell whether the application lives.

    Raises:
        LoginNeeded: there are tokens, and the caller has none of them, or the login has expired.
        AccessRefused: the request comes from another site's page, or, where there are no tokens, from elsewhere than
            this machine.
    """
    settings = settings_of(request)
    if token := bearer_token(request):
        if name := name_of_token(settings, token):
            return name
        if settings.serve_tokens:
            raise LoginNeeded("the token is not known here")
    demand_own_page(request)
    if not settings.serve_tokens:
        demand_this_machine(request)
        return typed_name(request) or settings.reviewer
    cookie = request.cookies.get(LOGIN, "")
    name = name_of_login(settings, cookie, time.time())
    if name is None:
        raise LoginNeeded("the login has expired; log in again" if cookie else "log in first")
    return name


Who = Annotated[str, Depends(who)]
"""A handler's argument of this type is the caller's name."""


async def own_form(request: Request) -> None:
    """Demand that what changes something was sent by a form of ours; a bearer token's request needs none.

    Raises:
        AccessRefused: the form does not repeat the browser's value.
    """
    if request.method in SAFE_METHODS or bearer_token(request):
        return
    given = request.headers.get(CSRF_HEADER) or str((await form_of(request)).get(CSRF_FIELD, ""))
    expected = request.cookies.get(BROWSER, "")
    if not expected or not _same(given, expected):
        raise AccessRefused(403, "this page is too old to be sent; load it again, and send it once more")


async def form_of(request: Request) -> FormData:
    """Return a request's form; a field may be as long as the whole body."""
    return await request.form(max_part_size=BODY_BYTES)


def settings_of(request: Request) -> Settings:
    """Return the application's settings."""
    return runs(request).services.settings


def bearer_token(request: Request) -> str:
    """Return the token of ``Authorization: Bearer TOKEN``; empty where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def name_of_token(settings: Settings, token: str) -> str | None:
    """Return whose token it is; all are compared, in a time that says nothing of them."""
    found = [name for name, secret in settings.serve_tokens.items() if _same(token, secret.get_secret_value())]
    return found[0] if found else None


def login_cookie(settings: Settings, name: str, expires: int) -> str:
    """Return the cookie of a login: name and end, signed with the token, so that a changed token ends it."""
    return f"{expires}.{_signature(settings, name, expires)}.{name.encode().hex()}"


def name_of_login(settings: Settings, cookie: str, now: float) -> str | None:
    """Return who has logged in; ``None`` where the cookie is not ours, has ended, or its token was changed."""
    expires, _, rest = cookie.partition(".")
    signature, _, encoded = rest.partition(".")
    try:
        name, end = bytes.fromhex(encoded).decode(), int(expires)
    except ValueError:
        return None
    known = name in settings.serve_tokens and now < end
    return name if known and _same(signature, _signature(settings, name, end)) else None


def typed_name(request: Request) -> str:
    """Return the name that the person typed on a page; empty where there is none, or none that may be."""
    try:
        return demand_persons_name(bytes.fromhex(request.cookies.get(NAME, "")).decode())
    except ValueError:
        return ""


def browser_of(request: Request) -> str:
    """Return the random value of this browser; a new one where it has none yet, for ``keep_browser``."""
    if not hasattr(request.state, "browser"):
        request.state.browser = request.cookies.get(BROWSER) or secrets.token_urlsafe(24)
    return str(request.state.browser)


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int = LOGIN_SECONDS) -> None:
    """Set a cookie that no script reads and no other site's page sends."""
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="strict", secure=secure)


def demand_own_page(request: Request) -> None:
    """Refuse what a page of another site asks for, but for following a link.

    Raises:
        AccessRefused: it was another site's page.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    follows_link = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
    foreign = origin is not None and _split(origin).netloc != request.headers.get("host", "")
    if foreign or (site not in ("same-origin", "none") and not follows_link):
        raise AccessRefused(403, "a page of another site may not use Corral")


def demand_this_machine(request: Request) -> None:
    """Refuse callers elsewhere, and names that another site has pointed here.

    Raises:
        AccessRefused: the caller is not on this machine, or asked for it by another name.
    """
    host = _split(f"//{request.headers.get('host', '')}").hostname or ""
    address = request.client.host if request.client else ""
    if not (is_loopback(host) and is_loopback(address)) or any(name in request.headers for name in FORWARDED):
        raise AccessRefused(
            403,
            "without tokens Corral answers this machine alone, as localhost; set CORRAL_SERVE_TOKENS to a JSON object "
            "of names and tokens to use it from elsewhere",
        )


def login_place(request: Request) -> str:
    """Return the address of the login page, which leads back to the page that was asked for."""
    place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/login?" + urlencode({"next": place if request.method == "GET" else "/review"})


def local_place(place: str) -> str:
    """Return a place to go on to if it is one of ours, the review otherwise."""
    ours = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if ours else "/review"


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _signature(settings: Settings, name: str, expires: int) -> str:
    key = settings.serve_tokens[name].get_secret_value().encode()
    return hmac.new(key, f"login|{expires}|{name}".encode(), hashlib.sha256).hexdigest()
