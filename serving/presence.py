"""Which browsers review under which name: two people of one name are told, since their decisions count as one's."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 15 * 60.0
"""How long after its last page a browser counts as being there."""


class Presence:
    """The browsers that have shown a review page of late, by name.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, dict[str, float]] = {}

    def others(self, name: str, browser: str) -> str:
        """Note that a browser shows a page to somebody, and return what to say of other browsers under that name."""
        now = self._clock()
        kept = {other: at for other, at in self._seen.get(name, {}).items() if now - at < SECONDS}
        self._seen[name] = kept | {browser: now}
        ago = min((now - at for other, at in kept.items() if other != browser), default=None)
        if ago is None:
            return ""
        last = f"{ago / 60:.0f} minutes ago" if ago > 90 else "just now"
        return (
            f"Another browser reviews as {name} too, {last}. Decisions under one name "
            "are one person's: the later one takes the place of the earlier until the batch is sent."
        )
