"""An observer cannot hold a run: whatever LangSmith's server does, a process ends in time and says so in one line."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.harness import ROOT
from tools.endpoint.observing import FLUSH_SECONDS

TRACE = """
import os, time
from tools.endpoint.observing import flush_traces, observe
from tools.settings import load_settings
SLOW
settings = load_settings()
observe(settings)
from langsmith import traceable

@traceable
def work(number):
    return number

for number in range(50):
    work(number)
began = time.monotonic()
flush_traces()
print("flushed", time.monotonic() - began, flush=True)
"""
SLOW_NAMES = "import socket; socket.getaddrinfo = lambda *a, **o: time.sleep(60)"


def swallow(_connection: socket.socket) -> None:
    time.sleep(60)


def fail(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 12\r\nConnection: close\r\n\r\n\x1b[2J broken!")
    connection.close()


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(60):
        connection.sendall(b" ")
        time.sleep(1)


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()


@contextmanager
def nobody(_answer: None) -> Iterator[str]:
    yield "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("serve", "answer", "slow"),
    [
        (server, swallow, ""),
        (server, fail, ""),
        (server, trickle, ""),
        (nobody, None, ""),
        (nobody, None, SLOW_NAMES),
    ],
    ids=["never answers", "fails", "trickles", "closed port", "slow names"],
)
def test_a_process_ends_in_time_and_tells_one_line(serve: Callable[..., object], answer: object, slow: str) -> None:
    with serve(answer) as url:  # type: ignore[attr-defined]  # a context manager
        environment = {"LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "ls-test", "LANGSMITH_ENDPOINT": url}
        process = subprocess.Popen(
            [sys.executable, "-c", TRACE.replace("SLOW", slow)], cwd=ROOT, env=environment | {"HOME": "/nonexistent"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        flushed = float(process.stdout.readline().split()[1])
        began = time.monotonic()
        process.wait(timeout=30)
        left = time.monotonic() - began
        said = process.stderr.read()
    assert flushed < FLUSH_SECONDS + 2 and left < 10, (flushed, left)
    assert said.count("\n") == 1 and said.startswith("traces were not sent to LangSmith at http://127.0.0.1"), said
    assert process.returncode == 0
