"""The pages of runs: the list; and one run's steps, counts, cost, report, and the question that it asks a person."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from graph.accounts import Accounts, account
from graph.reviews import Reviews
from graph.runs import Runs
from graph.standing import RunStatus
from graph.step_times import read_step_times
from graph.teaching import against_people_in, more_decisions
from serving.access import BODY_BYTES, Who, own_form, who
from serving.headers import CSP
from serving.pages import render, status_of_error, told, wants_page
from serving.services import OpenReviews, OpenRuns, OpenWorker
from serving.steps import StepView, step_names, step_views, turns_of
from state.errors import CorralError, StaleQuestion, UnknownRun
from state.pipeline import PipelineState
from state.records import Record
from tools.checklists.kept import read_checklists
from tools.people.decisions import in_words
from tools.report import REPORT, ROWS
from tools.report.board import Board, read_board
from tools.report.comparison_plots import interval_plot

router = APIRouter(prefix="/runs", dependencies=[Depends(who), Depends(own_form)], max_body_size=BODY_BYTES)

FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {script}; sandbox {may}"
"""Of a file that Corral wrote into the run's folder: it holds its own style, asks for nothing, and sends no form."""


class Asked(Record):
    """One question that a run waits with."""

    id: str
    """Of the interrupt: an answer names it, so that it answers nothing else."""
    name: str
    description: str
    args: dict[str, Any]
    allowed: tuple[str, ...]
    items: int


@router.get("")
async def list_runs(request: Request, caller: Who, runs: OpenRuns) -> Response:
    """List all runs, newest first."""
    return render(request, "runs.html", caller, context={"statuses": await runs.statuses()})


@router.get("/{run_id}")
async def show_run(request: Request, run_id: str, caller: Who, runs: OpenRuns, worker: OpenWorker) -> Response:
    """Show one run."""
    return await _run_page(request, run_id, caller, runs, worker)


@router.get("/{run_id}/live")
async def show_live(request: Request, run_id: str, caller: Who, runs: OpenRuns, worker: OpenWorker) -> Response:
    """Show the part of a run's page that moves."""
    return render(request, "run_live.html", caller, context=await _live(runs, worker, run_id))


@router.get("/{run_id}/progress")
async def tell_progress(run_id: str, runs: OpenRuns, worker: OpenWorker) -> dict[str, Any]:
    """Return where a run stands, how far its steps are, and its counts and costs, as JSON."""
    found = await _live(runs, worker, run_id)
    return {name: found[name] for name in ("status", "steps", "accounts")}


@router.get("/{run_id}/report.html")
async def show_report(run_id: str, runs: OpenRuns) -> Response:
    """Show the run's report."""
    return await _file(runs, run_id, REPORT, "allow-same-origin")


@router.get("/{run_id}/rows.html")
async def show_rows(run_id: str, runs: OpenRuns) -> Response:
    """Show the browser of the run's rows, which stands beside the report."""
    return await _file(runs, run_id, ROWS, "allow-scripts", script="'unsafe-inline'")


@router.get("/{run_id}/judge")
async def show_judge(request: Request, run_id: str, caller: Who, runs: OpenRuns) -> Response:
    """Show how the run's judge compares with the people who decided so far."""
    found = await against_people_in(runs.services, run_id)
    more = await more_decisions(runs.services.store, run_id)
    return render(request, "judge.html", caller, context={"run_id": run_id, "found": found, "more": more})


@router.post("/{run_id}/resume")
async def resume_run(run_id: str, reviews: OpenReviews, worker: OpenWorker) -> Response:
    """Go on with a run that is stopped, failed or new, or whose review is decided."""
    await worker.go_on(run_id, await reviews.answer_of(run_id))
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/{run_id}/answer")
async def answer_run(
    request: Request,
    run_id: str,
    caller: Who,
    runs: OpenRuns,
    worker: OpenWorker,
    question: Annotated[str, Form()] = "",
    decision: Annotated[str, Form()] = "",
    comment: Annotated[str, Form()] = "",
    dollars: Annotated[str, Form()] = "",
) -> Response:
    """Answer the question that a run waits with, and go on with it in the background."""
    try:
        asked = await _question(runs, run_id, question)
        given: dict[str, Any] = {"type": decision, "message": comment}
        if decision == "edit":
            given = {"type": "edit", "edited_action": {"name": asked.name, "args": asked.args | {"dollars": dollars}}}
        await worker.go_on(run_id, {"decisions": [given], "reviewer": caller})
    except CorralError as error:
        status = status_of_error(error)
        if not wants_page(request) or isinstance(error, UnknownRun):
            return told(request, str(error), status)
        typed = {"message": str(error), "comment": comment, "dollars": dollars}
        return await _run_page(request, run_id, caller, runs, worker, status=status, **typed)
    return RedirectResponse(f"/runs/{run_id}", 303)


async def _file(runs: Runs, run_id: str, name: str, may: str, script: str = "'none'") -> Response:
    """Return a page that lies in a run's folder.

    Args:
        runs: the application's.
        run_id: the run.
        name: the file.
        may: what it may do in its sandbox.
        script: the scripts that it may run; its own policy names their hashes.

    Raises:
        UnknownRun: there is no such run, or it has no such page yet.
    """
    await runs.services.store.request_of(run_id)
    path = runs.services.runs_folder / run_id / name
    if not await asyncio.to_thread(path.is_file):
        raise UnknownRun(
            f"run {run_id} has no {name} yet: it is written when the run is evaluated, or by corral report"
        )
    return FileResponse(path, headers={CSP: FILE_POLICY.format(script=script, may=may)})


async def _run_page(
    request: Request, run_id: str, caller: str, runs: Runs, worker: Any, *, status: int = 200, **typed: str
) -> Response:
    live = await _live(runs, worker, run_id)
    state = await runs.state(run_id)
    asked = await _asked(runs, run_id) if live["status"].standing == "waiting" else None
    board = await asyncio.to_thread(_board, state)
    context = live | {
        "asked": asked,
        "decided": await Reviews(runs).answer_of(run_id) is not None,
        "board": board,
        "plots": [_plot(group) for group in board.groups] if board else [],
        "warnings": state.get("warnings", []),
        "checklists": await asyncio.to_thread(read_checklists, runs.services.runs_folder / run_id),
        "deployed": state.get("deployed", ""),
        "signed": _signed(state),
        "has_report": await asyncio.to_thread((runs.services.runs_folder / run_id / REPORT).exists),
        "has_rows": await asyncio.to_thread((runs.services.runs_folder / run_id / ROWS).exists),
        "message": "",
        "comment": "",
        "dollars": "",
    }
    return render(request, "run.html", caller, status=status, context=context | typed)


async def _live(runs: Runs, worker: Any, run_id: str) -> dict[str, Any]:
    """Return what of a run's page moves while it is worked on."""
    status: RunStatus = await runs.status(run_id)
    if worker.works_on(run_id) and status.standing in ("stopped", "waiting", "batched", "new", "failed"):
        status = status.model_copy(update={"standing": "running", "detail": "by this application"})
    notes = await asyncio.to_thread(lambda: list(read_step_times(runs.services.runs_folder / run_id)))
    accounts: Accounts = await account(runs.services, run_id)
    graph = await runs.graph(run_id)
    steps: list[StepView] = step_views(step_names(graph), status, notes, worker.counts(run_id), turns_of(graph))
    return {"run_id": run_id, "status": status, "steps": steps, "accounts": accounts}


async def _asked(runs: Runs, run_id: str) -> Asked | None:
    interrupts = await runs.interrupts(run_id)
    if not interrupts:
        return None
    actions = interrupts[0].value["action_requests"]
    (config, *_) = interrupts[0].value["review_configs"]
    return Asked(
        id=interrupts[0].id,
        name=actions[0]["name"],
        description=actions[0]["description"],
        args=actions[0]["args"],
        allowed=tuple(config["allowed_decisions"]),
        items=len(actions),
    )


async def _question(runs: Runs, run_id: str, given: str) -> Asked:
    """Return the question that an answer is for.

    Raises:
        StaleQuestion: the run asks nothing, or something else than when the page was loaded.
    """
    asked, status, state = await _asked(runs, run_id), await runs.status(run_id), await runs.state(run_id)
    if asked is None:
        signed = f", and was {_signed(state)}" if state.get("approval") else ""
        raise StaleQuestion(f"run {run_id} does not wait for an answer; it is {status.standing}{signed}")
    if asked.id != given or status.step == "review":
        raise StaleQuestion(f"run {run_id} asks something else by now, at {status.step}; load its page again")
    return asked


def _signed(state: PipelineState) -> str:
    approval = state.get("approval")
    if approval is None:
        return ""
    comment = f": {approval.comment}" if approval.comment else ""
    return f"{'signed' if approval.approved else 'declined'} by {in_words(approval.reviewer)}{comment}"


def _board(state: PipelineState) -> Board | None:
    verdict = state.get("verdict")
    if verdict is None:
        return None
    try:
        return read_board(json.loads(Path(verdict.scoreboard).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _plot(group: Any) -> Any:
    """Return the drawing of one group of metrics: shares in points of 100, the others on a scale of their own."""
    shares = [metric.row for metric in group.metrics if metric.share]
    return interval_plot("Adapter less base", shares, x="points of 100, with 95% intervals") if shares else ""
