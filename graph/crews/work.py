"""Tools over the run: it is started, advanced, trained, measured and reported by the pipeline's own parts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field

from graph.checklists import check_stage
from graph.crews.session import CrewSession
from graph.reporting import write_report
from nodes.approve import verdict_in_words
from nodes.generate import first_facts
from state.errors import BadInput, UnknownRun
from state.pipeline import RateLimits
from state.records import GenerationRound
from tools.config import with_settings
from tools.crews.adapting import Requirements, adaptive_workflow, optimize_training_config
from tools.crews.rules import Stage
from tools.dataset.exporting import FORMS, write_form
from tools.machine.resources import Resources, gpus_now, measure
from tools.registry import current, versions

Step = Literal["generate", "gate", "respond", "judge", "review", "assemble", "train", "evaluate", "approve"]
Action = Literal["show", "configure", "start", "advance", "finish", "status"]
Form = Literal["sharegpt", "messages", "llama-factory", "axolotl", "argilla"]


async def workflow_management(
    session: CrewSession,
    action: Annotated[
        Action,
        Field(
            description="show the plan; configure it before the run begins; start the run; advance it up to a step; "
            "finish it; tell its status"
        ),
    ],
    settings: Annotated[
        list[str], Field(max_length=50, description="For configure: settings such as 'train.epochs=3'.")
    ] = [],  # noqa: B006
    until: Annotated[Step | None, Field(description="For advance: the last step to take.")] = None,
) -> dict[str, Any]:
    """Plan and run the workflow: generate, gate, respond, judge, review, assemble, train, evaluate, approve, deploy."""
    match action:
        case "show":
            return await _plan(session)
        case "configure":
            if session.run_id:
                raise BadInput(f"the run {session.run_id} has begun; its settings stay as they are")
            if not settings:
                raise BadInput("configure needs settings, such as ['train.epochs=3']")
            session.request = with_settings(session.request, settings)
            named = {setting.partition("=")[0].strip() for setting in settings}
            session.recommended = {k: v for k, v in session.recommended.items() if k not in named}
            return {"summary": f"the plan has {', '.join(settings)}"}
        case "start":
            return {"summary": f"the run {await session.start()} is started"}
        case "advance":
            if until is None:
                raise BadInput("advance needs until, the last step to take")
            await session.advance(until)
        case "finish":
            await session.advance(None)
        case "status":
            pass
        case _:
            assert_never(action)
    return await _standing(session)


async def batch_processor(
    session: CrewSession, round: Annotated[int, Field(ge=1, le=1000, description="The round to make, from 1.")]
) -> dict[str, Any]:
    """Have one round of instructions written and gated, and return the decision on the next one."""
    run_id = session.demand_run()
    state = await session.runs.state(run_id)
    if round > state.get("round", 0) + 1:
        raise BadInput(f"round {round} cannot be made yet: {state.get('round', 0)} rounds are done")
    status = await session.runs.status(run_id)
    if round > state.get("round", 0) and status.step in ("", "generate", "gate"):
        await session.advance("gate")
        state = await session.runs.state(run_id)
    choice = state.get("next_round")
    made = {row.round: row for row in await session.services.store.find(run_id, GenerationRound)}
    figures = made[round].model_dump(exclude={"id"}) if round in made else {}
    action, reason = (choice.action, choice.reason) if choice else ("stop", "nothing is generated")
    accepted = f"{figures['accepted']} instructions accepted by round {round}; " if figures else ""
    return {"summary": f"{accepted}next: {action}, {reason}", "round": figures, "next": action, "reason": reason}


async def quality_gate(
    session: CrewSession, stage: Annotated[Stage, Field(description="What is checked.")] = "data"
) -> dict[str, Any]:
    """Run the checklist of data, training or deployment. A critical failure in the data stops the crew's training."""
    found = await check_stage(session.services, session.demand_run(), stage)
    if stage == "data":
        session.held = found.stop
    failed = [f"{item.name}: {item.evidence}" for item in found.items if item.outcome == "failed"]
    word = f"stop: {found.stop}" if found.stop else "go on"
    return {
        "summary": f"{stage}: {found.score:.2f} of 1, {word}" + (f"; failed: {'; '.join(failed)}" if failed else ""),
        "score": found.score,
        "stop": found.stop,
        "items": [item.model_dump() for item in found.items],
    }


async def training_launcher(session: CrewSession) -> dict[str, Any]:
    """Train: answers are drawn, judged and assembled where that is still to do; the training decision is returned."""
    if session.held:
        raise BadInput(f"the quality gate stopped the data: {session.held}")
    await session.advance("train")
    state = await session.runs.state(session.demand_run())
    decision, adapter = state.get("training_decision"), state.get("adapter")
    if adapter is None:
        return await _standing(session)
    said = f"; training decision: {decision.action}, {decision.reason}" if decision else ""
    flags = f"; flagged: {'; '.join(adapter.flags)}" if adapter.flags else ""
    return {
        "summary": f"adapter {adapter.id[:12]} is trained{said}{flags}",
        "adapter": adapter.model_dump(),
        "decision": decision.model_dump() if decision else None,
    }


async def hyperparameter_tuner(session: CrewSession) -> dict[str, Any]:
    """Recommend training settings for the base and the machine: method, batch, rate, sharding, quantisation."""
    request = session.request
    resources = await asyncio.to_thread(_resources, session)
    parameters = await asyncio.to_thread(_parameters, request.models.base, session.services.cache)
    plan = optimize_training_config(resources, parameters, request.train)
    session.recommended = {f"train.{key}": value for key, value in plan.settings.items()}
    changed = ", ".join(f"{key}={value}" for key, value in session.recommended.items()) or "the plan stays as it is"
    return {"summary": f"{changed}: {plan.reason}", "settings": session.recommended, "reason": plan.reason}


async def resource_monitor(session: CrewSession) -> dict[str, Any]:
    """Tell what this machine has free: cores, memory, disk, GPUs."""
    found = await asyncio.to_thread(_resources, session)
    gpus = f", {len(found.gpus)} GPUs" if found.gpus else ", no GPU"
    return {
        "summary": f"{found.cores} cores, {found.memory_free / 1e9:.1f} of {found.memory_total / 1e9:.1f} GB memory "
        f"free, {found.disk_free / 1e9:.0f} GB disk free{gpus}",
        **found.model_dump(mode="json"),
    }


async def checkpoint_manager(session: CrewSession) -> dict[str, Any]:
    """List the checkpoints and adapters of the run's trainings, and the versions of the registry."""
    folder = session.services.runs_folder / session.demand_run() / "training"
    found = await asyncio.to_thread(_checkpoints, folder)
    registry = Path(session.request.deploy.registry or session.services.registry)
    kept = await asyncio.to_thread(versions, registry)
    return {
        "summary": f"{len(found)} checkpoints and adapters; {len(kept)} versions in the registry",
        "checkpoints": found,
        "versions": kept,
        "current": await asyncio.to_thread(current, registry),
    }


async def evaluation_suite(session: CrewSession) -> dict[str, Any]:
    """Measure the adapter against its base on held-out prompts, and return the verdict with its interval."""
    await session.advance("evaluate")
    verdict = (await session.runs.state(session.demand_run())).get("verdict")
    if verdict is None:
        return await _standing(session)
    return {"summary": verdict_in_words(verdict), **verdict.model_dump()}


async def benchmark_runner(
    session: CrewSession,
    prompts: Annotated[str, Field(min_length=1, description="Prompts with checks, or IFEval's own file.")],
    limit: Annotated[int | None, Field(ge=1, description="The first so many prompts alone.")] = None,
    max_tokens: Annotated[int | None, Field(ge=8, le=32_768)] = None,
) -> dict[str, Any]:
    """Measure the run's adapter against its base on any other prompts."""
    from tools.endpoint.spending import CappedLedger
    from tools.evaluation.standalone import evaluate_adapter, plan_evaluation

    state = await session.runs.state(session.demand_run())
    if "adapter" not in state:
        raise BadInput("the run has no adapter yet")
    settings = session.services.settings
    plan = await asyncio.to_thread(
        plan_evaluation,
        Path(state["adapter"].folder),
        Path(prompts),
        base=state["request"].models.base,
        limit=limit,
        max_tokens=max_tokens,
        out=None,
        home=settings.home,
        cache=settings.cache,
    )
    ledger = CappedLedger(session.services.calls, session.spending)
    found = await evaluate_adapter(plan, ledger, "evaluation", lambda *_: None)
    board = found.scoreboard
    return {"summary": f"scoreboard of {len(plan.samples)} prompts: {found.scoreboard_file}", "notes": board.notes}


async def format_converter(
    session: CrewSession, form: Annotated[Form, Field(description="The form to write.")] = "sharegpt"
) -> dict[str, Any]:
    """Write the run's dataset in another tool's form, beside it."""
    state = await session.runs.state(session.demand_run())
    if "dataset" not in state:
        raise BadInput("the run has no dataset yet: advance it to assemble")
    folder = Path(state["dataset"].folder)
    several = len(FORMS[form](folder)) > 1
    out = session.services.runs_folder / session.run_id / "forms" / (form if several else f"{form}.jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    written = await asyncio.to_thread(write_form, folder, form, out)
    return {
        "summary": f"the dataset's {state['dataset'].sft_rows} SFT rows are written as {form}",
        "files": [str(path) for path in written],
    }


async def report_generator(session: CrewSession) -> dict[str, Any]:
    """Write the run's report, and return its place and the run's end."""
    run_id = session.demand_run()
    path = await write_report(session.services, run_id, await session.runs.state(run_id))
    standing = await _standing(session)
    return {"summary": f"{standing['summary']}; report: {path}", "report": str(path)}


async def _plan(session: CrewSession) -> dict[str, Any]:
    """Return the plan, with the tasks that it comes to on this machine and what is recommended over it."""
    request = session.request
    cap = request.budget.dollars
    first = await asyncio.to_thread(first_facts, request, cap, RateLimits())
    parameters = await asyncio.to_thread(_parameters, request.models.base, session.services.cache)
    wanted = Requirements(instructions=request.generation.target, base=request.models.base, dollars=cap)
    resources = await asyncio.to_thread(_resources, session)
    found = adaptive_workflow(wanted, resources, parameters, request, first)
    tasks = [task.model_dump() for task in found.tasks]
    needed = ", ".join(task.name for task in found.tasks if task.needed)
    plan = request.model_dump(mode="json", exclude_defaults=True)
    return {"summary": f"the plan needs {needed}", "tasks": tasks, "plan": plan}


async def _standing(session: CrewSession) -> dict[str, Any]:
    try:
        status = await session.runs.status(session.run_id)
    except UnknownRun:
        return {"summary": "no run was started yet", "standing": "none"}
    state = await session.runs.state(session.run_id)
    at = f" at {status.step}" if status.step else ""
    detail = f": {status.detail}" if status.detail else ""
    return {
        "summary": f"the run {status.run_id} is {status.standing}{at}{detail}",
        "standing": status.standing,
        "step": status.step,
        "accepted": state.get("accepted", 0),
        "dataset": state["dataset"].model_dump() if "dataset" in state else None,
        "warnings": state.get("warnings", []),
    }


def _resources(session: CrewSession) -> Resources:
    home = session.services.settings.home
    home.mkdir(parents=True, exist_ok=True)
    return measure(home, gpus_now())


def _parameters(base: str, cache: Path) -> int:
    from tools.training.survey import base_facts
    from tools.weights.folders import base_folder

    return base_facts(base_folder(base, cache)).parameters


def _checkpoints(folder: Path) -> list[dict[str, Any]]:
    places = sorted([*folder.glob("round-*/**/checkpoint-*"), *folder.glob("round-*/adapter")])
    return [
        {
            "place": str(place.relative_to(folder)),
            "bytes": sum(f.stat().st_size for f in place.rglob("*") if f.is_file()),
        }
        for place in places
        if place.is_dir()
    ]
