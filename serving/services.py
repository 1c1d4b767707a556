"""What the application's handlers work with."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from graph.reviews import Reviews
from graph.runs import Runs
from serving.background import Worker
from serving.presence import Presence


def runs(request: Request) -> Runs:
    """Return the application's runs."""
    found: Runs = request.app.state.runs
    return found


def worker(request: Request) -> Worker:
    """Return who works on runs in the background."""
    found: Worker = request.app.state.worker
    return found


OpenRuns = Annotated[Runs, Depends(runs)]
"""A handler's argument of this type is the application's runs."""
OpenWorker = Annotated[Worker, Depends(worker)]
"""A handler's argument of this type works on runs in the background."""


def reviews(runs: OpenRuns) -> Reviews:
    """Return the review of the application's runs."""
    return Reviews(runs)


def presence(request: Request) -> Presence:
    """Return who looks at the review from which browser."""
    found: Presence = request.app.state.presence
    return found


OpenReviews = Annotated[Reviews, Depends(reviews)]
"""A handler's argument of this type is the review of all runs."""
OpenPresence = Annotated[Presence, Depends(presence)]
"""A handler's argument of this type knows who looks at the review."""
