"""What the application's handlers work with."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from graph.runs import Runs


def runs(request: Request) -> Runs:
    """Return the application's runs."""
    found: Runs = request.app.state.runs
    return found


OpenRuns = Annotated[Runs, Depends(runs)]
"""A handler's argument of this type is the application's runs."""
