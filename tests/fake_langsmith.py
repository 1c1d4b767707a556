"""LangSmith's server as the tests need it: it takes traces and feedback, and tells a project's figures."""

from __future__ import annotations

import email
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest
from langsmith import run_trees, utils

from tools.endpoint import observing


class FakeLangSmith:
    """What arrived.

    Attributes:
        runs: traces by id, as they are at last: name, parent, inputs, outputs.
        feedback: what was hung on them.
        text: all that was sent.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.feedback: list[dict[str, Any]] = []
        self.text = ""
        self._lock = Lock()

    def take(self, body: bytes, content_type: str) -> None:
        """Take a request's body: LangSmith's multipart form, or JSON."""
        try:
            body = zlib.decompress(body, 47)
        except zlib.error:
            pass
        with self._lock:
            self.text += body.decode("utf-8", "replace")
            if content_type.startswith("multipart/"):
                message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
                for part in message.get_payload():
                    assert isinstance(part, email.message.Message)
                    self._take_part(str(part.get_param("name", header="content-disposition")), part)

    def _take_part(self, name: str, part: Any) -> None:
        kind, run_id, *field = name.split(".")
        value = json.loads(part.get_payload(decode=True))
        if kind == "feedback":
            self.feedback.append(value)
        else:
            run = self.runs.setdefault(run_id, {"id": run_id})
            run.update({field[0]: value} if field else {k: v for k, v in value.items() if v is not None})

    def path(self, run: dict[str, Any]) -> list[str]:
        """Return the names from the root of a trace's tree to the trace."""
        above = run.get("parent_run_id")
        return [*(self.path(self.runs[above]) if above in self.runs else []), run["name"]]

    def paths(self) -> set[str]:
        """Return the path of every trace."""
        return {" > ".join(self.path(run)) for run in self.runs.values()}


@contextmanager
def fake_langsmith(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[FakeLangSmith]:
    """Start the server, and let the environment name it; the libraries read that anew."""
    found = FakeLangSmith()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            roots = [run for run in found.runs.values() if not run.get("parent_run_id")]
            session = {"id": "0" * 8 + "-0000-0000-0000-" + "0" * 12, "name": "p", "run_count": len(roots)}
            session |= {"tenant_id": session["id"], "start_time": "2026-01-01T00:00:00", "reference_dataset_id": None}
            self._answer(json.dumps([session]).encode() if "/sessions" in self.path else b"{}")

        def do_POST(self) -> None:
            chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
            size = int(self.headers.get("Content-Length", 0))
            body = b"".join(iter(self._chunk, b"")) if chunked else self.rfile.read(size)
            found.take(body, self.headers.get("Content-Type", ""))
            self._answer(b"{}")

        do_PATCH = do_POST

        def _chunk(self) -> bytes:
            body = self.rfile.read(int(self.rfile.readline(), 16))
            self.rfile.readline()
            return body

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    there = {"LANGSMITH_API_KEY": "ls-secret", "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    for name, value in (there | environment).items():
        monkeypatch.setenv(name, value)
    utils.get_env_var.cache_clear()  # type: ignore[attr-defined]  # an lru_cache behind overloads
    monkeypatch.setattr(run_trees, "_CLIENT", None)
    monkeypatch.setattr(observing, "_observer", None)
    try:
        yield found
    finally:
        observing.flush_traces()
        utils.get_env_var.cache_clear()  # type: ignore[attr-defined]  # an lru_cache behind overloads
        server.shutdown()
        server.server_close()
