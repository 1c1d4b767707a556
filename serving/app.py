"""The web application: ``corral serve`` runs it alone, and ``langgraph.json`` mounts it beside Studio's API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.staticfiles import StaticFiles

from graph.runs import open_runs
from serving import ask_pages, chat, entrance, feedback, health, metrics, review_pages, run_pages
from serving.background import Worker
from serving.chat.service import chatting
from serving.headers import SecurityHeaders
from serving.meters import MeasuredRequests, Meters
from serving.pages import tell_errors, templates
from serving.presence import Presence
from serving.recording import record_answers
from serving.waking import wake_forever
from tools.settings import Settings, load_settings

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    metrics.router,
    feedback.router,
    chat.router,
    entrance.router,
    ask_pages.router,
    review_pages.router,
    run_pages.router,
)
"""All routes, by the module that holds them."""


class PageFiles(StaticFiles):
    """The style sheet and the scripts of the pages."""


def create_app(load: Callable[[], Settings] = load_settings) -> FastAPI:
    """Return the application.

    Its runs are opened when it starts and closed when it stops; a handler takes them by ``serving.services.runs``.

    Args:
        load: gives the settings when the application starts.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(templates)
        settings = load()
        async with open_runs(settings) as runs, chatting(app, settings) as talk:
            record_answers(talk, runs, app.state.meters)
            app.state.runs, app.state.worker, app.state.presence = runs, Worker(runs), Presence()
            waking = asyncio.create_task(wake_forever(runs, app.state.worker))
            try:
                yield
            finally:
                waking.cancel()
                await asyncio.gather(waking, return_exceptions=True)
                await app.state.worker.close()

    app = FastAPI(title="Corral", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SecurityHeaders)
    app.state.meters = Meters()
    app.add_middleware(MeasuredRequests, meters=app.state.meters)
    tell_errors(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", PageFiles(directory=Path(__file__).parent / "static"), name="static")
    return app


app = create_app()
