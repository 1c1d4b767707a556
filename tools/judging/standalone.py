"""A judge for a program or a command that is no run; its calls go through the same ledger, under their own name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from state.calls import CallStore
from state.database import Database
from state.pipeline import RateLimits
from state.records import Candidate, Judgement, Sample
from state.request import EMBEDDED, Endpoint, Judging
from tools.endpoint import open_endpoint
from tools.endpoint.chat import ChatCall, ChatEndpoint, Completion
from tools.endpoint.embedded import MODEL as EMBEDDED_MODEL
from tools.judging.judge import CrewJudge
from tools.judging.preference import Preference
from tools.settings import load_settings
from tools.sources.items import Item

T = TypeVar("T", bound=BaseModel)
LEDGER_NAME = "judging"
"""What the ledger books such calls under, in place of a run."""


class Judge(Protocol):
    """Whatever judges answers; ``CrewJudge`` does."""

    identity: str
    """What it is known by, in records and calibrations."""

    async def judge(self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None) -> Judgement:
        """Judge one candidate; see ``CrewJudge.judge``."""
        ...

    async def prefer(
        self, sample: Sample, first: Candidate, second: Candidate, context: Mapping[str, Any] | None = None
    ) -> Preference:
        """Choose between two answers, asked in both orders; see ``CrewJudge.prefer``."""
        ...


_open: dict[asyncio.AbstractEventLoop, tuple[CallStore, AsyncGenerator[CallStore]]] = {}


class NoCalls:
    """Stands where an endpoint would, for the likelihood judge: the embedded servers need not start for it."""

    model = EMBEDDED_MODEL
    limits = RateLimits()

    async def complete(self, call: ChatCall) -> Completion:
        """Refuse: there is no server behind it."""
        raise RuntimeError("the likelihood judge makes no calls")

    async def complete_as(self, schema: type[T], call: ChatCall) -> tuple[T, Completion]:
        """Refuse: there is no server behind it."""
        raise RuntimeError("the likelihood judge makes no calls")


async def open_judged_endpoint(spec: Endpoint) -> ChatEndpoint:
    """Return an endpoint over the ledger of the settings' database; it is closed with the running loop.

    Raises:
        BadInput: the settings or the endpoint are wrong.
        StorageError: the database cannot be used.
    """
    if spec.base_url == EMBEDDED and spec.model == EMBEDDED_MODEL:
        return NoCalls()
    loop = asyncio.get_running_loop()
    settings = await asyncio.to_thread(load_settings)
    if loop not in _open:
        life = _life(loop, settings.database_url)
        _open[loop] = (await anext(life), life)
    return await open_endpoint(spec, _open[loop][0], LEDGER_NAME, settings)


async def _life(loop: asyncio.AbstractEventLoop, url: str) -> AsyncGenerator[CallStore]:
    # A generator, since a loop that ends closes those it started: nobody has to remember to close the database.
    database = Database(url)
    await database.create()
    try:
        yield CallStore(database)
    finally:
        _open.pop(loop, None)
        await database.close()


async def open_judge(spec: Endpoint, settings: Judging, *, seed: int = 0) -> CrewJudge:
    """Return a judge that belongs to no run.

    Raises:
        BadInput: as for ``open_judged_endpoint``.
        StorageError: as for ``open_judged_endpoint``.
    """
    return CrewJudge(await open_judged_endpoint(spec), settings, seed=seed)


async def judge_items(judge: Judge, items: Sequence[Item]) -> list[Judgement]:
    """Judge all items at once, in their order; how many calls are in flight is the endpoint's business.

    Raises:
        BudgetExceeded, EndpointUnreachable, EndpointRefused: as for ``CrewJudge.judge``; the first one, after all
            items have ended.
    """
    results = await asyncio.gather(
        *(judge.judge(item.sample, item.candidate, item.context or None) for item in items), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Judgement)]
