"""Run a crew without CrewAI's events and file store, which Corral does not use."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_dropped: ContextVar[bool] = ContextVar("dropped", default=False)


@contextmanager
def without_events() -> Iterator[None]:
    """Drop events and file store for the crews kicked off inside; other crews of the same process keep both.

    A kickoff would otherwise start 13 short-lived threads, each of which blocks the event loop, and send 30 events.
    """
    token = _dropped.set(True)
    try:
        yield
    finally:
        _dropped.reset(token)


def drop_events_on_request() -> None:
    """Patch CrewAI once, so that ``without_events`` takes effect."""
    from crewai.events.event_bus import crewai_event_bus
    from crewai.utilities import file_store

    emit, run_sync = crewai_event_bus.emit, file_store._run_sync

    def emit_unless_dropped(source: Any, event: Any) -> Any:
        return None if _dropped.get() else emit(source, event)

    def run_unless_dropped(coroutine: Coroutine[None, None, Any]) -> Any:
        return coroutine.close() if _dropped.get() else run_sync(coroutine)

    crewai_event_bus.emit = emit_unless_dropped
    file_store._run_sync = run_unless_dropped
