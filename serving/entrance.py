"""Log in with a token, log out, and say one's name where there are no tokens."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from serving.access import (
    BODY_BYTES,
    LOGIN,
    LOGIN_SECONDS,
    NAME,
    Who,
    demand_own_page,
    demand_this_machine,
    local_place,
    login_cookie,
    name_of_token,
    own_form,
    set_cookie,
    settings_of,
)
from serving.pages import render
from state.errors import BadInput
from state.names import demand_persons_name

SECONDS_AFTER_A_WRONG_TOKEN = 1.0
"""Guessing a token of 16 characters by asking takes longer than anybody lives; this keeps the log short."""


def entrance(request: Request) -> None:
    """Let everybody see the login, but no page of another site."""
    demand_own_page(request)
    if not settings_of(request).serve_tokens:
        demand_this_machine(request)


router = APIRouter(dependencies=[Depends(entrance), Depends(own_form)], max_body_size=BODY_BYTES)
Place = Annotated[str, Form(alias="next")]


@router.get("/")
async def start() -> Response:
    """Lead to the runs."""
    return RedirectResponse("/runs", 303)


@router.get("/login")
async def show_login(request: Request, next: str = "/review") -> Response:
    """Show the form."""
    if not settings_of(request).serve_tokens:
        return RedirectResponse(local_place(next), 303)
    return render(request, "login.html", context={"next": local_place(next), "message": ""})


@router.post("/login")
async def log_in(request: Request, token: Annotated[str, Form()] = "", next: Place = "/review") -> Response:
    """Leave a cookie where the token is known."""
    settings = settings_of(request)
    name = name_of_token(settings, token.strip())
    if name is None:
        await asyncio.sleep(SECONDS_AFTER_A_WRONG_TOKEN)
        context = {"next": local_place(next), "message": "This token is not known here."}
        return render(request, "login.html", status=401, context=context)
    response = RedirectResponse(local_place(next), 303)
    set_cookie(request, response, LOGIN, login_cookie(settings, name, int(time.time()) + LOGIN_SECONDS))
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """Take the cookie back."""
    response = RedirectResponse("/login", 303)
    set_cookie(request, response, LOGIN, "", 0)
    return response


@router.post("/name")
async def say_name(
    request: Request, caller: Who, name: Annotated[str, Form()] = "", next: Place = "/review"
) -> Response:
    """Keep the name that a person typed; with tokens the token's name stays.

    Raises:
        BadInput: it is no person's name.
    """
    try:
        name = demand_persons_name(name)
    except ValueError as error:
        raise BadInput(f"the name: {error}") from error
    response = RedirectResponse(local_place(next), 303)
    set_cookie(request, response, NAME, name.encode().hex())
    return response
