"""Endpoints and judges for commands and programs that are no run; their calls go through the settings' ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from state.calls import CallStore
from state.database import Database
from state.errors import BudgetExceeded
from state.names import Split
from state.request import Endpoint, Judging, RunRequest
from state.wording import number_of
from tools.endpoint import demand_price, open_endpoint, price_of
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.observing import flush_traces, observe
from tools.endpoint.spending import CappedLedger, Spending
from tools.judging import CrewJudge, calibrate
from tools.judging.batch import Judge
from tools.judging.calibration import Calibration
from tools.judging.fingerprint import fingerprint_of, same_model, which_model
from tools.judging.judge import identity_of
from tools.judging.licence import model_of
from tools.judging.trust import all_calibrations
from tools.settings import Settings
from tools.sources.labels import LabelSet

CHANGED = "the model behind this name answers otherwise than before: what was measured earlier counts for no licence"
JUDGING, EVALUATION = "judging", "evaluation"
"""What the ledger books such calls under, in place of a run."""

_open: dict[tuple[asyncio.AbstractEventLoop, str], tuple[CallStore, AsyncGenerator[CallStore]]] = {}


async def open_ledger(settings: Settings) -> CallStore:
    """Return the ledger of the settings' database, which is closed with the running loop.

    Raises:
        StorageError: the database cannot be used.
    """
    slot = (asyncio.get_running_loop(), settings.database_url)
    if slot not in _open:
        observe(settings)
        ledger = _ledger(slot)
        _open[slot] = (await anext(ledger), ledger)
    return _open[slot][0]


async def open_standalone(
    spec: Endpoint, settings: Settings, name: str, spending: Spending, *, where: str
) -> LedgeredEndpoint:
    """Return an endpoint over the ledger of the settings' database.

    Args:
        spec: the endpoint.
        settings: the environment's.
        name: what the ledger books its calls under.
        spending: the cap; what the calls cost is added to it.
        where: what the person calls the endpoint, such as ``models.judge``.

    Raises:
        BadInput: the endpoint is wrong, or there is a cap and the price of its tokens is not known.
        StorageError: the database cannot be used.
    """
    if spending.cap is not None:
        demand_price(spec, await asyncio.to_thread(price_of, spec), where)
    ledger = CappedLedger(await open_ledger(settings), spending)
    return await open_endpoint(spec, ledger, name, settings, since=datetime.now(UTC))


@contextmanager
def at_the_cap(advice: str) -> Iterator[None]:
    """Say how to go on where a cap outside of runs ends the work within.

    Raises:
        BudgetExceeded: the same, with this advice.
    """
    try:
        yield
    except BudgetExceeded as error:
        raise BudgetExceeded(error.spent, error.cap, f"What was answered is kept: {advice}") from error


def in_words(spending: Spending, spec: Endpoint) -> str:
    """Return what was spent on an endpoint, and by which price, in one line."""
    price = price_of(spec)
    by = "its price is not known, so it counts as nothing" if price is None else price.source
    cap = "" if spending.cap is None else f" of ${spending.cap:g}"
    return f"spent ${spending.spent:.4f}{cap} on {number_of(spending.calls, 'call')} of {spec.model} ({by})"


async def _ledger(slot: tuple[asyncio.AbstractEventLoop, str]) -> AsyncGenerator[CallStore]:
    # A generator, since a loop that ends closes those it started: nobody has to remember to close the database.
    database = Database(slot[1])
    await database.create()
    calls = CallStore(database)
    try:
        yield calls
    finally:
        _open.pop(slot, None)
        await calls.write_last()
        await database.close()
        await asyncio.to_thread(flush_traces)


async def open_judge(
    spec: Endpoint, judging: Judging, settings: Settings, spending: Spending, *, seed: int = 0
) -> CrewJudge:
    """Return a judge that belongs to no run; errors as for ``open_standalone``."""
    endpoint = await open_standalone(spec, settings, JUDGING, spending, where="models.judge")
    return CrewJudge(endpoint, judging, seed=seed)


async def measured_judge(
    request: RunRequest,
    given: LabelSet,
    split: Split,
    settings: Settings,
    spending: Spending,
    counted: Callable[[Judge], Judge] = lambda judge: judge,
) -> Calibration:
    """Return the calibration of a request's judge by people's labels, with what it cost and which model answered.

    Args:
        request: names the judge.
        given: the labels.
        split: which part of them.
        settings: the environment's.
        spending: what the calls cost is added to it.
        counted: returns the judge as one that is watched.

    Raises:
        BadInput: the judge's endpoint is wrong, or no row could be judged.
        BudgetExceeded, EndpointError: as for ``CrewJudge.judge``.
    """
    spec = request.models.judge
    endpoint = await open_standalone(spec, settings, JUDGING, spending, where="models.judge")
    cost, calls = spending.spent, spending.calls
    identity = await asyncio.to_thread(identity_of, spec, request.judge, settings.cache)
    earlier = await asyncio.to_thread(_fingerprints, identity, endpoint.server, settings)
    fingerprint = await _fingerprint(endpoint) or (earlier[-1] if earlier else "")
    replaced = which_model(fingerprint, earlier)
    judge = counted(CrewJudge(endpoint, request.judge, seed=request.seed, replaced=replaced))
    found = await calibrate(judge, given.part(split), seed=request.seed, about=given, split=split)
    cost, calls = spending.spent - cost, spending.calls - calls
    changed = bool(earlier) and not same_model(earlier[-1], fingerprint)
    return found.model_copy(
        update={
            "server": endpoint.server,
            "fingerprint": fingerprint,
            "cost": cost,
            "calls": calls,
            "notes": (*found.notes, *([CHANGED] if changed else [])),
        }
    )


def _fingerprints(judge: str, server: str, settings: Settings) -> list[str]:
    """Return the fingerprints under which a judge's model was measured at its server, the oldest first."""
    every = all_calibrations(settings.home)
    own = [one for one in every if one.server == server and model_of(one.judge) == model_of(judge)]
    return [one.fingerprint for one in own if one.fingerprint]


async def _fingerprint(endpoint: LedgeredEndpoint) -> str:
    """Return the fingerprint of the model of today; empty where the budget does not allow its questions."""
    try:
        return await fingerprint_of(endpoint, datetime.now(UTC))
    except BudgetExceeded:
        return ""
