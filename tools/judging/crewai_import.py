"""Import CrewAI late and without its side effects.

By itself ``import crewai`` takes seconds and writes a key and a settings file under the home folder, and a crew sends
telemetry. Environment variables and two module attributes prevent that, if they are set before the first import.
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
from pathlib import Path
from typing import TYPE_CHECKING

from tools.judging.crewai_events import drop_events_on_request

if TYPE_CHECKING:
    from types import ModuleType

SWITCHES = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
}
_lock = threading.Lock()
_crew: ModuleType | None = None


async def load_crew() -> ModuleType:
    """Return ``tools.judging.crew``, importing CrewAI in a thread the first time (seconds, and about 255 MB)."""
    return await asyncio.to_thread(prepare_crewai) if _crew is None else _crew


def prepare_crewai() -> ModuleType:
    """Import CrewAI where it was not imported yet, and return ``tools.judging.crew``; it blocks, for seconds.

    Modules of ours that import it at their top may be imported afterwards.
    """
    global _crew
    with _lock:
        if _crew is None:
            _configure()
            from tools.judging import crew

            drop_events_on_request()
            # CrewAI's modules are 300,000 objects that live to the end. Each full collection would look through
            # them all, half a second during which no call goes out: a third of the judging's processor time.
            gc.collect()
            gc.freeze()
            _crew = crew
        return _crew


def _configure() -> None:
    os.environ.update(SWITCHES)
    folder = Path(os.environ.get("CREWAI_STORAGE_DIR") or _temporary_folder())
    os.environ["CREWAI_STORAGE_DIR"] = str(folder.absolute())
    # Both names are private to crewai_core 1.15.30, which pyproject pins: nothing public moves these two files.
    import crewai_core.settings
    import crewai_core.token_manager

    setattr(crewai_core.token_manager.TokenManager, "_get_secure_storage_path", staticmethod(lambda: folder))  # noqa: B010
    crewai_core.settings.DEFAULT_CONFIG_PATH = folder / "settings.json"
    # Its base class logs a warning for every call that is counted by estimate; ours are counted by the ledger.
    logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)
    # It logs what ends a crew, with its traceback; that comes up to us, and is said in one line.
    logging.getLogger("crewai.flow.runtime").setLevel(logging.CRITICAL)


def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="corral-crewai-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
