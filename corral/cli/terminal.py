"""The one way to the terminal: what a model, a server or a file says can neither steer it nor hide on it."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from tools.visible import visible


class Terminal(Console):
    """A console on which every text is plain: no markup, no codes for emoji, and each control character visible.

    Args:
        **options: ``Console``'s.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text, made visible before it is measured; see ``Console.render_str``."""
        return super().render_str(visible(text), **options)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        # What came as a renderable of its own; the codes that rich itself adds come after this, or as control segments.
        return super()._render_buffer(
            segment if segment.control else Segment(visible(segment.text), segment.style) for segment in buffer
        )


class VisibleStderr(logging.Handler):
    """Writes a record's message to standard error, visibly: in the place of Python's last resort, which is raw."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's message."""
        print(visible(self.format(record)), file=sys.stderr, flush=True)


def make_visible() -> None:
    """Show what Python itself prints, of warnings in logs and of errors that nobody caught, visibly as well."""
    logging.lastResort = VisibleStderr(logging.WARNING)
    sys.excepthook = _show_error


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(visible("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr, flush=True)
