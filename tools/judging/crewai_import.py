"""Import CrewAI late and without its side effects.

By itself ``import crewai`` takes seconds and writes a key and a settings file under the home folder, and a crew sends
telemetry. Environment variables and two module attributes prevent that, if they are set before the first import.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tools.judging.crewai_events import drop_events_on_request

SWITCHES = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
}
OPENAI = "crewai.llms.providers.openai.completion"
_lock = threading.Lock()
_crew: ModuleType | None = None
_made: str | None = None
"""The folder that was made for CrewAI's files."""


def prepare_crewai() -> ModuleType:
    """Import CrewAI where it was not imported yet, and return ``tools.judging.crew``; it blocks, for seconds.

    Modules of ours that import it at their top may be imported afterwards. The judges' process does that, and the one
    in which a crew works on a whole run.
    """
    global _crew
    with _lock:
        if _crew is None:
            _configure()
            with _without_openai():
                from tools.judging import crew

            drop_events_on_request()
            _crew = crew
        return _crew


def _configure() -> None:
    os.environ.update(SWITCHES)
    folder = make_storage()
    # Both names are private to crewai_core 1.15.30, which pyproject pins: nothing public moves these two files.
    import crewai_core.settings
    import crewai_core.token_manager

    setattr(crewai_core.token_manager.TokenManager, "_get_secure_storage_path", staticmethod(lambda: folder))  # noqa: B010
    crewai_core.settings.DEFAULT_CONFIG_PATH = folder / "settings.json"
    # Its base class logs a warning for every call that is counted by estimate; ours are counted by the ledger.
    logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)
    # It logs what ends a crew, with its traceback; that comes up to us, and is said in one line.
    logging.getLogger("crewai.flow.runtime").setLevel(logging.CRITICAL)


class _Later(type):
    """The class of a class that stands in for one of a module that nobody has imported yet."""

    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules.get(OPENAI)
        return module is not None and isinstance(instance, getattr(module, cls.__name__))


@contextmanager
def _without_openai() -> Iterator[None]:
    """Keep CrewAI from importing the package openai, a quarter of its import, until somebody makes a model of it.

    ``crewai.task`` alone imports it, to ask of a model whether it is one of OpenAI's.
    """
    if OPENAI in sys.modules:
        yield
        return
    stand_in = ModuleType(OPENAI)
    setattr(stand_in, "OpenAICompletion", _Later("OpenAICompletion", (), {}))  # noqa: B010
    sys.modules[OPENAI] = stand_in
    try:
        yield
    finally:
        del sys.modules[OPENAI]


def make_storage() -> Path:
    """Return the folder for CrewAI's files: the environment's, or a temporary one that is made at the first call."""
    global _made
    if not os.environ.get("CREWAI_STORAGE_DIR"):
        os.environ["CREWAI_STORAGE_DIR"] = _made = tempfile.mkdtemp(prefix="corral-crewai-")
        atexit.register(remove_storage)
    folder = Path(os.environ["CREWAI_STORAGE_DIR"]).absolute()
    os.environ["CREWAI_STORAGE_DIR"] = str(folder)
    return folder


def remove_storage() -> None:
    """Remove the folder that was made for CrewAI, if one was; a process that leaves by ``os._exit`` calls it."""
    if _made is not None:
        shutil.rmtree(_made, ignore_errors=True)
