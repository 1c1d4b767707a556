"""Whether the application lives, and whether it can work."""

from __future__ import annotations

import logging

from fastapi import APIRouter, HTTPException

from serving.services import OpenRuns
from state.errors import CorralError

router = APIRouter()
logger = logging.getLogger(__name__)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(runs: OpenRuns) -> dict[str, str]:
    """Answer where the database does. Whoever asks needs no token, so why it does not stands in the log alone."""
    try:
        await runs.services.store.run_ids()
    except CorralError as error:
        logger.error("the database does not answer", extra={"error": str(error)})
        raise HTTPException(503, "the database does not answer; the log says why") from error
    return {"status": "ready"}
