"""The adapter's API: the guide's ``/generate``, and OpenAI's chat completions and list of models."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from serving.access import Who
from serving.chat.answers import DONE, Collected, Head, chunks, completion, event, first_chunks, usage_chunk
from serving.chat.errors import ApiError, OpenAIRoute, api_error
from serving.chat.requests import ChatRequest, GenerateRequest
from serving.chat.service import Answered, Arm, Chat, OpenChat
from serving.chat.streaming import HUNG_UP, EventStream, HungUp, unless_gone
from tools.engine.asked import Asked, Piece, Served

VERSION_HEADER = "X-Corral-Version"
LONGEST_REQUEST = 16 * 2**20
"""Bytes of a request's body."""

router = APIRouter(route_class=OpenAIRoute)


class Answering:
    """One request on its way: it holds its place, its version and its answer until ``close``.

    Args:
        chat: the application's.
        who: the caller's name.
        model: what the client named.
        asked: what is wanted.
        user: whom the client asks for; empty for itself.

    Attributes:
        head: what all parts of the answer have in common; there once it has begun.
        found: the answer so far.
    """

    head: Head

    def __init__(self, chat: Chat, who: str, model: str, asked: Asked, user: str = "") -> None:
        self.chat, self.who, self.model, self.asked = chat, who, model, asked
        self.given_user, self.user = user, user or who
        self.arm: Arm = ""
        self.found = Collected()
        self._held = AsyncExitStack()
        self._begun, self._first = time.monotonic(), 0.0

    async def begin(self) -> None:
        """Wait for a place, and for the first piece: what is wrong with a request shows here.

        Raises:
            ApiError, CorralError, Full: it is not answered.
        """
        try:
            await self._held.enter_async_context(self.chat.request())
            await self._held.enter_async_context(self.chat.admission.place())
            # Without a user nothing tells the client's people apart: each request is one of its own.
            model, self.arm = await self.chat.choose(self.model, self.given_user or secrets.token_hex(8))
            served: Served = await self._held.enter_async_context(self.chat.engine.open(model))
            self.head = Head(served.version)
            self._pieces = await served.begin(self.asked)
            await self._held.enter_async_context(aclosing(self._pieces))
            self._ahead = await anext(self._pieces, None)
            self._first = time.monotonic() - self._begun
        except BaseException:
            await self._held.aclose()
            raise

    async def pieces(self) -> AsyncGenerator[Piece]:
        """Yield the answer's pieces, tell who listens, and give everything back."""
        try:
            if self._ahead is not None:
                self.found.add(self._ahead)
                yield self._ahead
            async for piece in self._pieces:
                self.found.add(piece)
                yield piece
        finally:
            await self._held.aclose()
        await self.chat.tell(self._answered())

    async def whole(self) -> None:
        """Take the answer to its end."""
        await self.begin()
        async with aclosing(self.pieces()) as pieces:
            async for _ in pieces:
                pass

    async def events(self, *, usage: bool) -> AsyncGenerator[bytes]:
        """Yield the answer as the events of a stream; one that fails on the way ends with its error."""
        for chunk in first_chunks(self.head, self.asked.choices, usage=usage):
            yield chunk
        try:
            async with aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    for chunk in chunks(self.head, piece, usage=usage):
                        yield chunk
            if usage:
                yield usage_chunk(self.head, self.found)
        except Exception as error:
            yield event((api_error(error) or ApiError(500, "the answer broke off", "fault")).body)
        yield DONE

    def _answered(self) -> Answered:
        return Answered(
            id=self.head.id,
            who=self.who,
            model=self.model,
            version=self.head.version,
            asked=self.asked,
            texts=tuple(text for _, text in sorted(self.found.texts.items())),
            finishes=tuple(self.found.finishes.get(choice, "stop") for choice in sorted(self.found.texts)),
            user=self.user,
            arm=self.arm,
            prompt_tokens=self.found.prompt_tokens,
            completion_tokens=self.found.completion_tokens,
            seconds=time.monotonic() - self._begun,
            first_token_seconds=self._first,
        )


@router.post("/v1/chat/completions")
async def chat_completions(request: Request, caller: Who, chat: OpenChat) -> Response:
    """Answer a chat, whole or as a stream."""
    given = ChatRequest.model_validate(await body_of(request))
    answering = Answering(chat, caller, given.model, given.asked(), given.user or "")
    try:
        if given.stream:
            await unless_gone(request, answering.begin())
            usage = given.stream_options is not None and given.stream_options.include_usage
            return EventStream(answering.events(usage=usage), {VERSION_HEADER: answering.head.version})
        await unless_gone(request, answering.whole())
    except HungUp:
        return Response(status_code=HUNG_UP)
    body = completion(answering.head, answering.found, logprobs=bool(given.logprobs))
    return JSONResponse(body, headers={VERSION_HEADER: answering.head.version})


@router.post("/generate")
async def generate(request: Request, caller: Who, chat: OpenChat) -> Response:
    """Follow an instruction."""
    given = GenerateRequest.model_validate(await body_of(request))
    answering = Answering(chat, caller, given.model, given.asked(), given.user)
    try:
        await unless_gone(request, answering.whole())
    except HungUp:
        return Response(status_code=HUNG_UP)
    head = answering.head
    body = {"response": answering.found.texts.get(0, ""), "model": head.version, "id": head.id}
    return JSONResponse(body, headers={VERSION_HEADER: head.version})


@router.get("/v1/models")
async def models(caller: Who, chat: OpenChat) -> dict[str, Any]:
    """List what a client may name as its model."""
    return {"object": "list", "data": await _listed(chat)}


@router.get("/v1/models/{name:path}")
async def model(name: str, caller: Who, chat: OpenChat) -> dict[str, Any]:
    """Return one of them."""
    async with chat.engine.open(name):
        pass  # one that cannot be answered with is refused here
    return next(one for one in await _listed(chat) if one["id"] == name)


@router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def nothing_there(path: str, request: Request, caller: Who) -> Response:
    """Refuse what of OpenAI's API is not here."""
    there = "POST /v1/chat/completions, GET /v1/models"
    return ApiError(404, f"{request.method} /v1/{path} is not here; there are {there}", "unknown_url").response()


async def body_of(request: Request) -> dict[str, Any]:
    """Return a request's JSON object.

    Raises:
        ApiError: it is none, or too long.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_REQUEST:
            raise ApiError(413, f"the request has more than {LONGEST_REQUEST:,} bytes", "request_too_large")
    try:
        found = await asyncio.to_thread(json.loads, bytes(body)) if len(body) > 2**20 else json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {error}", "invalid_json") from error
    if not isinstance(found, dict):
        raise ApiError(400, "the body is no JSON object", "invalid_json")
    return found


async def _listed(chat: Chat) -> list[dict[str, Any]]:
    return [
        {"id": one.name, "object": "model", "created": one.created, "owned_by": "corral", "parent": one.parent}
        for one in await chat.engine.entries()
    ]
