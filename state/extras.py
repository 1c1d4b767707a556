"""What an installation has beyond the base: packages by extra, and one line for those that are missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from state.errors import BadInput

Extra = Literal["train", "postgres", "serve"]

EXTRAS: Mapping[Extra, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("accelerate", "datasets", "gguf", "peft", "torch", "transformers", "trl", "xllamacpp"),
        "postgres": ("langgraph.checkpoint.postgres", "psycopg"),
        "serve": ("fastapi", "langgraph_api", "langgraph_cli", "langgraph_runtime_inmem", "prometheus_client"),
    }
)
"""The modules that an extra brings and the base install does not have. pyproject.toml has their packages."""


def install_command(extra: Extra | Literal["deepspeed"]) -> str:
    """Return the command that installs an extra from where Corral came from: a checkout, or a package of that name."""
    try:
        text = importlib.metadata.distribution("corral").read_text("direct_url.json")  # PEP 610
    except importlib.metadata.PackageNotFoundError:
        text = None
    origin = json.loads(text) if text else {}
    if "dir_info" not in origin:
        return f"pip install 'corral[{extra}]'"
    from urllib.parse import urlsplit  # seldom asked, and url2pathname imports all of HTTP
    from urllib.request import url2pathname

    editable = "--editable " if origin["dir_info"].get("editable") else ""
    return f"pip install {editable}'{url2pathname(urlsplit(origin['url']).path)}[{extra}]'"


def missing_modules(extra: Extra) -> tuple[str, ...]:
    """Return the modules of an extra that are not installed; nothing is imported but the packages they lie in."""
    return tuple(name for name in EXTRAS[extra] if not _installed(name))


def demand_extra(extra: Extra, what: str) -> None:
    """Refuse what needs an extra that is not installed.

    Args:
        extra: the extra.
        what: the subject of the message, such as ``the training``.

    Raises:
        BadInput: a module is missing; the message names it and the command that installs the extra.
    """
    if missing := missing_modules(extra):
        raise BadInput(f"{what} needs {missing[0]}, which is not installed; install it with: {install_command(extra)}")


def _installed(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
