"""Whether the application lives, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from serving.services import OpenRuns
from state.errors import CorralError

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(runs: OpenRuns) -> dict[str, str]:
    """Answer where the database does; 503 says why it does not."""
    try:
        await runs.services.store.run_ids()
    except CorralError as error:
        raise HTTPException(503, str(error)) from error
    return {"status": "ready"}
