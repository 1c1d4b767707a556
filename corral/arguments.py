"""What a program gives to the Python API is demanded to be of its kind before any model is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from state.errors import BadInput


def listed(given: Iterable[Any], name: str) -> list[Any]:
    """Return several things as a list.

    Raises:
        BadInput: it is one thing. The letters of a text, and the keys of a mapping, could be gone through, too, and
            each would be paid for.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise BadInput(f"{name} must be a list, not {type(given).__name__}; a single one stands in brackets: [...]")
    return list(given)


def demand_whole(given: int, name: str, least: int = 1) -> None:
    """Demand a whole number.

    Raises:
        BadInput: it is none, or is too small.
    """
    if isinstance(given, bool) or not isinstance(given, int):
        raise BadInput(f"{name} must be a whole number, not {given!r}")
    if given < least:
        raise BadInput(f"{name} must be at least {least}, not {given}")


def demand_mapping(given: object, name: str) -> None:
    """Demand a mapping, or nothing.

    Raises:
        BadInput: it is something else.
    """
    if given is not None and not isinstance(given, Mapping):
        raise BadInput(f"{name} must be a mapping, not {type(given).__name__}")


def refuse_mapping(given: object, name: str) -> None:
    """Refuse a mapping where an endpoint is asked for: in Python that is an ``Endpoint``.

    Raises:
        BadInput: it is a mapping.
    """
    if isinstance(given, Mapping):
        raise BadInput(
            f"{name} is a mapping; give corral.Endpoint(base_url=..., model=...) with its fields, a URL, a chat model, "
            "a Runnable or a function"
        )


def prompt_row(given: str | Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a prompt, which may be its text alone, as a row.

    Raises:
        BadInput: it is neither a text nor a mapping.
    """
    if isinstance(given, str):
        return {"prompt": given}
    if not isinstance(given, Mapping):
        raise BadInput(f"{name} must be a text or a mapping with 'prompt', not {type(given).__name__}")
    return dict(given)
