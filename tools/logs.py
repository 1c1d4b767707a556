"""Logs: one JSON object a line, in the folder of the run that is worked on, and on standard error when asked for.

A module logs as the standard library says, ``logger.info("step ended", extra={"seconds": 1.2})``; the ``extra`` become
fields of the line. Work on a run stands inside ``logged_run``, which says whose log it is. Lines look like

    {"time": "2026-03-01T12:00:00.000+00:00", "level": "INFO", "event": "step ended", "logger": "graph.steps",
     "run": "demo-1", "thread": "demo-1", "step": "gate", "task": "gate", "seconds": 1.2}

What a model, a server or a person wrote stays one line: all but plain ASCII is escaped. Keys are masked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from queue import Queue
from threading import Thread

from state.masking import MASK, SHORTEST_SECRET, masked
from tools.settings import Settings
from tools.visible import one_line

__all__ = [
    "MASK",
    "PACKAGES",
    "RUN_LOG",
    "JsonFormatter",
    "configure_logs",
    "flush_logs",
    "logged_request",
    "logged_run",
    "secrets_of",
]

RUN_LOG = "log.jsonl"
"""In a run's folder."""
PACKAGES = ("corral", "graph", "nodes", "serving", "state", "tools")
"""Whose loggers are ours; other libraries log as they always did."""
PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record of the standard library has; the rest is from ``extra``."""


@dataclass(frozen=True)
class _Work:
    """What is worked on now."""

    run: str
    folder: Path
    step: str


_work: ContextVar[_Work | None] = ContextVar("work", default=None)
_request: ContextVar[str] = ContextVar("request", default="")


@contextmanager
def logged_request(request_id: str) -> Iterator[None]:
    """Write a request's id into what is logged inside, in this task and those it starts."""
    token = _request.set(request_id)
    try:
        yield
    finally:
        _request.reset(token)


@contextmanager
def logged_run(run_id: str, folder: Path, step: str = "") -> Iterator[None]:
    """Write what is logged inside, in this task and those it starts, to the run's log.

    Args:
        run_id: the run.
        folder: its folder, made where it is missing.
        step: the step at work; empty outside of steps.
    """
    token = _work.set(_Work(run_id, folder, step))
    try:
        yield
    finally:
        _work.reset(token)


def configure_logs(settings: Settings) -> None:
    """Log as the settings say, for the whole process. A later call replaces an earlier one.

    Without ``CORRAL_LOG_LEVEL`` a run's log begins at INFO, and standard error has what it always had: warnings that
    belong to no run, in plain words.
    """
    flush_logs()
    secrets = secrets_of(settings)
    formatter = JsonFormatter(secrets)
    on_stderr = StderrHandler() if settings.log_level else PlainWarnings(secrets)
    for handler in (handlers := (_run_logs(), on_stderr)):
        handler.setFormatter(formatter)
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(settings.log_level or logging.INFO)
        others = [h for h in logger.handlers if not isinstance(h, RunLogs | StderrHandler | PlainWarnings)]
        logger.handlers = [*others, *handlers]
        # Libraries set up the root logger as they please, and would show each step a second time.
        logger.propagate = False


def flush_logs() -> None:
    """Wait until all that was logged is in its file."""
    _run_logs().flush()


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Return the keys that no log may hold."""
    single = (settings.langsmith_api_key, settings.alert_webhook, *settings.serve_tokens.values())
    keys = (*settings.api_keys, *(one.get_secret_value() for one in single if one))
    return tuple(key for key in keys if len(key) >= SHORTEST_SECRET)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, without secrets.

    Args:
        secrets: texts to mask; what looks like a key is masked too.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without its end."""
        work = _work.get()
        fields = {name: value for name, value in vars(record).items() if name not in PLAIN}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": self._masked(record.getMessage()),
            "logger": record.name,
            **({"run": work.run, "thread": work.run} if work else {}),
            **({"step": work.step} if work and work.step else {}),
            **({"request": request} if (request := _request.get()) else {}),
            **{name: self._masked(value) for name, value in fields.items()},
        }
        return json.dumps(line)

    def _masked(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        return masked(str(value), self._secrets)


class RunLogs(logging.Handler):
    """Appends each line to the log of the run that is worked on; what belongs to no run is passed over.

    A thread writes, since no file may be written inside an event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: Queue[tuple[Path, str]] = Queue()
        Thread(target=self._write, name="run-logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
        if work := _work.get():
            self._lines.put((work.folder / RUN_LOG, self.format(record)))

    def flush(self) -> None:
        """Wait until all queued lines are written."""
        self._lines.join()

    def _write(self) -> None:
        while True:
            path, line = self._lines.get()
            # No run fails for its log: the database and the steps say so themselves when the disk is full.
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="ascii") as file:
                    file.write(line + "\n")
            self._lines.task_done()


class StderrHandler(logging.Handler):
    """Writes each line to standard error, whatever that is by then."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line."""
        print(self.format(record), file=sys.stderr, flush=True)


class PlainWarnings(logging.Handler):
    """Hands a warning that belongs to no run to the root logger: plain words on standard error, by Python's default.

    Args:
        secrets: texts to mask; what looks like a key is masked too.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record on, with its fields in its words."""
        if record.levelno >= logging.WARNING and not _work.get():
            told = [f"{name} {value}" for name, value in vars(record).items() if name not in PLAIN]
            words = one_line(masked("; ".join([record.getMessage(), *told]), self._secrets))
            logging.root.callHandlers(logging.makeLogRecord(vars(record) | {"msg": words, "args": None}))


@cache
def _run_logs() -> RunLogs:
    return RunLogs()
