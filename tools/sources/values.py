"""What a value in a row stands for: one that is null is absent, and a number may stand where text is wanted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_NO_INPUT = re.compile(
    r"\s*(?:[<(\[{]\s*(?:no[\s_-]?inputs?|none|empty|null|n/?a)\s*[>)\]}]|no[\s_-]?input"
    r"(?:\s+(?:is\s+)?(?:required|needed|necessary|provided|given))?\.?|n/a\.?)\s*",
    re.IGNORECASE,
)


def present(value: Any) -> Any:
    """Return a JSON value without the fields that hold null or NaN, at any depth.

    A table writes them where a row has no value, so they mean what a missing field means. Elements of lists stay:
    their places count.
    """
    if isinstance(value, dict):
        return {name: present(part) for name, part in value.items() if not _is_absent(part)}
    if isinstance(value, list):
        return [present(part) for part in value]
    return value


def number_as_text(value: Any) -> Any:
    """Return a number as JSON writes it, and an empty list or object as the empty text; anything else as it is.

    Files made by programs hold an id or an answer such as 42 as a number, and ``[]`` where there is nothing.
    """
    if value in ([], {}):
        return ""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def other_spelling(row: Mapping[str, Any], *names: str) -> str:
    """Return that a row has one of some keys in another spelling, for an error; empty where it has none."""
    found = next((key for key in row if key.strip().lower() in names), None)
    return "" if found is None else f'; it has "{found}"'


def given_input(value: str) -> str:
    """Return an instruction's input; empty for a mark that there is none: Alpaca's ``<noinput>``, ``N/A``."""
    return "" if not value.strip() or _NO_INPUT.fullmatch(value) else value


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
