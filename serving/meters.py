"""What this process measures of itself for Prometheus: requests, answers, tokens, queue, and how long a model loads.

Names follow Prometheus's conventions: base units, ``_total`` for what only grows, labels of few values.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tools.logs import logged_request
from tools.spans import span

logger = logging.getLogger(__name__)

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Upper bounds of the histograms' buckets."""
REQUEST_ID = "x-request-id"
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
NO_ROUTE = "(none)"
"""The route of a request that no route took: whatever its path was, it is one label."""


class Meters:
    """The meters of one application.

    Attributes:
        registry: what ``/metrics`` writes.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        to = self.registry
        self.requests = Counter(
            "corral_http_requests", "HTTP requests, by method, route and status.", ["method", "route", "status"],
            registry=to,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "corral_http_request_duration_seconds", "From a request to the end of its answer.", ["route"],
            buckets=SECONDS, registry=to,
        )  # fmt: skip
        self.answers = Counter("corral_answers", "Answers that were served to their end.", ["version"], registry=to)
        self.answer_seconds = Histogram(
            "corral_answer_duration_seconds", "From a request to the last token of its answer.", ["version"],
            buckets=SECONDS, registry=to,
        )  # fmt: skip
        self.first_token_seconds = Histogram(
            "corral_answer_first_token_seconds", "From a request to the first token of its answer.", ["version"],
            buckets=SECONDS, registry=to,
        )  # fmt: skip
        self.tokens = Counter(
            "corral_served_tokens", "Tokens of requests (prompt) and answers (completion).", ["version", "kind"],
            registry=to,
        )  # fmt: skip
        self.waiting = Gauge("corral_queue_requests", "Requests that wait for their turn.", registry=to)
        self.working = Gauge("corral_answers_in_progress", "Answers that are being written.", registry=to)
        self.load_seconds = Gauge(
            "corral_model_load_seconds", "How long the served model took to load; 0 before.", registry=to
        )

    def answered(
        self, version: str, *, seconds: float, first_token_seconds: float, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """Count an answer that was served to its end."""
        self.answers.labels(version).inc()
        self.answer_seconds.labels(version).observe(seconds)
        self.first_token_seconds.labels(version).observe(first_token_seconds)
        self.tokens.labels(version, "prompt").inc(prompt_tokens)
        self.tokens.labels(version, "completion").inc(completion_tokens)

    def watch_queue(self, waiting: Callable[[], float], working: Callable[[], float]) -> None:
        """Ask these for the queue's length and the answers in progress whenever the meters are read."""
        self.waiting.set_function(waiting)
        self.working.set_function(working)


def meters_of(request: Request) -> Meters:
    """Return the application's meters."""
    found: Meters = request.app.state.meters
    return found


class MeasuredRequests:
    """Counts each request and its time, by its route and never by its path; logs and traces it under its id.

    Args:
        app: the application.
        meters: where it is counted.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.monotonic()
        headers = Headers(scope=scope)
        request_id = request_id_of(headers)

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with logged_request(request_id), span("request", kind="SERVER", parent=headers) as opened:
            try:
                await self._app(scope, receive, noting)
            finally:
                method, route = _method(scope["method"]), getattr(scope.get("route"), "path", NO_ROUTE)
                seconds = time.monotonic() - began
                self._meters.requests.labels(method, route, str(status)).inc()
                self._meters.request_seconds.labels(route).observe(seconds)
                opened.note(
                    http__request__method=method, http__route=route, http__response__status_code=status,
                    corral__request=request_id,
                )  # fmt: skip
                told = {"method": method, "route": route, "status": status, "seconds": round(seconds, 3)}
                logger.info("request", extra=told)


def request_id_of(headers: Headers) -> str:
    """Return the id that a client or a proxy gave a request, where that is plain and short; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if re.fullmatch(r"[A-Za-z0-9._:-]{1,100}", given) else secrets.token_hex(8)


def _method(given: str) -> str:
    """Return a request's method as a label: anyone may send any word, and each label is kept for good."""
    return given if given in METHODS else "other"
