"""The web application: ``corral serve`` runs it alone, and ``langgraph.json`` mounts it beside Studio's API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from graph.runs import open_runs
from serving import health
from tools.settings import Settings, load_settings

ROUTERS: tuple[APIRouter, ...] = (health.router,)
"""All routes, by the module that holds them."""


def create_app(load: Callable[[], Settings] = load_settings) -> FastAPI:
    """Return the application.

    Its runs are opened when it starts and closed when it stops; a handler takes them by ``serving.services.runs``.

    Args:
        load: gives the settings when the application starts.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_runs(load()) as runs:
            app.state.runs = runs
            yield

    app = FastAPI(title="Corral", lifespan=lifespan, docs_url=None, redoc_url=None)
    for router in ROUTERS:
        app.include_router(router)
    return app


app = create_app()
