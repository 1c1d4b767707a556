"""The session of one crew: its plan, its run, its money, and a record of all that was decided and done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime
from typing import Any, TypeVar

from graph.crews.journal import Journal, KeptDecision, KeptUse, Progressed
from graph.crews.result import Decision, ToolUse
from graph.runs import Runs
from state.errors import BadInput, CorralError
from state.request import Endpoint, RunRequest
from tools.crews.rules import CrewFacts
from tools.endpoint import demand_price, open_endpoint, price_of
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.spending import CappedLedger, Spending
from tools.progress import Progress

logger = logging.getLogger(__name__)

T = TypeVar("T")
SHARE = 0.2
"""Of the budget: what agents may spend on their own calls. The run has the rest, so that both together keep the cap."""
MOST_DECISIONS = 150
"""Decisions of all agents of one crew. The shipped crews take some 40; one that loops ends here."""
BOOKED = "crew"
"""What the ledger books the agents' own calls under; those of a crew that can go on under ``crew NAME``."""
Follow = Callable[[str, AsyncIterator[Progress]], Awaitable[None]]
"""Takes a run and its progress, and watches it to its end."""


async def drain(run_id: str, events: AsyncIterator[Progress]) -> None:
    """Follow a run that nobody watches."""
    async for _ in events:
        pass


class CrewSession:
    """What the tools of one crew share.

    Its coroutines run in one event loop, that of the runs; CrewAI's agents run in a thread and wait for them.

    Args:
        runs: all runs.
        loop: the event loop that they were opened in.
        request: the plan. Agents may change it until the run begins.
        follow: watches the run.
        tell: is told in a line what a person should know of the crew.
        most: decisions at most.
    """

    def __init__(
        self,
        runs: Runs,
        loop: asyncio.AbstractEventLoop,
        request: RunRequest,
        *,
        follow: Follow = drain,
        tell: Callable[[str], None] = logger.info,
        most: int = MOST_DECISIONS,
    ) -> None:
        cap = request.budget.dollars
        self.runs, self.services, self.loop = runs, runs.services, loop
        self.request = request
        self.spending = Spending(cap=None if cap is None else cap * SHARE)
        self.run_id = ""
        self.held = ""
        """Why the quality gate stopped the data; empty where it did not."""
        self.recommended: dict[str, Any] = {}
        """Settings that the tuner found better than the plan's."""
        self.decisions: list[Decision] = []
        self.uses: list[ToolUse] = []
        self.failure: BaseException | None = None
        """What ended the crew before its time."""
        self.journal: Journal | None = None
        """Keeps what is decided and done, and gives what an earlier process kept; ``None`` where nothing is kept."""
        self.tell = tell
        self._follow, self._most = follow, most
        self._began = datetime.now(UTC)
        self._waiting: set[Future[Any]] = set()
        self._closed = False

    def before(self) -> None:
        """Raise where the crew has to end."""
        if self._closed:
            raise CorralError("the crew was stopped")
        if self.failure is not None:
            raise self.failure
        if self.at_bound:
            self.failure = CorralError(
                f"the crew made {self._most} decisions without coming to its end, which is the bound; it {self.cost}"
                + (f"; 'corral resume {self.run_id}' goes on with its run" if self.run_id else "; no run was started")
            )
            raise self.failure

    @property
    def at_bound(self) -> bool:
        """Whether the crew has made all the decisions that it may make."""
        return len(self.decisions) >= self._most

    def earlier_decision(self, agent: str, task: str) -> str | None:
        """Return what an agent answered before the crew was killed; ``None`` where it is to be asked."""
        return self.journal.decision(agent, task) if self.journal else None

    def note(self, agent: str, task: str, tool: str, answer: str, *, earlier: bool) -> None:
        """Note a decision.

        Args:
            agent: who decided.
            task: the task's name.
            tool: what was asked for; empty for a final answer.
            answer: the decision as it was written.
            earlier: it was made, and is kept, already.
        """
        self.decisions.append(Decision(agent=agent, task=task, tool=tool))
        if self.journal and not earlier:
            self.journal.keep(KeptDecision(agent=agent, task=task, answer=answer))

    @property
    def cost(self) -> str:
        """What the agents' own calls cost, in words."""
        cap = "" if self.spending.cap is None else f" of ${self.spending.cap:g}"
        return f"spent ${self.spending.spent:.4f}{cap} on {self.spending.calls} calls for its decisions"

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the session's loop and wait for it; call it from another thread."""
        if self._closed:
            work.close()
            raise CorralError("the crew was stopped")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        self._waiting.add(future)
        try:
            return future.result()
        except CancelledError as error:
            raise CorralError("the crew was stopped") from error
        finally:
            self._waiting.discard(future)

    def close(self) -> None:
        """End what the agents wait for; they then stop at their next decision."""
        self._closed = True
        for future in list(self._waiting):
            future.cancel()

    async def facts(self) -> CrewFacts:
        """Return what the rules decide by."""
        planned = tuple(f"{key}={_plain(value)}" for key, value in self.recommended.items())
        if not self.run_id:
            return CrewFacts(recommended=planned)
        state, status = await self.runs.state(self.run_id), await self.runs.status(self.run_id)
        choice = state.get("next_round")
        past = "dataset" in state or status.step not in ("generate", "gate", "")
        return CrewFacts(
            begun=True,
            round=state.get("round", 0),
            generated=past or (choice is not None and choice.action == "stop"),
            held=bool(self.held),
            dataset="dataset" in state,
            adapter="adapter" in state,
            measured="verdict" in state,
            ended=status.standing in ("done", "waiting"),
            recommended=planned,
        )

    def demand_run(self) -> str:
        """Return the run's name.

        Raises:
            BadInput: it was not started yet.
        """
        if not self.run_id:
            raise BadInput("there is no run yet: use workflow_management with the action 'start' first")
        return self.run_id

    async def start(self) -> str:
        """Start the run of the plan, with what the budget leaves it, and return its name.

        Raises:
            BadInput: it was started already, or the plan cannot work.
        """
        if self.run_id:
            raise BadInput(f"the run {self.run_id} was started already; its settings stay as they are")
        cap = self.request.budget.dollars
        left = None if cap is None or self.spending.cap is None else cap - self.spending.cap
        request = self.request.model_copy(update={"budget": self.request.budget.model_copy(update={"dollars": left})})
        name = self.journal.name if self.journal else None
        if name is not None and name in dict(await self.services.store.run_ids()):
            self.run_id = name  # the crew was killed before it could keep that it had started it
        else:
            self.run_id = await self.runs.create(request, name)
        return self.run_id

    async def advance(self, last: str | None) -> None:
        """Work on the run up to a step, or to its end.

        Raises:
            CorralError: a step failed.
        """
        run_id = self.demand_run()
        if (await self.runs.status(run_id)).standing in ("done", "waiting"):
            return
        await self._follow(run_id, self.runs.advance(run_id, last=last))

    async def endpoint(self, spec: Endpoint) -> LedgeredEndpoint:
        """Return an endpoint whose calls the agents pay for.

        Raises:
            BadInput: there is a cap, and what the model costs is not known.
        """
        await self.demand_price(spec)
        ledger = CappedLedger(self.services.calls, self.spending)
        return await open_endpoint(spec, ledger, self._booked, self.services.settings, since=self._began)

    async def demand_price(self, spec: Endpoint) -> None:
        """Refuse a model without a price where there is a cap.

        Raises:
            BadInput: there is a cap, and what the model costs is not known.
        """
        if self.spending.cap is not None:
            demand_price(spec, await asyncio.to_thread(price_of, spec), "models.generator")

    @property
    def _booked(self) -> str:
        return f"{BOOKED} {self.journal.name}" if self.journal else BOOKED

    async def take_up(self, journal: Journal) -> None:
        """Begin with what a crew's journal has; what its agents' calls cost so far counts on.

        Raises:
            RunBusy: another process, or the lease that a killed one left, still holds the crew's run.
        """
        await self.services.leases.demand_free(journal.name)
        self.journal = journal
        paid = await self.services.calls.tally(self._booked)
        self.spending.spent = sum(row.cost for row in paid)
        self.spending.calls = sum(row.answered + row.failed for row in paid)
        if journal.kept:
            self.tell(f"goes on with the crew of run {journal.name}: {journal.kept} decisions and results are kept")

    def earlier_use(self, tool: str, arguments: dict[str, Any]) -> str | None:
        """Return what a tool returned before the crew was killed, with its effects; ``None`` where it is to be used."""
        kept = self.journal.use(tool, arguments) if self.journal else None
        if kept is None:
            return None
        self.uses.append(kept.use)
        self.run_id, self.held, self.request = kept.after.run_id, kept.after.held, kept.after.request
        self.recommended = dict(kept.after.recommended)
        return kept.answer

    def record(self, use: ToolUse, answer: str | None = None) -> None:
        """Keep what a tool did.

        Args:
            use: what it did.
            answer: what it returned; ``None`` where it ended the crew, and is used again when that goes on.
        """
        self.uses.append(use)
        logger.info("tool used", extra={"tool": use.tool, "outcome": use.outcome, "said": use.said})
        if self.journal and answer is not None and not self._closed:
            now = {"run_id": self.run_id, "held": self.held, "recommended": self.recommended, "request": self.request}
            self.journal.keep(KeptUse(use=use, answer=answer, after=Progressed.model_validate(now)))

    def record_unknown(self, agent: str, tool: str) -> None:
        """Keep that an agent asked for a tool that it does not have."""
        said = f"{agent} has no tool {tool!r}"
        self.uses.append(ToolUse(tool=tool[:100], arguments={}, outcome="unknown", said=said))
        logger.warning("unknown tool asked for", extra={"agent": agent, "tool": tool[:100]})


def _plain(value: Any) -> str:
    return "null" if value is None else str(value)
