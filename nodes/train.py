"""train: decide whether a training may begin, then train an adapter in a process that can be killed and resumed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_never

from langgraph.types import interrupt

from state.errors import TrainingError
from state.extras import demand_extra
from state.pipeline import Node, PipelineState, TrainingDecision
from state.records import Outcome, Sample
from state.request import RunRequest
from state.store import RecordStore
from tools.checklists.items import MACHINE, CheckItem, Checklists
from tools.endpoint import weights_here
from tools.files import write_file
from tools.people.decisions import consequences
from tools.people.questions import Action, HumanAnswer, answer_schema, question
from tools.progress import report_progress
from tools.training.checklists import (
    after_items,
    decision_items,
    during_items,
    policy_item,
)
from tools.training.decision import decide_training
from tools.training.estimate import disk_bytes
from tools.training.job import STOPPED, TrainingJob, TrainingProgress
from tools.training.launch import train as launch_training
from tools.training.lock import training_elsewhere, training_lock
from tools.training.survey import SurveyJob, SurveyResult, run_survey
from tools.weights.folders import base_folder
from tools.weights.pool import release_idle

logger = logging.getLogger(__name__)

POLICY = "policy:unattended"
PAUSE_SECONDS = 60.0
"""How long an unattended run waits before it looks again whether memory is free."""
CHECKLIST, DECISION = "checklist.json", "decision.json"


def make_decide(store: RecordStore, runs_folder: Path, cache: Path) -> Node:
    """Return the node that decides whether the next training may begin, and with which settings.

    An unattended run accepts what ``optimise`` suggests. While the decision is ``wait``, it surveys the machine again
    every ``PAUSE_SECONDS``, for at most ``train.wait_minutes``.

    Args:
        store: the record store.
        runs_folder: each run has a folder of its name in it.
        cache: where the embedded base is kept once it is converted.
    """

    async def decide_training(state: PipelineState) -> PipelineState:
        demand_extra("train", "the training")
        request, number = state["request"], state.get("training_round", 0) + 1
        folder = training_folder(runs_folder, state["run_id"], number)
        base = await asyncio.to_thread(base_folder, request.models.base, cache)
        heldout = await store.find(state["run_id"], Sample, tag="heldout", outcome=Outcome.ACCEPTED)
        job = training_job(state, base, folder / "adapter")
        pauses = int(-(-request.train.wait_minutes * 60 // PAUSE_SECONDS)) if request.unattended else 0
        for left in range(pauses, -1, -1):
            busy = await asyncio.to_thread(training_elsewhere, runs_folder)
            asked = SurveyJob(job=job, heldout=tuple(s.prompt for s in heldout), training_elsewhere=busy)
            decision = await _survey_and_decide(asked, folder, request)
            if decision.action != "wait" or not left:
                break
            report_progress("train", note=f"waiting: {decision.reason}")
            await asyncio.sleep(PAUSE_SECONDS)
        if decision.action == "abort":
            raise TrainingError(f"not trained: {decision.reason}; then 'corral resume {state['run_id']}' decides again")
        if decision.action == "wait" and request.unattended:
            waited = f"after {request.train.wait_minutes:g} minutes (train.wait_minutes)"
            raise TrainingError(
                f"not trained {waited}: {decision.reason}; 'corral resume {state['run_id']}' looks again"
            )
        return {"training_decision": decision}

    return decide_training


async def _survey_and_decide(job: SurveyJob, folder: Path, request: RunRequest) -> TrainingDecision:
    """Survey the machine, decide, and keep both in the training's folder."""
    await asyncio.to_thread(release_idle)
    found = await run_survey(job, folder)
    decision = settled(decide_training(found.survey, request.train), request)
    await asyncio.to_thread(_keep, folder, decision, found, request, job.job.start)
    return decision


async def ask_about_training(state: PipelineState) -> PipelineState:
    """Ask a person about a decision that changes the training or would wait, and follow the answer."""
    actions = [training_action(state["training_decision"])]
    answer = interrupt(question(actions), response_schema=answer_schema(actions))
    return {"training_decision": apply_answer(answer, state["training_decision"], state["request"])}


def make_train(runs_folder: Path, cache: Path) -> Node:
    """Return the node that trains as was decided.

    Args:
        runs_folder: each run has a folder of its name in it.
        cache: where the embedded base is kept once it is converted.
    """

    async def train(state: PipelineState) -> PipelineState:
        request, number = state["request"], state.get("training_round", 0) + 1
        base = await asyncio.to_thread(base_folder, request.models.base, cache)
        folder = training_folder(runs_folder, state["run_id"], number)
        progress = ProgressSteps()
        report_progress("train", note="loading the base", expected=state["training_decision"].estimated_seconds)
        async with training_lock(runs_folder):
            job = decided_job(training_job(state, base, folder / "adapter"), state["training_decision"])
            logger.info("training started", extra={"round": number, "recipe": request.train.recipe})
            try:
                adapter = await launch_training(job, folder, progress.follow)
            except TrainingError:
                await asyncio.to_thread(_note_stop, folder, progress)
                raise
        logger.info("training ended", extra={"round": number, "adapter": adapter.id})
        decision, flags, warnings = await asyncio.to_thread(_finish, folder, state["training_decision"], progress)
        return {
            "adapter": adapter.model_copy(update={"flags": flags}),
            "training_round": number,
            "training_decision": decision,
            "warnings": [*state.get("warnings", []), *warnings],
        }

    return train


def training_folder(runs_folder: Path, run_id: str, number: int) -> Path:
    """Return where a round's training is kept."""
    return runs_folder / run_id / "training" / f"round-{number}"


def training_job(state: PipelineState, base: Path, out: Path) -> TrainingJob:
    """Return the job of the round to come: each round after the first halves the learning rate."""
    request, dataset = state["request"], state["dataset"]
    return TrainingJob(
        base=str(base),
        recipe=request.train.recipe,
        dataset=dataset.folder,
        out=str(out),
        seed=request.seed,
        settings=request.train,
        start=start_of(state),
        learning_rate_scale=0.5 ** state.get("training_round", 0),
    )


def start_of(state: PipelineState) -> str:
    """Return the folder of the adapter that the training goes on with; empty where it begins with a fresh one."""
    improvement = state.get("improvement")
    goes_on = improvement is not None and state["request"].improve.start == "deployed"
    return improvement.adapter if improvement is not None and goes_on else ""


def decided_job(job: TrainingJob, decision: TrainingDecision) -> TrainingJob:
    """Return the job with the settings that were decided."""
    return job.model_copy(
        update={
            "settings": job.settings.model_copy(update={"max_length": decision.max_length}),
            "rows_at_once": decision.rows_at_once,
            "gradient_checkpointing": decision.gradient_checkpointing,
            "number_format": decision.number_format,
            "estimated_seconds": decision.estimated_seconds,
        }
    )


def settled(decision: TrainingDecision, request: RunRequest) -> TrainingDecision:
    """Return the decision; an unattended run settles ``optimise`` by accepting it."""
    takes = request.unattended and decision.action == "optimise"
    return decision.model_copy(update={"settled_by": POLICY}) if takes else decision


def training_action(decision: TrainingDecision) -> Action:
    """Return what a person is asked about a decision."""
    match decision.action:
        case "optimise":
            said = "Approve to train with these changes, or reject to train with the request's own settings."
        case "wait":
            said = "Approve to look again, or reject to begin at once."
        case "proceed" | "abort":
            raise ValueError(f"nobody is asked about the decision to {decision.action}")
        case _:
            assert_never(decision.action)
    shown = {
        "estimated_seconds": decision.estimated_seconds,
        "memory_gb": round(decision.memory_needed / 1e9, 1),
        "gradient_checkpointing": decision.gradient_checkpointing,
        "max_length": decision.max_length,
    }
    return Action(
        name=f"{decision.action}_training",
        args=shown,
        description=f"The training would {decision.action}: {decision.reason}. {said}",
        allowed=("approve", "reject"),
    )


def apply_answer(answer: HumanAnswer, decision: TrainingDecision, request: RunRequest) -> TrainingDecision:
    """Return the decision as a person answered it; it stays open where they chose to wait."""
    approved = consequences(answer.decisions[0].type).agrees
    if decision.action == "wait":
        return decision if approved else decision.model_copy(update={"settled_by": answer.reviewer})
    own = {
        "rows_at_once": {},
        "gradient_checkpointing": False,
        "max_length": request.train.max_length,
    }
    return decision.model_copy(update={"settled_by": answer.reviewer} | ({} if approved else own))


class ProgressSteps:
    """Reports the trainer's steps to the run, and remembers the lowest free disk space."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self.lowest_disk: int | None = None
        """The least free bytes of any step so far; ``None`` before the first."""
        self.highest_memory: float | None = None
        """The highest share of the device's memory of any step so far; ``None`` before the first."""

    def follow(self, progress: TrainingProgress) -> None:
        """Report the steps since the last event; a resumed phase counts only the steps that are left."""
        if not progress.total:
            return
        if (free := progress.disk_free) is not None:
            self.lowest_disk = free if self.lowest_disk is None else min(free, self.lowest_disk)
        if (share := progress.memory_share) is not None:
            self.highest_memory = max(share, self.highest_memory or 0.0)
        if progress.phase not in self._seen:
            self._seen[progress.phase] = progress.step - 1
            report_progress("train", total=progress.total - progress.step + 1)
        before = self._seen[progress.phase]
        self._seen[progress.phase] = max(before, progress.step)
        loss = f" loss {progress.loss:.3f}" if progress.loss is not None else ""
        report_progress("train", max(0, progress.step - before), note=f"{progress.phase}{loss}")


def _keep(folder: Path, decision: TrainingDecision, found: SurveyResult, request: RunRequest, start: str) -> None:
    """Write the decision with its survey, and the checklist so far."""
    survey, policy = found.survey, request.models.policy
    served = weights_here(policy) or policy.model
    free = min((gpu.free for gpu in survey.resources.gpus), default=survey.resources.memory_free)
    room = decision_items(decision, free, survey.resources.disk_free, disk_bytes(survey.base, request.train))
    before = (*found.items, *room, policy_item(served, start or request.models.base))
    _write_decision(folder, {"decision": decision.model_dump(), "survey": survey.model_dump()})
    _write(folder / CHECKLIST, Checklists(before=before))


def _finish(
    folder: Path, decision: TrainingDecision, progress: ProgressSteps
) -> tuple[TrainingDecision, tuple[str, ...], list[str]]:
    """Complete the checklist; return the decision with the true time, the flags, and the warnings for a person."""
    summary = json.loads((folder / "adapter" / "summary.json").read_text(encoding="utf-8"))
    begun = Checklists.model_validate_json((folder / CHECKLIST).read_text(encoding="utf-8"))
    found = [CheckItem.model_validate(item) for item in summary["inspection"]]
    lists = Checklists(
        before=begun.before,
        during=tuple(during_items(summary, progress.lowest_disk, progress.highest_memory)),
        after=tuple(after_items(summary, found)),
    )
    _write(folder / CHECKLIST, lists)
    timed = decision.model_copy(update={"actual_seconds": summary["seconds"]})
    made = json.loads((folder / DECISION).read_text(encoding="utf-8"))
    _write_decision(folder, made | {"decision": timed.model_dump()})
    changed = [f"{MACHINE}training was changed to fit: {decision.reason}"] if decision.settled_by == POLICY else []
    flags = tuple(f"training {folder.name}: {flag}" for flag in summary.get("flags", []))
    return timed, flags, [*changed, *flags, *lists.warnings("training")]


def _note_stop(folder: Path, progress: ProgressSteps) -> None:
    """Add the checks of a training that a tripwire stopped to its checklist."""
    if (folder / STOPPED).is_file():
        summary = json.loads((folder / STOPPED).read_text(encoding="utf-8"))
        begun = Checklists.model_validate_json((folder / CHECKLIST).read_text(encoding="utf-8"))
        seen = tuple(during_items(summary, progress.lowest_disk, progress.highest_memory))
        _write(folder / CHECKLIST, begun.model_copy(update={"during": seen}))


def _write_decision(folder: Path, made: Mapping[str, Any]) -> None:
    write_file(folder / DECISION, (json.dumps(made) + "\n").encode())


def _write(path: Path, lists: Checklists) -> None:
    write_file(path, (lists.model_dump_json(indent=1) + "\n").encode())
