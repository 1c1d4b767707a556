"""A server that differs from OpenAI's in one way at a time, as servers do that call themselves compatible.

    with QuirkyServer() as server:
        server.url("nousage")           # .../nousage/v1: the same server with that quirk
        server.asked("nousage")         # the bodies of the chats it was asked, in their order

A quirk is a function of the request's handler and body; ``QUIRKS`` has them by name.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TEXT = '{"score": 80, "reason": "clear"}'
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
LONG = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."
NO_PAGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking</body></html>"
QUOTA = "You exceeded your current quota, please check your plan and billing details."


class Asked:
    """One request, and the ways to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> None:
        self.handler, self.body, self.number = handler, body, number

    @property
    def marked(self) -> bool:
        """Whether the prompt is the one that this server has something against."""
        return "poison" in json.dumps(self.body)

    def sends(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.handler.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def says(self, answer: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.sends(status, json.dumps(answer).encode(), headers)

    def refuses(self, status: int, message: str, headers: Mapping[str, str] | None = None, /, **more: Any) -> None:
        self.says({"error": {"message": message, "type": "invalid_request_error", **more}}, status, headers)

    def completes(self, text: Any = TEXT, usage: Any = USAGE, ended: Any = "stop", **message: Any) -> None:
        self.says(completion(text, usage, ended, **message))


def completion(text: Any = TEXT, usage: Any = USAGE, ended: Any = "stop", **message: Any) -> dict[str, Any]:
    """Return a chat completion."""
    said = {"role": "assistant", "content": text} | message
    whole = {"choices": [{"index": 0, "message": said, "finish_reason": ended}], "usage": usage}
    return {name: value for name, value in whole.items() if value != "absent"}


Quirk = Callable[[Asked], None]


def once(first: Quirk) -> Quirk:
    """Return a quirk of the first request alone."""
    return lambda asked: first(asked) if asked.number == 0 else asked.completes()


def refusing(parameter: str, message: str, status: int = 400, **more: Any) -> Quirk:
    """Return a server that does not know a parameter."""
    return lambda asked: (
        asked.refuses(status, message, param=parameter, **more) if parameter in asked.body else asked.completes()
    )


def limits(headers: Mapping[str, str], message: str = "Rate limit reached.", **more: Any) -> Quirk:
    """Return a server that limits the first request's rate."""
    return once(lambda asked: asked.refuses(429, message, headers, **more))


def _stream_only(asked: Asked) -> None:
    if not asked.body.get("stream"):
        return asked.refuses(400, "This model only supports streaming: stream must be set to true.")
    chunks = [{"choices": [{"delta": {"content": part}}]} for part in (TEXT[:9], TEXT[9:])]
    events = [*chunks, {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}]
    body = ": ping\n\n" + "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return asked.sends(200, body.encode(), {"Content-Type": "text/event-stream"})


def _cut(asked: Asked) -> None:
    asked.sends(200, b'{"choices": [', {"Content-Length": "500"})
    asked.handler.connection.close()


def _hang(asked: Asked) -> None:
    time.sleep(3)


def _drip(asked: Asked) -> None:
    asked.handler.send_response(200)
    asked.handler.send_header("Content-Length", "1000")
    asked.handler.end_headers()
    for _ in range(30):
        asked.handler.wfile.write(b" ")
        asked.handler.wfile.flush()
        time.sleep(0.1)


def _no_schema(asked: Asked) -> None:
    form = asked.body.get("response_format", {}).get("type")
    if form == "json_schema":
        return asked.refuses(400, "This response_format type is unavailable now")
    if form == "json_object":
        return asked.refuses(400, "'response_format.type' : value is not one of the allowed values ['text']")
    return asked.completes()


def _by_key_word(word: str) -> Quirk:
    return lambda asked: asked.completes(**{word: "hm"}) if word == "reasoning_content" else asked.completes()


RAW: Mapping[str, bytes] = {
    "padded": b"\n\n  " + json.dumps(completion()).encode() + b"\n ",
    "jsonbom": b"\xef\xbb\xbf" + json.dumps(completion()).encode(),
    "surrogate": json.dumps(completion("half \ud83d of a pair")).encode(),
    "nul": json.dumps(completion("a\0b")).encode(),
    "nan": json.dumps(completion(usage={"prompt_tokens": float("nan"), "completion_tokens": float("inf")})).encode(),
    "deep": b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "emptybody": b"",
    "html200": NO_PAGE.encode(),
    "huge": b" " * (9 * 2**20),
}

QUIRKS: Mapping[str, Quirk] = {
    "plain": lambda asked: asked.completes(),
    "think": lambda asked: asked.completes("<think>hm {</think>\n\n" + TEXT),
    "think_noopen": lambda asked: asked.completes("hm {\n</think>\n\n" + TEXT),
    "reasoning": lambda asked: asked.completes(reasoning_content="hm"),
    "reasoning_only": lambda asked: asked.completes(None, ended="length", reasoning_content="hm"),
    "reasoning_stop": lambda asked: asked.completes("", reasoning_content="hm"),
    "empty": lambda asked: asked.completes("", {"prompt_tokens": 0, "completion_tokens": 0}),
    "nullstop": lambda asked: asked.completes(None, "absent"),
    "maxcompl": refusing("max_tokens", "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.", code="unsupported_parameter"),
    "notemp": refusing("temperature", "Unsupported value: 'temperature' does not support 0.5 with this model. Only the "
        "default (1) value is supported.", code="unsupported_value"),
    "notopp": refusing("top_p", "`temperature` and `top_p` cannot both be specified for this model."),
    "noseed": lambda asked: (
        asked.says({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not "
            "permitted", "input": 3}]}, 422) if "seed" in asked.body else asked.completes()
    ),
    "unknownname": lambda asked: (
        asked.says([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": 'Invalid JSON payload received. '
            'Unknown name "seed": Cannot find field.'}}], 400) if "seed" in asked.body else asked.completes()
    ),
    "nostop": refusing("stop", "Unsupported parameter: 'stop' is not supported with this model."),
    "noschema": _no_schema,
    "schema_ignored": lambda asked: asked.completes(f"Here it is: {TEXT} Ask if you need more."),
    "fenced": lambda asked: asked.completes(f"```json\n{TEXT}\n```"),
    "fenced_up": lambda asked: asked.completes(f"```JSON\n{TEXT}\n```"),
    "trail": lambda asked: asked.completes(TEXT[:-1] + ",}"),
    "bom": lambda asked: asked.completes("\ufeff" + TEXT),
    "schema_in_tool": lambda asked: asked.completes(None, tool_calls=[{"function": {"name": "a", "arguments": TEXT}}]),
    "finishnull": lambda asked: asked.completes(ended=None),
    "finisheos": lambda asked: asked.completes(ended="eos_token"),
    "finishend": lambda asked: asked.completes(ended="end_turn"),
    "finishSTOP": lambda asked: asked.completes(ended="STOP"),
    "finishempty": lambda asked: asked.completes(ended=""),
    "finisherror": once(lambda asked: asked.completes(ended="error")),
    "nousage": lambda asked: asked.completes(usage="absent"),
    "usagenull": lambda asked: asked.completes(usage=None),
    "usagefloat": lambda asked: asked.completes(usage={"prompt_tokens": 11.0, "completion_tokens": 7.5}),
    "usageneg": lambda asked: asked.completes(usage={"prompt_tokens": -1, "completion_tokens": -1}),
    "usagestr": lambda asked: asked.completes(usage={"prompt_tokens": "11", "completion_tokens": "7"}),
    "usagezero": lambda asked: asked.completes(usage={"prompt_tokens": 0, "completion_tokens": 0}),
    "usagelist": lambda asked: asked.completes(usage=[11, 7]),
    "streamonly": _stream_only,
    "err200": lambda asked: asked.says({"error": {"message": "upstream is overloaded"}}),
    "err200once": once(lambda asked: asked.says({"error": {"message": "upstream is overloaded"}})),
    "nullchoices": lambda asked: asked.says({"choices": None}),
    "nochoices": lambda asked: asked.says({"choices": []}),
    "filter": lambda asked: asked.completes("", ended="content_filter"),
    "filterhalf": lambda asked: asked.completes("Half of", ended="content_filter"),
    "ra_sec": limits({"Retry-After": "0.3"}),
    "ra_date": limits({"Retry-After": format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)}),
    "ra_ms": limits({"retry-after-ms": "300", "Retry-After": "1"}),
    "ra_unit": limits({"Retry-After": "300ms"}),
    "ra_body": limits({}, "Rate limit reached for m. Please try again in 300ms. Visit the page."),
    "ra_delay": limits({}, "Busy.", details=[{"retryDelay": "0.3s"}]),
    "ra_huge": lambda asked: asked.refuses(429, "Daily limit reached.", {"Retry-After": "86400"}),
    "ra_neg": limits({"Retry-After": "-5"}),
    "quota": lambda asked: asked.refuses(429, QUOTA, code="insufficient_quota"),
    "gquota": lambda asked: asked.refuses(429, f"{QUOTA} * Quota exceeded for metric: requests, limit: 0",
        status="RESOURCE_EXHAUSTED"),
    "quota_said": limits({}, "Slow down. (A spent account would say insufficient_quota.)", code="rate_limit_exceeded"),
    "529": once(lambda asked: asked.refuses(529, "Overloaded")),
    "503ra": once(lambda asked: asked.refuses(503, "Loading model", {"Retry-After": "0.1"})),
    "ctx": lambda asked: asked.refuses(400, LONG, param="messages", code="context_length_exceeded"),
    "ctxmax": lambda asked: asked.refuses(400, LONG + " Reduce max_tokens or the length of the messages."),
    "ctx500": lambda asked: asked.refuses(500, LONG),
    "html502": lambda asked: asked.sends(502, NO_PAGE.encode(), {"Content-Type": "text/html"}),
    "cf403": lambda asked: asked.sends(403, NO_PAGE.encode(), {"Content-Type": "text/html"}),
    "mod403": lambda asked: (
        asked.refuses(403, "Your input was flagged by moderation.") if asked.marked else asked.completes()
    ),
    "region403": lambda asked: asked.refuses(403, "Country, region, or territory not supported"),
    "err401ok": lambda asked: asked.refuses(401, "Bad request signature") if asked.marked else asked.completes(),
    "empty204": lambda asked: asked.sends(204, b""),
    "s201": lambda asked: asked.says(completion(), 201),
    "latin": lambda asked: asked.sends(200, json.dumps(completion("caf\u00e9"), ensure_ascii=False).encode("latin-1"),
        {"Content-Type": "application/json; charset=latin-1"}),
    "badcharset": lambda asked: asked.sends(200, json.dumps(completion("caf\u00e9"), ensure_ascii=False).encode(),
        {"Content-Type": "application/json; charset=nonsense"}),
    "cut": _cut,
    "cutonce": once(_cut),
    "shortlen": lambda asked: asked.sends(200, json.dumps(completion()).encode(), {"Content-Length": "20"}),
    "badgzip": lambda asked: asked.sends(200, b"no gzip at all", {"Content-Encoding": "gzip"}),
    "gzip": lambda asked: asked.sends(200, gzip.compress(json.dumps(completion()).encode()),
        {"Content-Encoding": "gzip"}),
    "hang": _hang,
    "drip": _drip,
    "redirect": lambda asked: asked.sends(307, b"", {"Location": "https://elsewhere.example/v1/chat/completions"}),
    "redirslash": lambda asked: asked.sends(301, b"", {"Location": f"{asked.handler.path}/"}),
    "textchoice": lambda asked: asked.says({"choices": [{"text": TEXT, "finish_reason": "stop"}], "usage": USAGE}),
    **{name: (lambda asked, body=body: asked.sends(200, body)) for name, body in RAW.items()},
}  # fmt: skip

LISTS: Mapping[str, tuple[int, Any]] = {
    "models401": (401, {"error": {"message": "no list for this key"}}),
    "models403": (403, {"error": {"message": "no list for this key"}}),
    "modelslist": (200, [{"id": "m"}]),
    "modelsnames": (200, ["m"]),
    "modelsollama": (200, {"models": [{"name": "m"}]}),
    "modelsnull": (200, {"object": "list", "data": None}),
    "modelsempty": (200, {"object": "list", "data": []}),
    "modelstext": (200, "here"),
    "wildcard": (200, {"data": [{"id": "openai/*"}, {"id": "*"}]}),
    "suffix": (200, {"data": [{"id": "/models/m.Q4_K_M.gguf"}]}),
    "models500": (500, "Internal Server Error"),
    "slow_models": (200, {"data": [{"id": "m"}]}),
}
"""Status and answer of ``/models``, by the quirk's name; the chats of such a server are plain."""


class QuirkyServer:
    """The server, in threads of its own."""

    def __enter__(self) -> Self:
        self.bodies: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[1]
                if name == "slow_models":
                    time.sleep(1)
                status, answer = LISTS.get(name, (200, {"data": [{"id": "m"}]}))
                with suppress(OSError):  # the client may have gone
                    Asked(self, {}, 0).says(answer, status)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = self.path.split("/")[1]
                with outer.lock:
                    number = len(outer.bodies[name])
                    outer.bodies[name].append(body)
                quirk = QUIRKS.get(name, QUIRKS["plain"])
                try:
                    quirk(Asked(self, body, number))
                except OSError:
                    pass  # the client has gone

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, quirk: str) -> str:
        """Return the base URL of the server with this quirk."""
        return f"http://127.0.0.1:{self._server.server_port}/{quirk}/v1"

    def asked(self, quirk: str) -> list[dict[str, Any]]:
        """Return the chats that were asked of it."""
        return self.bodies[quirk]
