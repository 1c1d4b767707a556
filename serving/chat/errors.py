"""Errors as OpenAI's clients read them, whatever went wrong on the way to an answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError

from state.errors import (
    BadInput,
    CallRefused,
    CorralError,
    EndpointError,
    PromptTooLong,
    StorageError,
    UnknownAnswer,
    UnknownModel,
)
from state.faults import first_fault
from tools.engine.admission import Closed, Full
from tools.visible import one_line

logger = logging.getLogger(__name__)

LONGEST = 600
"""Characters of a message; a fault may quote what was given."""
DRAIN_ADVICE = 5
"""Seconds after which a client may try again, once another process has taken over."""
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        message: one line.
        code: what a program may look at.
        param: the field of the request that is wrong.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, one_line(message)[:LONGEST], code, param
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error in OpenAI's form."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the whole answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 503:
            headers["Connection"] = "close"  # or the next request would be lost with the connection
        return JSONResponse(self.body, self.status, headers)


KINDS: tuple[tuple[type[CorralError], int, str, str | None], ...] = (
    (UnknownModel, 404, "model_not_found", "model"),
    (UnknownAnswer, 404, "answer_not_found", "id"),
    (PromptTooLong, 400, "context_length_exceeded", "messages"),
    (BadInput, 400, "invalid_request", None),
    (CallRefused, 400, "invalid_request", None),
    (StorageError, 503, "storage_failed", None),
    (EndpointError, 502, "engine_failed", None),
    (CorralError, 500, "failed", None),
)
"""An error's status, code and field, the first that fits."""


def api_error(error: BaseException) -> ApiError | None:
    """Return an error of ours as the client sees it; ``None`` for one that is not ours, which is a fault of Corral."""
    match error:
        case ApiError():
            return error
        case Closed():
            return ApiError(503, str(error), "ending", retry_after=DRAIN_ADVICE)
        case Full():
            return ApiError(429, str(error), "queue_full", retry_after=error.retry_after)
        case ValidationError():
            first = error.errors(include_url=False, include_input=False)[0]
            return ApiError(400, first_fault(error), "invalid_request", param=".".join(map(str, first["loc"])) or None)
        case RequestValidationError():
            # Without what was given: that may be no JSON, such as NaN or half of a surrogate pair.
            fault = error.errors()[0]
            place = ".".join(str(part) for part in fault["loc"] if part != "body")
            said = f"{place}: {fault['msg']}" if place else fault["msg"]
            return ApiError(400, said, "invalid_request", param=place or None)
        case CorralError():
            _, status, code, param = next(kind for kind in KINDS if isinstance(error, kind[0]))
            return ApiError(status, str(error), code, param=param)
        case HTTPException():
            return ApiError(error.status_code, str(error.detail), "refused")
        case _:
            return None


class OpenAIRoute(APIRoute):
    """A route whose errors have OpenAI's form, those of who may use it among them."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # Coroutine
        """Return the handler; see ``APIRoute``."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                found = api_error(error)
                if found is None:
                    logger.exception("a request failed")
                    found = ApiError(500, f"a fault of Corral: {type(error).__name__}; its log has more", "fault")
                return found.response()

        return answered
