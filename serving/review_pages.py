"""The review: a queue over all runs, one item a view, and the batch of decisions that is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from graph.reviews import ReviewItem, Reviews, Sent
from graph.teaching import more_decisions
from serving.access import BODY_BYTES, Who, browser_of, form_of, own_form, who
from serving.background import Worker
from serving.differences import marked
from serving.forms import CRITERIA, draft_of, kept_in, one_newline, typed_in
from serving.pages import render, status_of_error, told, wants_page
from serving.places import AtPlace, Place, item_path
from serving.services import OpenPresence, OpenReviews, OpenWorker
from state.errors import BadInput, CorralError, RunBusy, UnknownRun
from state.records import DecisionKind, Draft
from state.reviewing import ReviewStore
from tools.people.decisions import DECISIONS, consequences
from tools.people.items import WHY

router = APIRouter(prefix="/review", dependencies=[Depends(who), Depends(own_form)], max_body_size=BODY_BYTES)

DRAFTS = 200
"""Drafts that are held at a time."""
WORDS: dict[DecisionKind, str] = {
    "approve": "Approve",
    "edit": "Edit",
    "reject": "Reject",
    "prefer_a": "A is better",
    "prefer_b": "B is better",
    "cannot_judge": "Cannot judge",
    "skip": "Skip",
}
"""What stands on the button of each decision."""


@router.get("")
async def show_queue(
    request: Request, caller: Who, reviews: OpenReviews, presence: OpenPresence, place: AtPlace
) -> Response:
    """Show a page of what waits for this person."""
    if place.run:
        await reviews.runs.services.store.request_of(place.run)
    queue = await reviews.queue(caller, **place.filters, after=place.after or None)
    store = reviews.runs.services.store
    run_ids = [run_id for run_id, _ in await store.run_ids()]
    shown = place.run or (queue.items[0].run_id if queue.items else "")
    context = {
        "queue": queue,
        "place": place,
        "run_ids": run_ids,
        "shown": shown,
        "more": await more_decisions(store, shown) if shown else (0, ""),
        "reasons": WHY,
        "others": presence.others(caller, browser_of(request)),
    }
    return render(request, "queue.html", caller, context=context)


@router.get("/next")
async def show_next(caller: Who, reviews: OpenReviews, place: AtPlace) -> Response:
    """Lead to the next item that waits for this person; from the end to the beginning, or to the batch."""
    for after in dict.fromkeys((place.after, "")):
        page = await reviews.queue(caller, **place.filters, after=after or None, size=1)
        if page.items:
            (item,) = page.items
            return RedirectResponse(item_path(item.run_id, item.item_id) + place.query(after=page.next or ""), 303)
    return RedirectResponse(f"/review/batch{place.query(after='')}", 303)


@router.get("/batch")
async def show_batch(
    request: Request, caller: Who, reviews: OpenReviews, place: AtPlace, page: Annotated[str, Query()] = ""
) -> Response:
    """Show what this person has decided and not sent."""
    drafts, following = await reviews.drafts(caller, after=page or None)
    queue = await reviews.queue(caller, **place.filters, size=1)
    context = {"drafts": drafts, "following": following, "queue": queue, "place": place, "words": WORDS, "sent": None}
    return render(request, "batch.html", caller, context=context)


@router.get("/send")
async def show_what_is_left() -> Response:
    """Lead to the batch whoever loads the page of a sent one again."""
    return RedirectResponse("/review/batch", 303)


@router.post("/send")
async def send_batch(
    request: Request, caller: Who, reviews: OpenReviews, worker: OpenWorker, place: AtPlace
) -> Response:
    """Send what this person has decided, and go on with the runs that wait for nothing more."""
    run_ids = dict.fromkeys([run_id async for run_id, _ in _drafts(reviews, caller)])
    sent = {run_id: await _send(reviews, run_id, caller) for run_id in run_ids}
    going = {run_id: await _go_on(reviews, worker, run_id) for run_id, one in sent.items() if one.complete}
    drafts, following = await reviews.drafts(caller)
    queue = await reviews.queue(caller, **place.filters, size=1)
    context = {"drafts": drafts, "following": following, "queue": queue, "place": place, "words": WORDS, "sent": sent}
    return render(request, "batch.html", caller, context=context | {"going": going, "total": _total(sent)})


@router.post("/undo")
async def undo(
    caller: Who,
    reviews: OpenReviews,
    place: AtPlace,
    run_id: Annotated[str, Form()] = "",
    item_id: Annotated[str, Form()] = "",
) -> Response:
    """Take back one decision that is not sent: the one that is named, or the last.

    Raises:
        BadInput: there is none.
    """
    if not item_id:
        run_id, item_id = await reviews.last_draft(caller) or ("", "")
    if not item_id:
        raise BadInput("there is nothing to take back: no decision of yours waits to be sent")
    await reviews.withdraw(run_id, item_id, caller)
    return RedirectResponse(item_path(run_id, item_id) + place.query(), 303)


@router.get("/{run_id}/{item_id}")
async def show_item(
    request: Request,
    run_id: str,
    item_id: str,
    caller: Who,
    reviews: OpenReviews,
    presence: OpenPresence,
    place: AtPlace,
) -> Response:
    """Show one item."""
    item = await reviews.item(run_id, item_id, caller)
    others = presence.others(caller, browser_of(request))
    return await _item_page(request, item, caller, reviews, place, kept_in(item.draft), others=others)


@router.post("/{run_id}/{item_id}")
async def decide(
    request: Request, run_id: str, item_id: str, caller: Who, reviews: OpenReviews, place: AtPlace
) -> Response:
    """Keep this person's decision as a draft, and lead to the next item."""
    form = await form_of(request)
    try:
        item = await reviews.item(run_id, item_id, caller)
        await reviews.save(run_id, draft_of(form, item, caller))
    except CorralError as error:
        if not wants_page(request) or isinstance(error, UnknownRun):
            return told(request, str(error), status_of_error(error))
        item = await reviews.item(run_id, item_id, caller)
        status = status_of_error(error)
        return await _item_page(request, item, caller, reviews, place, typed_in(form), str(error), status=status)
    return RedirectResponse(f"/review/next{place.query()}", 303)


@router.post("/{run_id}/{item_id}/check")
async def check(request: Request, run_id: str, item_id: str, caller: Who, reviews: OpenReviews) -> Response:
    """Show what the checks find in a text that a person is still writing."""
    text = str((await form_of(request)).get("text", ""))
    found = await reviews.check(run_id, item_id, one_newline(text))
    return render(request, "checks.html", caller, context={"checks": found})


async def _item_page(
    request: Request,
    item: ReviewItem,
    caller: str,
    reviews: Reviews,
    place: Place,
    typed: Mapping[str, Any],
    message: str = "",
    *,
    status: int = 200,
    others: str = "",
) -> Response:
    queue = await reviews.queue(caller, **place.filters, size=1)
    pair = await asyncio.to_thread(marked, *item.texts) if len(item.texts) == 2 else ()
    context = {
        "item": item,
        "pair": pair,
        "queue": queue,
        "place": place,
        "typed": typed,
        "message": message,
        "others": others,
        "criteria": CRITERIA,
        "words": WORDS,
        "keys": {kind: consequences(kind).key for kind in item.allowed},
        "pasts": {kind: consequences(kind).past for kind in DECISIONS},
        "checks": item.checks,
        "rated": any(rating.rater == caller for rating in item.history),
    }
    # In a thread: a text of a megabyte takes a while to be escaped.
    return await asyncio.to_thread(render, request, "item.html", caller, status=status, context=context)


async def _drafts(reviews: Reviews, rater: str) -> AsyncIterator[tuple[str, Draft]]:
    store, after = ReviewStore(reviews.runs.services.database), ""
    while found := await store.drafts(rater, after=after, size=DRAFTS):
        for run_id, draft in found:
            yield run_id, draft
        after = f"{found[-1][0]} {found[-1][1].item_id}"


async def _send(reviews: Reviews, run_id: str, rater: str) -> Sent:
    """Send what a person decided in a run; one that cannot be read keeps no other from being sent."""
    try:
        return await reviews.send(run_id, rater)
    except CorralError as error:
        return Sent(sent=0, settled=0, told=(str(error),), complete=False)


async def _go_on(reviews: Reviews, worker: Worker, run_id: str) -> str:
    """Go on with a run that waits for nothing more; return why it does not, or nothing."""
    answer = await reviews.answer_of(run_id)
    try:
        if answer is not None:
            await worker.go_on(run_id, answer)
    except RunBusy:
        return ""  # somebody else has sent the last decision at the same time
    except CorralError as error:
        return str(error)
    return ""


def _total(sent: Mapping[str, Sent]) -> dict[str, int]:
    return {"sent": sum(one.sent for one in sent.values()), "settled": sum(one.settled for one in sent.values())}
