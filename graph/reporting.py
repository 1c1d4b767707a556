"""The report of a run: its facts are read from the store and the disk, and ``report.html`` is written to its folder.

A large run stays small here: samples, candidates, judgements and calls are counted as they stream by; examples come
from the first ``PROMPTS`` held-out prompts, and single rows of the lineage from its first lines.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from graph.accounts import cost_comparison, gold_of
from graph.services import Services
from graph.step_times import read_step_times
from graph.teaching import against_people_in, read_band, with_kept_band
from nodes.train import CHECKLIST, DECISION
from state.pipeline import DatasetRef, PipelineState
from state.records import Answer, Candidate, GenerationRound, Judgement, Outcome, Rating, Sample
from tools.checklists.kept import read_checklists
from tools.dataset.files import DIVERSITY, LINEAGE
from tools.files import write_out
from tools.people.decisions import in_words
from tools.people.raters import Agreement, agreements
from tools.report import REPORT, rows_beside
from tools.report.board import Board, read_board
from tools.report.examples import ExamplePicker, Examples
from tools.report.facts import CallGroup, Costs, RunFacts, StageChecklist
from tools.report.funnel import Funnel, RowCounter, candidate_funnel, instruction_funnel, prompt_funnel
from tools.report.lineage import Lineage, LineageCounter, read_lineage, row_source
from tools.report.page import render
from tools.report.scores import ScoreCounter, Scores
from tools.report.timing import Latency, step_times
from tools.report.training import TrainingRound, read_training
from tools.training.job import STOPPED

PROMPTS = 2000
"""Held-out prompts among which examples are looked for: at some 2 ms each, that takes seconds."""
CHUNK = 200
"""Prompts held at a time."""
BASE, GREEDY = "base", 0
"""The base's name and the greedy answer's number, as the evaluation keeps them."""


async def write_report(
    services: Services, run_id: str, state: PipelineState, *, out: Path | None = None, standing: str = ""
) -> Path:
    """Write a run's report and return its path.

    Args:
        services: the process's.
        run_id: the run.
        state: its state; empty if the run has not begun.
        out: where to write it; ``None`` for ``report.html`` in the run's folder.
        standing: how far the run has come, in words, if the caller knows more than the state does.

    Raises:
        UnknownRun: there is no such run.
        StorageError: the file cannot be written.
    """
    facts = await gather(services, run_id, state, standing)
    path = out or services.runs_folder / run_id / REPORT
    rows = rows_beside(path)
    browser = rows.name if await asyncio.to_thread(rows.exists) else ""
    page = await asyncio.to_thread(render, facts.model_copy(update={"browser": browser}))
    await asyncio.to_thread(write_out, path, page.encode())
    return path


async def gather(services: Services, run_id: str, state: PipelineState, standing: str = "") -> RunFacts:
    """Return everything that the report shows; the arguments are ``write_report``'s."""
    store, folder = services.store, services.runs_folder / run_id
    request = await with_kept_band(services, run_id, await store.request_of(run_id))
    band = await asyncio.to_thread(read_band, folder) if request.judge.band == "measured" else None
    adapter, dataset = state.get("adapter"), state.get("dataset")
    lineage, counter = await _lineage(services, run_id, dataset, adapter.id if adapter else "")
    return RunFacts(
        run_id=run_id,
        created_at=dict(await store.run_ids())[run_id],
        written_at=datetime.now(UTC),
        standing=standing or standing_of(state),
        request=request,
        warnings=tuple(state.get("warnings", ())),
        board=await asyncio.to_thread(_board, state),
        trainings=await asyncio.to_thread(_trainings, folder, adapter.folder if adapter else ""),
        scores=await _scores(services, run_id),
        funnels=await _funnels(services, run_id, dataset, counter),
        rounds=tuple(sorted(await store.find(run_id, GenerationRound), key=lambda round_: round_.round)),
        costs=await _costs(services, run_id),
        examples=await _examples(services, run_id, request.evaluate.limit, adapter.id) if adapter else None,
        lineage=lineage,
        people=await against_people_in(services, run_id),
        agreements=await _agreements(services, run_id),
        gold=await gold_of(services, run_id),
        band=band.note if band else "",
        checklists=await asyncio.to_thread(_checklists, folder),
        diversity=await asyncio.to_thread(_diversity, dataset),
    )


def _checklists(folder: Path) -> tuple[StageChecklist, ...]:
    return tuple(
        StageChecklist(stage=stage, score=found.score, stop=found.stop, items=found.items)
        for stage, found in read_checklists(folder).items()
    )


def _diversity(dataset: DatasetRef | None) -> tuple[tuple[str, str], ...]:
    """Return the figures of diversity in a dataset's manifest, with what they are called."""
    found = _read_json(Path(dataset.folder) / "manifest.json").get("diversity", {}) if dataset else {}
    return tuple((called, f"{found[name]:.4g}") for name, called in DIVERSITY.items() if name in found)


async def _agreements(services: Services, run_id: str) -> tuple[Agreement, ...]:
    ratings = [rating async for page in services.store.pages(run_id, Rating) for rating in page]
    return await asyncio.to_thread(agreements, ratings)


def standing_of(state: PipelineState) -> str:
    """Return how far a run has come, by its state."""
    if deployed := state.get("deployed"):
        return f"deployed as {deployed}"
    if approval := state.get("approval"):
        return f"{'signed' if approval.approved else 'not deployed, decided'} by {in_words(approval.reviewer)}"
    return "measured, not signed yet" if state.get("verdict") else "not measured yet"


def _read_json(path: Path) -> dict[str, Any]:
    """Return a file's JSON object; an empty one if the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _board(state: PipelineState) -> Board | None:
    verdict = state.get("verdict")
    return read_board(_read_json(Path(verdict.scoreboard))) if verdict else None


def _trainings(folder: Path, evaluated: str) -> tuple[TrainingRound, ...]:
    places = sorted(folder.glob("training/round-*"), key=lambda place: (len(str(place)), str(place)))
    found = [(p, _read_json(p / "adapter" / "summary.json") or _read_json(p / STOPPED)) for p in places]
    return tuple(
        read_training(
            place.name.replace("-", " "),
            raw,
            evaluated=place / "adapter" == Path(evaluated),
            decision=_read_json(place / DECISION),
            checklist=_read_json(place / CHECKLIST),
        )
        for place, raw in found
        if raw
    )


async def _scores(services: Services, run_id: str) -> Scores | None:
    counter = ScoreCounter()
    async for row in services.store.scan(run_id, Judgement, *ScoreCounter.FIELDS):
        counter.add(*row)
    return counter.result()


async def _funnels(
    services: Services, run_id: str, dataset: DatasetRef | None, rows: LineageCounter
) -> tuple[Funnel, ...]:
    written, drawn = RowCounter(), RowCounter()
    async for split, origin, outcome, reason, count in services.store.reasons(run_id, Sample):
        if (split, origin) == ("train", "generated"):
            written.add(outcome, [reason] if reason else [], count)
    async for _, _, outcome, reason, count in services.store.reasons(run_id, Candidate):
        drawn.add(outcome, [reason] if reason else [], count)
    unjudged = await services.store.childless(run_id, Candidate, Judgement)
    manifest = await asyncio.to_thread(_read_json, Path(dataset.folder) / "manifest.json") if dataset else {}
    funnels = (
        instruction_funnel(written),
        candidate_funnel(drawn, unjudged, rows.rows, rows.paired),
        prompt_funnel(manifest.get("prompts", {})),
    )
    return tuple(funnel for funnel in funnels if funnel is not None)


async def _costs(services: Services, run_id: str) -> Costs:
    latencies: dict[str, Latency] = {}
    async for purpose, started, finished in services.calls.times(run_id):
        latencies.setdefault(purpose, Latency()).add(started, finished)
    tallies = await services.calls.tally(run_id)
    stages, prices, note = await cost_comparison(services, run_id, tallies)
    folder, busy = services.runs_folder / run_id, {purpose: one.busy for purpose, one in latencies.items()}
    groups = []
    for tally in tallies:
        latency = latencies.get(tally.purpose, Latency())
        groups.append(CallGroup(tally=tally, busy=latency.busy.seconds, latency=latency.mean))
    return Costs(
        calls=tuple(groups),
        stages=tuple(stages),
        prices=prices,
        note=note,
        spent=await services.calls.spent(run_id),
        cap=await services.calls.cap(run_id),
        steps=await asyncio.to_thread(lambda: step_times(read_step_times(folder), busy)),
    )


async def _examples(services: Services, run_id: str, limit: int | None, adapter: str) -> Examples | None:
    store, picker = services.store, ExamplePicker()
    all_heldout = await store.count(run_id, Sample, tag="heldout", outcome=Outcome.ACCEPTED)
    heldout = all_heldout if limit is None else min(limit, all_heldout)
    looked = await store.ids(run_id, Sample, tag="heldout", outcome=Outcome.ACCEPTED, limit=min(heldout, PROMPTS))
    for start in range(0, len(looked), CHUNK):
        ids = looked[start : start + CHUNK]
        samples = await store.find(run_id, Sample, ids=ids)
        base, after = [
            {a.sample_id: a for a in await store.find(run_id, Answer, parents=ids, tag=model) if a.draw == GREEDY}
            for model in (BASE, adapter)
        ]
        if not base and not after:
            return None
        await asyncio.to_thread(_look, picker, samples, base, after)
    return picker.result(heldout)


def _look(picker: ExamplePicker, samples: list[Sample], base: dict[str, Answer], adapter: dict[str, Answer]) -> None:
    for sample in samples:
        picker.add(sample, base.get(sample.id), adapter.get(sample.id))


async def _lineage(
    services: Services, run_id: str, dataset: DatasetRef | None, adapter: str
) -> tuple[Lineage | None, LineageCounter]:
    counter = LineageCounter()
    if dataset is None:
        return None, counter
    await asyncio.to_thread(counter.read, Path(dataset.folder) / LINEAGE)
    manifest = await asyncio.to_thread(_read_json, Path(dataset.folder) / "manifest.json")
    chosen = [str(row.get("chosen")) for row in counter.first]
    store = services.store
    samples = {s.id: s for s in await store.find(run_id, Sample, ids=[str(row.get("sample")) for row in counter.first])}
    candidates = {c.id: c for c in await store.find(run_id, Candidate, ids=chosen)}
    judgements = {j.candidate_id: j for j in await store.find(run_id, Judgement, parents=chosen)}
    shown = [row_source(n, row, samples, candidates, judgements) for n, row in enumerate(counter.first, 1)]
    return read_lineage(counter, manifest, adapter).model_copy(update={"shown": tuple(shown)}), counter
