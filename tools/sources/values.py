"""What a value in a row stands for: one that is null is absent, and a number may stand where text is wanted."""

from __future__ import annotations

import math
import re
from typing import Any

_NO_INPUT = re.compile(r"\s*<\s*no[\s_-]?inputs?\s*>\s*", re.IGNORECASE)


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
    """Return a number as JSON writes it; anything else as it is.

    Files made by programs hold an id or an answer such as 42 as a number.
    """
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def given_input(value: str) -> str:
    """Return an instruction's input; empty for Alpaca's mark that there is none, ``<noinput>``."""
    return "" if _NO_INPUT.fullmatch(value) else value


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
