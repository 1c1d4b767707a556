"""What waits for people in all runs, and what they decide: the one way in for terminal, page and Python.

A decision is saved at once, as a draft that can be taken back, and counts when it is sent. People are blind to each
other until an item is decided.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from graph.accounts import gold_of
from graph.runs import Runs
from nodes.review import asked, second_of
from state.errors import AlreadyDecided, BadInput
from state.records import (
    CheckResult,
    DecisionKind,
    DimensionScore,
    Draft,
    ItemKind,
    Rating,
    Record,
    Review,
    ReviewTask,
    Why,
)
from state.reviewing import Order, Place, ReviewStore
from tools.people.asking import answer_from
from tools.people.checking import check_edit
from tools.people.decisions import allowed_for, consequences, decider_of
from tools.people.gold import is_due
from tools.people.items import WHY, Item, load_items
from tools.people.raters import GoldAccuracy
from tools.people.settling import review_of

PAGE = 200
"""Items of a queue's page at most."""
CHECKED = 200_000
"""Characters that are checked at most: a second of CPU, where a million takes six."""


class QueueItem(Record):
    """An item in a queue."""

    run_id: str
    item_id: str
    kind: ItemKind
    why: tuple[Why, ...]
    disagreement: float
    head: str
    """The beginning of its prompt."""
    draft: DecisionKind | None = None
    """What the rater has decided and not sent."""
    decided_at: datetime | None = None
    """When that was."""


class QueuePage(Record):
    """A page of what waits for one person."""

    items: tuple[QueueItem, ...]
    next: str | None
    """Where the next page begins, for ``after``; ``None`` on the last one."""
    waiting: int
    """Items that wait for this person, those with a draft among them."""
    decided: int
    """Drafts of this person's that are not sent."""


class Decided(Record):
    """A decision that counts."""

    who: str
    when: datetime
    decision: DecisionKind


class ReviewItem(Record):
    """All that a person is shown of an item."""

    run_id: str
    item_id: str
    kind: ItemKind
    prompt: str
    """What the answers answer; empty for an instruction."""
    texts: tuple[str, ...]
    """What is decided about: one text, or the two answers of a pair, A and B."""
    input: str = ""
    """Of an instruction."""
    output: str = ""
    """Of an instruction: its reference answer."""
    why: tuple[str, ...]
    """Why it waits, in words."""
    overall: float | None = None
    """The crew's score, 0 to 100, or the gates', 0 to 1, for an instruction; ``None`` for a pair."""
    scores: tuple[DimensionScore, ...] = ()
    stars: int | None = None
    confidence: float | None = None
    checks: tuple[CheckResult, ...] = ()
    caution: str = ""
    """What a person should know before they approve it."""
    feedback: str = ""
    allowed: tuple[DecisionKind, ...]
    editable: bool
    draft: Draft | None
    decided: Decided | None
    history: tuple[Rating, ...]
    """What was sent about it: the person's own rating, and everybody's once it is decided."""


class Sent(Record):
    """What became of a person's drafts."""

    sent: int
    settled: int
    """Items that are decided now, by these ratings."""
    told: tuple[str, ...] = ()
    """A line for each rating that came second."""
    gold: GoldAccuracy | None = None
    """How often this person was right on gold items so far; ``None`` where there are none."""
    complete: bool
    """Whether nothing is left of what the run asks, so that it can go on."""


@dataclass(frozen=True)
class Reviews:
    """The review of all runs.

    Args:
        runs: all runs.
    """

    runs: Runs

    @property
    def _store(self) -> ReviewStore:
        return ReviewStore(self.runs.services.database)

    async def queue(
        self,
        rater: str,
        *,
        run: str | None = None,
        why: Why | None = None,
        order: Order = "oldest",
        after: str | None = None,
        size: int = 50,
    ) -> QueuePage:
        """Return a page of what waits for a person; no more than a page is read.

        Args:
            rater: the person.
            run: only this run's items.
            why: only those that wait for this reason.
            order: the oldest first, or those whose judges are farthest apart.
            after: ``next`` of the page before, of the same order.
            size: items at most, up to ``PAGE``; now and then one gold item more stands first.

        Raises:
            BadInput: ``after`` is no page's ``next``.
        """
        size = max(1, min(size, PAGE))
        place = _place_of(after, order) if after else None
        found = await self._store.queue(rater, order, place, size + 1, run=run, why=why)
        waiting, decided = await self._store.count_waiting(rater, run=run, why=why)
        last = found[size - 1] if len(found) > size else None
        gold = await self._gold_due(rater, found[0][0]) if found and not (after or why) else []
        return QueuePage(
            items=tuple(_queued(run_id, task) for run_id, task in (*gold, *found[:size])),
            next=_place_in_words(*last, order) if last else None,
            waiting=waiting,
            decided=decided,
        )

    async def drafts(
        self, rater: str, *, run: str | None = None, after: str | None = None, size: int = 50
    ) -> tuple[tuple[QueueItem, ...], str | None]:
        """Return a page of what a person has decided and not sent, and where the next one begins.

        Args:
            rater: the person.
            run: only this run's items.
            after: what the page before returned.
            size: items at most, up to ``PAGE``.
        """
        if after and " " not in after:
            raise BadInput("there is no such page of the batch; begin at its first one")
        size = max(1, min(size, PAGE))
        found = await self._store.drafts(rater, run=run, after=after or "", size=size + 1)
        items = []
        for run_id, draft in found[:size]:
            tasks = await self._store.find(run_id, ReviewTask, [draft.item_id])
            items += [_queued(run_id, task, draft) for task in tasks]
        following = f"{found[size - 1][0]} {found[size - 1][1].item_id}" if len(found) > size else None
        return tuple(items), following

    async def last_draft(self, rater: str, *, run: str | None = None) -> tuple[str, str] | None:
        """Return the run and the item of a person's last decision that is not sent; ``None`` where there is none.

        Args:
            rater: the person.
            run: only of this run's items.
        """
        last: tuple[datetime, str, str] | None = None
        after = ""
        while found := await self._store.drafts(rater, run=run, after=after, size=PAGE):
            latest = max((draft.decided_at, run_id, draft.item_id) for run_id, draft in found)
            last = latest if last is None else max(last, latest)
            after = f"{found[-1][0]} {found[-1][1].item_id}"
        return last[1:] if last else None

    async def item(self, run_id: str, item_id: str, rater: str) -> ReviewItem:
        """Return all that a person is shown of an item.

        Raises:
            BadInput: there is no such item.
        """
        task = await self._task(run_id, item_id)
        (item,) = await load_items(self.runs.services.store, run_id, [task])
        drafts = [d for d in await self._store.find(run_id, Draft, [item_id]) if d.rater == rater]
        decided = await self._decided(run_id, item_id)
        ratings: list[Rating] = await self._store.find(run_id, Rating, [item_id])
        shown = sorted(
            (r for r in ratings if decided or r.rater == rater), key=lambda rating: (rating.decided_at, rating.rater)
        )
        return _shown(run_id, item, drafts[0] if drafts else None, decided, shown)

    async def check(self, run_id: str, item_id: str, text: str) -> tuple[CheckResult, ...]:
        """Return what checks and gates find in a person's own text for an item.

        Raises:
            BadInput: there is no such item, or no such run, or the text is longer than ``CHECKED``.
        """
        if len(text) > CHECKED:
            raise BadInput(
                f"a text of {len(text):,} characters is too long to be checked; {CHECKED:,} are checked at most"
            )
        task = await self._task(run_id, item_id)
        request = await self.runs.services.store.request_of(run_id)
        (item,) = await load_items(self.runs.services.store, run_id, [task])
        return await asyncio.to_thread(check_edit, item, text, request)

    async def save(self, run_id: str, draft: Draft) -> None:
        """Keep what a person decided; it takes the place of that person's draft before, and counts once it is sent.

        Raises:
            AlreadyDecided: the item was decided, or this person has sent a rating of it.
            BadInput: there is no such item, or the draft does not fit it.
        """
        task = await self._task(run_id, draft.item_id)
        _demand_fitting(task, draft)
        if decided := await self._decided(run_id, draft.item_id):
            raise AlreadyDecided(decided.who, decided.when, consequences(decided.decision).past)
        for rating in await self._store.find(run_id, Rating, [draft.item_id]):
            if rating.rater == draft.rater:
                past = consequences(rating.decision).past
                raise AlreadyDecided(rating.rater, rating.decided_at, past, "another person takes another name")
        await self._store.save(run_id, draft)

    async def withdraw(self, run_id: str, item_id: str, rater: str) -> None:
        """Take back what a person decided on an item and has not sent."""
        await self._store.withdraw(run_id, item_id, rater)

    async def send(self, run_id: str, rater: str) -> Sent:
        """Send what a person decided in a run; what was skipped stays, and waits.

        Raises:
            UnknownRun: there is no such run.
        """
        request = await self.runs.services.store.request_of(run_id)
        decide = partial(review_of, raters=request.review.raters)
        sent = settled = 0
        told: list[str] = []
        after = ""
        while found := await self._store.drafts(rater, run=run_id, after=after, size=PAGE):
            after = f"{run_id} {found[-1][1].item_id}"
            ratings = [Rating(**dict(draft)) for _, draft in found if consequences(draft.decision).settles]
            tasks = await self._store.rate(run_id, ratings, decide)
            before = {task.id: task for task, _ in tasks}
            ratings = [rating for rating in ratings if rating.item_id in before]  # others were withdrawn
            sent += len(ratings)
            settled += sum(was.standing == "open" != now.standing for was, now in tasks)
            told += await second_of(self._store, run_id, list(before.values()), ratings)
        gold = next((one for one in await self.accuracy(run_id) if one.rater == rater), None)
        complete = await self.answer_of(run_id) is not None
        return Sent(sent=sent, settled=settled, told=tuple(told), gold=gold, complete=complete)

    async def answer_of(self, run_id: str) -> dict[str, Any] | None:
        """Return the answer to what a run asks at its review, where all of it is decided; else ``None``."""
        status = await self.runs.status(run_id)
        if (status.standing, status.step) != ("waiting", "review"):
            return None
        request, state = await self.runs.services.store.request_of(run_id), await self.runs.state(run_id)
        tasks = await asked(self._store, run_id, state, request.review.page)
        if any(task.standing == "open" for task in tasks):
            return None
        reviews = {r.item_id: r for r in await self._store.find(run_id, Review, [task.id for task in tasks])}
        return answer_from([reviews[task.id] for task in tasks])

    async def accuracy(self, run_id: str) -> tuple[GoldAccuracy, ...]:
        """Return how often each person was right on the gold items of a run, by name."""
        return await gold_of(self.runs.services, run_id)

    async def _gold_due(self, rater: str, run_id: str) -> list[tuple[str, ReviewTask]]:
        """Return the gold item that is this person's next, where it is time for one."""
        if not (gold := await self._store.gold(run_id)):
            return []
        said = await self._store.said(run_id, rater)
        left = [task for task in gold if task.id not in said]
        return [(run_id, left[0])] if left and is_due(len(said), len(gold) - len(left)) else []

    async def _task(self, run_id: str, item_id: str) -> ReviewTask:
        found: list[ReviewTask] = await self._store.find(run_id, ReviewTask, [item_id])
        if not found:
            await self.runs.services.store.request_of(run_id)
            raise BadInput(f"no item {item_id!r} of run {run_id} goes to people")
        return found[0]

    async def _decided(self, run_id: str, item_id: str) -> Decided | None:
        found: list[Review] = await self._store.find(run_id, Review, [item_id])
        return Decided(who=found[0].reviewer, when=found[0].decided_at, decision=found[0].decision) if found else None


def _queued(run_id: str, task: ReviewTask, draft: Draft | None = None) -> QueueItem:
    return QueueItem(
        run_id=run_id,
        item_id=task.id,
        kind=task.kind,
        why=task.why,
        disagreement=task.disagreement,
        head=task.head,
        draft=draft.decision if draft else None,
        decided_at=draft.decided_at if draft else None,
    )


def _shown(run_id: str, item: Item, draft: Draft | None, decided: Decided | None, history: list[Rating]) -> ReviewItem:
    task, sample, judgement = item.task, item.sample, item.judgement
    instruction = task.kind == "instruction"
    # Of what nothing can judge, each dimension says so, and the confidence is 0: why it waits says it once.
    scored = judgement if judgement and judgement.scored else None
    return ReviewItem(
        run_id=run_id,
        item_id=task.id,
        kind=task.kind,
        prompt="" if instruction else sample.prompt,
        texts=item.texts,
        input=sample.input if instruction else "",
        output=sample.output if instruction else "",
        why=tuple(WHY[why] for why in task.why),
        overall=sample.score if instruction else scored.overall if scored else None,
        scores=scored.scores if scored else (),
        stars=scored.stars if scored else None,
        confidence=scored.confidence if scored else None,
        checks=judgement.checks if judgement else (),
        caution=item.caution,
        feedback="\n".join(sample.reasons) if instruction else scored.feedback if scored else "",
        allowed=allowed_for(task.kind),
        editable="edit" in allowed_for(task.kind),
        draft=draft,
        decided=decided,
        history=tuple(history),
    )


def _demand_fitting(task: ReviewTask, draft: Draft) -> None:
    """Refuse a draft that does not fit its item.

    Raises:
        BadInput: says how.
    """
    allowed = allowed_for(task.kind)
    if draft.decision not in allowed:
        raise BadInput(f"a decision on this {task.kind} is one of {', '.join(allowed)}, not {draft.decision}")
    if decider_of(draft.rater) != "person":
        raise BadInput(f"{draft.rater!r} is a policy's name, and no person's")
    if consequences(draft.decision).rewrites != bool(draft.text.strip()):
        raise BadInput("an edit, and only an edit, carries a text, and not a blank one")


def _place_in_words(run_id: str, task: ReviewTask, order: Order) -> str:
    column = "opened_at" if order == "oldest" else "disagreement"
    value = task.model_dump(mode="json")[column]
    return base64.urlsafe_b64encode(json.dumps([value, run_id, task.position]).encode()).decode()


def _place_of(after: str, order: Order) -> Place:
    kinds = (str if order == "oldest" else float | int, str, int)
    try:
        place = json.loads(base64.urlsafe_b64decode(after.encode()))
        fits = len(place) == len(kinds) and all(isinstance(v, kind) for v, kind in zip(place, kinds, strict=True))
        if fits and abs(place[2]) < 2**63:
            return place[0], place[1], place[2]
    except (ValueError, TypeError, RecursionError):
        pass
    raise BadInput("there is no such page of the queue; begin at its first one")
