"""What all endpoints of one event loop share: connections, limits, accounts, calls under way, and how they ended.

Asyncio's objects belong to one loop, and a process may have several (CrewAI's sync calls, the server, tests).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from state.records import Call
from tools.endpoint.health import Health
from tools.endpoint.trial import Trial

if TYPE_CHECKING:
    import aiohttp

    from tools.endpoint.budget import Account
    from tools.endpoint.ledger import CallLedger

T = TypeVar("T")
logger = logging.getLogger(__name__)

LAST_ANSWERS_SECONDS = 60.0
"""How many seconds an orderly end waits for answers that are paid for."""
GRACE_SECONDS = 8.0
"""The same where a signal asks for the end: ``docker stop`` kills after 10 seconds."""
demand_allowed: ContextVar[Callable[[], Coroutine[Any, Any, None]] | None] = ContextVar("demand_allowed", default=None)
"""What a call's request asks once more before its first byte; it raises where it may not go."""
CONNECT_SECONDS = 10.0
"""How many seconds connecting may take; the wait for an answer has its own limit."""


@dataclass(eq=False)
class PendingCall:
    """A call under way, and how many wait for it."""

    run_id: str
    """The run that pays for it."""
    task: asyncio.Task[tuple[Call, bool]] = field(init=False)
    waiters: int = 0
    allowed: float = 0.0
    """When the ledger last allowed it, by ``state.lease.CLOCK``."""
    sent: bool = False
    """It may have reached the server, which then charges for it."""
    arrived: bool = False
    """Its answer has arrived and is being written."""
    remote: bool = True
    """Another machine answers it, and may charge for it."""
    late: bool = False
    """Its last try had no answer in time."""
    patience: float = 0.0
    """Seconds that it may still wait for other tries that follow a late one."""


@dataclass
class Shared:
    """What the endpoints of one loop share."""

    session: aiohttp.ClientSession
    limits: dict[tuple[str, int], asyncio.Semaphore] = field(default_factory=dict)
    accounts: WeakValueDictionary[tuple[int, str], Account] = field(default_factory=WeakValueDictionary)
    pending: dict[tuple[int, str], PendingCall] = field(default_factory=dict)
    healths: dict[tuple[str, str], Health] = field(default_factory=dict)
    trials: dict[tuple[int, str, str, str, str], Trial] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    late: dict[str, asyncio.Lock] = field(default_factory=dict)

    def say_once(self, line: str) -> None:
        """Warn of something that holds for many calls, once."""
        if line not in self.said:
            self.said.add(line)
            logger.warning("%s", line)

    def limit(self, url: str, concurrency: int) -> asyncio.Semaphore:
        """Return the limit on calls in flight to a URL; equal arguments share one."""
        return self.limits.setdefault((url, concurrency), asyncio.Semaphore(concurrency))

    @asynccontextmanager
    async def turn(self, url: str, call: PendingCall) -> AsyncGenerator[None]:
        """Let a try that follows a late one wait until no other such try is under way, as long as its patience lasts.

        A server that is too slow for all calls at once works on what it is no longer waited for, a server behind a
        proxy always: asked as often again it would never catch up.
        """
        lock = self.late.setdefault(url, asyncio.Lock())
        began, alone = asyncio.get_running_loop().time(), False
        if call.late:
            with suppress(TimeoutError):
                async with asyncio.timeout(call.patience):
                    alone = await lock.acquire()
            call.patience -= min(call.patience, asyncio.get_running_loop().time() - began)
        try:
            yield
        finally:
            if alone:
                lock.release()

    def health(self, url: str, model: str) -> Health:
        """Return how the calls of all runs to a model at a URL ended."""
        return self.healths.setdefault((url, model), Health())

    def trial(self, ledger: int, run_id: str, url: str, model: str, purpose: str) -> Trial:
        """Return how the answers of a model to one purpose of a run could be used; ``judge.accuracy`` is ``judge``."""
        use = purpose.partition(".")[0]
        return self.trials.setdefault((ledger, run_id, url, model, use), Trial(f"{model!r} at {url}", use))

    def start(
        self, slot: tuple[int, str], run_id: str, make: Callable[[PendingCall], Coroutine[Any, Any, tuple[Call, bool]]]
    ) -> PendingCall:
        """Start a run's call and keep it under way until it is done."""
        call = PendingCall(run_id)
        call.task = asyncio.create_task(make(call))
        call.task.add_done_callback(lambda task: self._ended(slot, call, task))
        self.pending[slot] = call
        return call

    def drop(self, slot: tuple[int, str], call: PendingCall) -> None:
        """Cancel a call that nobody waits for; if it is asked again, it starts anew."""
        self._forget(slot, call)
        call.task.cancel()

    def _ended(self, slot: tuple[int, str], call: PendingCall, task: asyncio.Task[tuple[Call, bool]]) -> None:
        self._forget(slot, call)
        if not task.cancelled():
            # Read, so that asyncio does not warn about a failed call that nobody waited for.
            task.exception()

    def _forget(self, slot: tuple[int, str], call: PendingCall) -> None:
        if self.pending.get(slot) is call:
            del self.pending[slot]


_shared: dict[asyncio.AbstractEventLoop, tuple[Shared, AsyncGenerator[Shared]]] = {}


async def shared() -> Shared:
    """Return what the running loop's endpoints share; it is closed when the loop ends."""
    loop = asyncio.get_running_loop()
    if loop not in _shared:
        life = _life(loop)
        # Nothing here yields to another task, so two callers never both create it.
        _shared[loop] = (await anext(life), life)
    return _shared[loop][0]


def _under_way() -> list[tuple[int, PendingCall]]:
    """Return the calls under way in this loop, each with the id of its ledger."""
    known = _shared.get(asyncio.get_running_loop())
    pending = known[0].pending.items() if known else ()
    return [(of, call) for (of, _), call in pending if not call.task.cancelling()]


async def await_sent(ledger: CallLedger | None, seconds: float = LAST_ANSWERS_SECONDS) -> None:
    """Wait until all calls that were sent to others are in their ledger; give up what has not come in time.

    Args:
        ledger: whose calls; ``None`` for those of all.
        seconds: how long to wait.
    """
    sent = {
        call.task for of, call in _under_way() if (ledger is None or of == id(ledger)) and call.sent and call.remote
    }
    if sent:
        logger.warning("waiting for %d answers that are paid for; at most %.0f s", len(sent), seconds)
        _, late = await asyncio.wait(sent, timeout=seconds)
        for task in late:
            task.cancel()


async def with_last_answers(work: Coroutine[Any, Any, T]) -> T:
    """Do work that asks models; where it is cancelled, wait ``GRACE_SECONDS`` for the answers to what it has sent."""
    try:
        return await work
    except asyncio.CancelledError:
        await await_sent(None, GRACE_SECONDS)
        raise


def drop_calls(ledger: CallLedger, run_id: str) -> None:
    """Cancel all calls of a run that this process has lost: their answers could not be recorded."""
    for of, call in _under_way():
        if of == id(ledger) and call.run_id == run_id:
            call.task.cancel()


async def _life(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Shared]:
    # A generator, since a loop that ends closes every async generator that it started: connections are never left open,
    # and nobody has to remember to close them.
    import aiohttp  # a sixth of a second, for those who call a model alone

    async def look_again(_session: object, _context: object, _told: object) -> None:
        if demand := demand_allowed.get():
            await demand()

    # Between a call's permission and its first byte a connection is made and a task started: this process may have been
    # stopped in between. Headers wait for the body, before which aiohttp tells of it.
    tracing = aiohttp.TraceConfig()
    tracing.on_request_chunk_sent.append(look_again)
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
    timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=CONNECT_SECONDS)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trace_configs=[tracing]) as session:
            yield Shared(session)
    finally:
        _shared.pop(loop, None)
