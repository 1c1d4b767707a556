"""CrewAI, imported late and kept quiet.

Left alone, ``import crewai`` costs seconds, writes a key and a settings file under the home folder, and a crew would
phone out. All of that is decided by what stands in the environment and in two module names before the first import.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

SILENCE = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
}
_unobserved: ContextVar[bool] = ContextVar("unobserved", default=False)
_lock = threading.Lock()
_crew: ModuleType | None = None


async def load_crew() -> ModuleType:
    """Return ``tools.judging.crew``, importing CrewAI in a thread the first time (seconds, and about 255 MB)."""
    return await asyncio.to_thread(_load) if _crew is None else _crew


@contextmanager
def unobserved() -> Iterator[None]:
    """Run a crew of ours without CrewAI's events and file store, which nobody here listens to or fills.

    They would cost 13 short-lived threads, each blocking the event loop, and some 30 events a kickoff. Other crews of
    the same process keep both.
    """
    token = _unobserved.set(True)
    try:
        yield
    finally:
        _unobserved.reset(token)


def _let_unobserved_pass() -> None:
    from crewai.events.event_bus import crewai_event_bus
    from crewai.utilities import file_store

    emit, run_sync = crewai_event_bus.emit, file_store._run_sync

    def emit_if_observed(source: Any, event: Any) -> Any:
        return None if _unobserved.get() else emit(source, event)

    def run_if_observed(coroutine: Coroutine[None, None, Any]) -> Any:
        return coroutine.close() if _unobserved.get() else run_sync(coroutine)

    crewai_event_bus.emit = emit_if_observed
    file_store._run_sync = run_if_observed


def _load() -> ModuleType:
    global _crew
    with _lock:
        if _crew is None:
            _silence()
            from tools.judging import crew

            _let_unobserved_pass()
            # CrewAI's modules are 300,000 objects that live to the end. Each full collection would look through
            # them all, half a second during which no call goes out: a third of the judging's processor time.
            gc.collect()
            gc.freeze()
            _crew = crew
        return _crew


def _silence() -> None:
    os.environ.update(SILENCE)
    folder = Path(os.environ.get("CREWAI_STORAGE_DIR") or _temporary_folder())
    os.environ["CREWAI_STORAGE_DIR"] = str(folder.absolute())
    # Both names are private to crewai_core 1.15.30, which pyproject pins: nothing public moves these two files.
    import crewai_core.settings
    import crewai_core.token_manager

    setattr(crewai_core.token_manager.TokenManager, "_get_secure_storage_path", staticmethod(lambda: folder))  # noqa: B010
    crewai_core.settings.DEFAULT_CONFIG_PATH = folder / "settings.json"
    # Its base class logs a warning for every call that is counted by estimate; ours are counted by the ledger.
    logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)


def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="corral-crewai-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
