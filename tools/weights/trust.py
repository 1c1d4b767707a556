"""What a model's folder may run on this machine: nothing, unless a person trusts the model by name.

Pickled weights and the Python files that a configuration's ``auto_map`` names can do anything when they are loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from state.errors import BadInput
from tools.settings import load_settings

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
CONFIGURATIONS = ("config.json", "tokenizer_config.json", "processor_config.json", "generation_config.json")
ADVICE = "set CORRAL_TRUSTED_MODELS to its name if you trust whoever made it"


def demand_safe(folder: Path) -> None:
    """Refuse a model folder that would run code when it is loaded, unless the model is trusted.

    Raises:
        BadInput: its weights are pickled, or its configuration names code of its own; one line.
    """
    if is_trusted(folder):
        return
    if not any(folder.glob("model*.safetensors")) and (pickled := pickles(folder)):
        raise BadInput(
            f"models.base: {folder / pickled[0]} is pickled, and loading it could run anything here; take the model's "
            f"safetensors, or {ADVICE}"
        )
    for name in CONFIGURATIONS:
        if _names_code(folder / name):
            raise BadInput(
                f"models.base: {folder / name} names Python code of the model's own (auto_map), which would run here; "
                f"take a model that transformers knows, or {ADVICE}"
            )


def pickles(folder: Path) -> list[str]:
    """Return the names of a folder's files that may be pickles."""
    return sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))


def is_trusted(folder: Path) -> bool:
    """Return whether the settings name a model: its folder, or its name on the hub where it was fetched from there."""
    return any(
        Path(name).expanduser().resolve() == folder.resolve() or f"models--{name.replace('/', '--')}" in folder.parts
        for name in load_settings().trusted
    )


def code_options(folder: Path) -> dict[str, Any]:
    """Return the options by which transformers loads a trusted model with code of its own; none for any other."""
    own_code = any(_names_code(folder / name) for name in CONFIGURATIONS)
    return {"trust_remote_code": True} if own_code and is_trusted(folder) else {}


def _names_code(path: Path) -> bool:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and bool(config.get("auto_map"))
