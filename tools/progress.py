"""Progress that a person sees while a step runs: small events on LangGraph's custom stream."""

from __future__ import annotations

from typing import Literal

from state.records import Record


class Progress(Record):
    """One step forward.

    Several events of one step add up: ``advance`` is relative, ``total`` replaces the total known so far.
    """

    type: Literal["progress"] = "progress"
    step: str
    advance: int = 0
    total: int | None = None
    note: str = ""


def report_progress(step: str, advance: int = 0, *, total: int | None = None, note: str = "") -> None:
    """Send an event to whoever watches the run; outside a run, such as in a test of one node, it goes nowhere.

    Args:
        step: the node's name.
        advance: items done since the last event.
        total: items that the step has left, where that is known.
        note: a few words, such as a loss.
    """
    from langgraph.config import get_stream_writer  # a second; who only looks at runs needs none of it

    try:
        write = get_stream_writer()
    except RuntimeError:
        return
    write(Progress(step=step, advance=advance, total=total, note=note).model_dump())
