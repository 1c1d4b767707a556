"""What is left of a server's rate limits, from the headers that OpenAI introduced."""

from __future__ import annotations

import re
from collections.abc import Mapping

from state.pipeline import RateLimits

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def read_limits(headers: Mapping[str, str]) -> RateLimits:
    """Return what ``x-ratelimit-remaining-*`` and ``x-ratelimit-reset-*`` say; ``None`` for what they do not.

    If requests and tokens have a reset each, the later one counts: by then both are allowed again.
    """
    resets = [read_duration(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in ("requests", "tokens")]
    return RateLimits(
        requests=_count(headers.get("x-ratelimit-remaining-requests")),
        tokens=_count(headers.get("x-ratelimit-remaining-tokens")),
        reset_seconds=max((reset for reset in resets if reset is not None), default=None),
    )


def read_duration(text: str) -> float | None:
    """Return the seconds of a duration such as ``6m0s``, ``120ms`` or ``2.5``; ``None`` for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or DURATION.sub("", text):
        return None
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in DURATION.findall(text))


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and text.isascii() else None
