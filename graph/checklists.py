"""The checklists of a run: their facts are read from the store and the disk, and they are kept in its folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import assert_never

from graph.estimates import expected_cost
from graph.inputs import request_to_show
from graph.services import Services
from graph.standing import state_of
from nodes.approve import verdict_in_words
from nodes.train import CHECKLIST
from state.errors import BadInput
from state.pipeline import PipelineState
from state.records import GenerationRound, Outcome, Sample
from state.request import RunRequest
from tools.checklists.data import (
    DataFacts,
    RoundFacts,
    SeedFacts,
    after_items,
    before_items,
    dataset_items,
    during_items,
    instruction_items,
)
from tools.checklists.deployment import DeploymentFacts, deployment_items
from tools.checklists.items import CheckItem, Checklist, Checklists
from tools.checklists.kept import STAGES, Stage, read_checklists, write_checklists
from tools.dataset.files import LINEAGE
from tools.gates import DEFAULT_POLICY, DiversityFigures, FiguresBuilder, load_safety_policy
from tools.gates.coherence import CoherenceGate
from tools.gates.content import ContentGate
from tools.gates.gate import Gate, GateInputs
from tools.gates.safety import SafetyGate
from tools.machine.resources import measure
from tools.registry import current
from tools.report import REPORT
from tools.sources.seeds import load_seed_tasks
from tools.training.checklists import benchmark_item


async def check_stage(services: Services, run_id: str, stage: Stage, state: PipelineState | None = None) -> Checklist:
    """Return the checklist of one part of a run, as it is now.

    Args:
        services: the process's.
        run_id: the run.
        stage: which part.
        state: the run's, where the caller knows more than its last checkpoint.

    Raises:
        UnknownRun: there is no such run.
        BadInput: it has not come to that part yet.
    """
    state = state or {**await state_of(services, run_id), "run_id": run_id}
    match stage:
        case "data":
            return Checklist(items=tuple(await _data(services, run_id, state)))
        case "training":
            if "adapter" not in state:
                raise BadInput(f"run {run_id} has trained nothing yet, so its training cannot be checked")
            items = await asyncio.to_thread(_training, Path(state["adapter"].folder).parent)
            measured = (
                (state["verdict"].verdict, verdict_in_words(state["verdict"])) if "verdict" in state else ("", "")
            )
            return Checklist(items=(*items, benchmark_item(*measured)))
        case "deployment":
            if "verdict" not in state:
                raise BadInput(f"run {run_id} was not evaluated yet, so its adapter cannot be checked")
            return Checklist(items=tuple(deployment_items(await _deployment(services, run_id, state))))
        case _:
            assert_never(stage)


async def keep_checklists(services: Services, run_id: str, state: PipelineState) -> dict[Stage, Checklist]:
    """Run the checklists that a run has come to, write them into its folder, and return them by stage.

    That of the data is not run again where it is kept: once a run evaluates, its data stays as it is.
    """
    reached = {"data": "next_round" in state, "training": "adapter" in state, "deployment": "verdict" in state}
    earlier = await asyncio.to_thread(read_checklists, services.runs_folder / run_id)
    found: dict[Stage, Checklist] = {}
    for stage in (stage for stage in STAGES if reached[stage]):
        kept_data = earlier.get(stage) if stage == "data" else None
        found[stage] = kept_data or await check_stage(services, run_id, stage, state)
    await asyncio.to_thread(write_checklists, services.runs_folder / run_id, found)
    return found


async def _data(services: Services, run_id: str, state: PipelineState) -> list[CheckItem]:
    request = await services.store.request_of(run_id)
    rounds = sorted(await services.store.find(run_id, GenerationRound), key=lambda one: one.round)
    used = [row for row in await services.calls.tally(run_id) if row.purpose == "generate"]
    cap = await services.calls.cap(run_id)
    facts = await data_facts(services, run_id, request, rounds)
    return [
        *before_items(await _seeds(services, run_id, request, cap)),
        *during_items(
            RoundFacts(
                rounds=len(rounds),
                calls=sum(row.answered + row.failed for row in used),
                failed_calls=sum(row.failed for row in used),
                least_novelty=min((one.novelty for one in rounds), default=None),
                min_diversity=request.gates.min_diversity,
                spent=await services.calls.spent(run_id),
                cap=cap,
            )
        ),
        *after_items(facts),
        *instruction_items(facts),
        *dataset_items(facts),
    ]


async def _seeds(services: Services, run_id: str, request: RunRequest, cap: float | None) -> SeedFacts:
    own = await request_to_show(services, run_id)
    seeds = await asyncio.to_thread(load_seed_tasks, Path(own.sources.seeds))
    builder = FiguresBuilder()
    for task in seeds:
        builder.add(Sample(id=task.id, instruction=task.instruction, category=task.category))
    shown = await asyncio.to_thread(builder.result)
    expected = await expected_cost(services, run_id, own)
    return SeedFacts(
        seeds=len(seeds),
        categories_missing=tuple(name for name, count in shown.categories.items() if not count),
        cap=cap,
        expected=expected.total.dollars.expected,
    )


MEASURED = 2000
"""Accepted rows that are measured and held to the gates once more: a millisecond each. Their ids are hashes, so that
the first ones are an even sample."""


async def data_facts(services: Services, run_id: str, request: RunRequest, rounds: list[GenerationRound]) -> DataFacts:
    """Return what came of a run's generation: the accepted rows are measured, and held to the gates once more."""
    policy = await asyncio.to_thread(load_safety_policy, DEFAULT_POLICY)
    inputs = GateInputs(request.gates, policy)
    gates: dict[str, Gate] = {g.name: g(inputs) for g in (ContentGate, SafetyGate, CoherenceGate)}
    builder, faults, empty = FiguresBuilder(), dict.fromkeys(gates, 0), 0
    pages = services.store.pages(run_id, Sample, tag="train", origin="generated", outcome=Outcome.ACCEPTED)

    def look(page: list[Sample]) -> None:
        for sample in page:
            builder.add(sample)
            for name, gate in gates.items():
                faults[name] += not gate.judge(sample).passed

    seen = 0
    async for page in pages:
        empty += sum(not sample.output.strip() for sample in page)
        await asyncio.to_thread(look, page)
        if (seen := seen + len(page)) >= MEASURED:
            break
    found: DiversityFigures = await asyncio.to_thread(builder.result)
    return DataFacts(
        wanted=request.generation.target,
        offered=sum(one.offered for one in rounds),
        accepted=await services.store.count(run_id, Sample, tag="train", origin="generated", outcome=Outcome.ACCEPTED),
        measured=found.rows,
        given=await services.store.count(run_id, Sample, tag="train", origin="prompt", outcome=Outcome.ACCEPTED),
        waiting=await services.store.count(run_id, Sample, tag="train", origin="generated", outcome=Outcome.WAITING),
        broken_rules=faults,
        mean_similarity=found.mean_similarity,
        max_similarity=found.max_similarity,
        rouge_threshold=request.gates.rouge_threshold,
        balance=found.balance,
        distinct_1=found.distinct_1,
        without_output=empty,
    )


def _training(folder: Path) -> tuple[CheckItem, ...]:
    try:
        lists = Checklists.model_validate_json((folder / CHECKLIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of another version, or lost: the report does without, too
        return ()
    return (*lists.before, *lists.during, *lists.after)


async def _deployment(services: Services, run_id: str, state: PipelineState) -> DeploymentFacts:
    verdict, adapter, request = state["verdict"], state["adapter"], await services.store.request_of(run_id)
    folder, dataset = services.runs_folder / run_id, state.get("dataset")
    rows = Path(dataset.folder) if dataset else folder
    registry = Path(request.deploy.registry or services.registry)
    earlier = await asyncio.to_thread(current, registry)
    ratings = await services.feedback.stars_by_version()

    def look() -> DeploymentFacts:
        from importlib.util import find_spec

        return DeploymentFacts(
            verdict=verdict.verdict,
            difference=verdict_in_words(verdict),
            prompts=verdict.prompts,
            flags=adapter.flags,
            perplexity_ratio=verdict.perplexity_ratio,
            max_perplexity=request.evaluate.max_perplexity,
            disk_free=measure(folder).disk_free,
            serving=find_spec("xllamacpp") is not None or services.settings.serve_engine == "vllm",
            report=(folder / REPORT).is_file(),
            dataset_card=(rows / "README.md").is_file(),
            scoreboard=Path(verdict.scoreboard).is_file(),
            lineage=(rows / LINEAGE).is_file(),
            earlier=None if earlier == state.get("deployed") else earlier,
            rated=any(stars for _, stars, _ in ratings),
        )

    return await asyncio.to_thread(look)
