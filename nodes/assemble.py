"""assemble: Alpaca, SFT and DPO files from what the judges and people accepted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from state.errors import TrainingError
from state.pipeline import DatasetRef, Node, PipelineState
from state.reading import Match
from state.records import Candidate, Judgement, Outcome, Review, ReviewTask, Sample
from state.request import RunRequest
from state.store import RecordStore
from state.wording import number_of
from tools.dataset.files import dataset_writer
from tools.dataset.pairing import NOT_JUDGED, faults_of, pair_all
from tools.dataset.seeding import imitated_seeds
from tools.endpoint.chat import OpenEndpoint
from tools.files import in_thread
from tools.judging import find_calibration, trust_note
from tools.judging.fingerprint import fingerprint_of
from tools.judging.judge import crew_calls
from tools.judging.licence import licence_of, modes_used
from tools.judging.trust import all_calibrations
from tools.people.decisions import decider_of
from tools.progress import report_progress
from tools.sources.seeds import load_seed_tasks
from tools.training.recipe import phases_of

ACCEPTED = Match(tag="train", outcome=Outcome.ACCEPTED)


def make_assemble(store: RecordStore, runs_folder: Path, home: Path, open_endpoint: OpenEndpoint | None = None) -> Node:
    """Return the node.

    Args:
        store: the record store.
        runs_folder: each run has a folder of its name in it.
        home: where judges' calibrations are kept.
        open_endpoint: opens the judge's model, to see whether it is the one that was measured.
    """

    async def assemble(state: PipelineState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        answers = Answers()
        report_progress("assemble", total=await store.count(run_id, Sample, **ACCEPTED))
        async with in_thread(dataset_writer(runs_folder / run_id / "datasets", run_id)) as writer:
            async for samples in store.pages(run_id, Sample, **ACCEPTED):
                candidates = await store.find(run_id, Candidate, parents=[s.id for s in samples])
                ids = [c.id for c in candidates]
                answers.count(candidates)
                judgements = await store.find(run_id, Judgement, parents=ids)
                tasks = [
                    task
                    for task in await store.find(run_id, ReviewTask, parents=[s.id for s in samples])
                    if task.kind == "pair"
                ]
                reviews = await store.find(run_id, Review, parents=[*ids, *(task.id for task in tasks)])
                await asyncio.to_thread(answers.count_approved, samples, candidates, reviews)
                pairs = await asyncio.to_thread(
                    pair_all, samples, candidates, judgements, reviews, request.train, tasks
                )
                await asyncio.to_thread(writer.add, pairs)
                report_progress("assemble", len(samples))
            seeds = await asyncio.to_thread(load_seed_tasks, Path(request.sources.seeds))
            # Added to what the policy gave, never in its place: a run without good completions trains on nothing.
            written = imitated_seeds(seeds, request.train.seed_share) if writer.imitates else []
            dataset = await asyncio.to_thread(writer.finish, written)
        report_progress(
            "assemble", note=f"{number_of(dataset.sft_rows, 'SFT row')}, {number_of(dataset.dpo_rows, 'DPO pair')}"
        )
        told = answers.notes(request)
        demand_rows(dataset, request, "".join(f" {line}." for line in told) + await failures(store, run_id))
        judges = sorted({judge for judge, _ in await store.tally(run_id, Judgement)})
        now = ""
        if request.judge.licence is not None and open_endpoint is not None:
            now = await fingerprint_of(await open_endpoint(request.models.judge, run_id), datetime.now(UTC))
        notes = await asyncio.to_thread(judge_trust, judges, request, home, now)
        return {"dataset": dataset, "warnings": [*told, *notes]}

    return assemble


@dataclass
class Answers:
    """What became of the policy's draws, as far as it holds for many of them.

    Attributes:
        drawn: draws that were answered.
        ended: those that ended by themselves.
        thought: those with thinking that was left out.
        not_judged: those that no judge was asked about, since nothing could come of it.
        faulty: those that people approved and training may not imitate, by what is wrong with each.
    """

    drawn: int = 0
    ended: int = 0
    thought: int = 0
    not_judged: int = 0
    faulty: Counter[str] = field(default_factory=Counter)

    def count(self, candidates: Sequence[Candidate]) -> None:
        """Add the draws among some candidates."""
        draws = [c for c in candidates if c.provenance in ("sampled", "scaffolded") and c.outcome != Outcome.FAILED]
        self.drawn += len(draws)
        self.ended += sum(c.ended for c in draws)
        self.thought += sum(c.thought for c in draws)
        self.not_judged += sum(c.reasons[:1] != () and c.reasons[0].startswith(NOT_JUDGED) for c in candidates)

    def count_approved(
        self, samples: Iterable[Sample], candidates: Iterable[Candidate], reviews: Iterable[Review]
    ) -> None:
        """Add the answers that people approved or wrote, and that training may not imitate all the same."""
        people = (r for r in reviews if r.decision == "approve" and decider_of(r.reviewer) == "person")
        approved = {review.item_id for review in people}
        prompts = {sample.id: sample for sample in samples}
        for candidate in candidates:
            taken = candidate.id in approved or candidate.provenance == "edited"
            if taken and candidate.outcome == Outcome.ACCEPTED:
                faults = faults_of(prompts[candidate.sample_id], candidate)
                self.faulty.update([", ".join(faults)] if faults else [])

    def notes(self, request: RunRequest) -> list[str]:
        """Return what a person should know of them."""
        model, lines = request.models.policy.model, []
        if self.drawn and not self.ended:
            lines.append(
                f"no answer of {model!r} ended by itself, of {self.drawn}: raise sampling.max_tokens, or look "
                "at the reasons of the candidates for a word that the server has for an end"
            )
        if self.thought:
            lines.append(
                f"thinking was left out of {number_of(self.thought, 'answer')} of {model!r}, of {self.drawn}; "
                "the ledger has it"
            )
        if self.not_judged:
            saved = self.not_judged * crew_calls(request.judge)
            lines.append(
                f"not judged, since the recipe {request.train.recipe} has no use for what training cannot imitate: "
                f"{number_of(self.not_judged, 'answer')}; that saved {number_of(saved, 'call')} of "
                f"{request.models.judge.model!r}"
            )
        if self.faulty:
            why = "; ".join(f"{faults}: {count}" for faults, count in self.faulty.most_common())
            lines.append(
                f"not imitated, though a person took it for good: {number_of(self.faulty.total(), 'answer')} that fail "
                f"what a program can verify ({why}). An edit of such an answer is imitated once it passes"
            )
        return lines


async def failures(store: RecordStore, run_id: str) -> str:
    """Return a sentence on how many candidates failed, and why the first of them did; empty where none did."""
    ids = await store.ids(run_id, Candidate, outcome=Outcome.FAILED, limit=1)
    if not ids:
        return ""
    (first,) = await store.find(run_id, Candidate, ids=ids)
    failed = await store.count(run_id, Candidate, outcome=Outcome.FAILED)
    return f" {number_of(failed, 'answer')} could not be had or judged, the first: {'; '.join(first.reasons)}"


def demand_rows(dataset: DatasetRef, request: RunRequest, failed: str = "") -> None:
    """Refuse a dataset that lacks rows for the recipe.

    Args:
        dataset: what was written.
        request: the run's.
        failed: what failed before, and may be the first thing to mend.

    Raises:
        BadInput: the recipe names an unknown phase.
        TrainingError: a phase of the recipe has no rows in the dataset.
    """
    if not all(phase.rows_in(dataset) for phase in phases_of(request.train.recipe)):
        advice = "Start a run with more prompts, more sampling.candidates, or a lower judge.accept"
        raise TrainingError(
            f"the recipe {request.train.recipe} has nothing to train on: {number_of(dataset.sft_rows, 'SFT row')} and "
            f"{number_of(dataset.dpo_rows, 'DPO pair')} came out (see {dataset.folder}). {advice}.{failed}"
        )


def judge_trust(judges: Sequence[str], request: RunRequest, home: Path, fingerprint: str = "") -> list[str]:
    """Return one line for each judge of the run, for its scoreboard: how well the judge was measured.

    Args:
        judges: identities.
        request: the run's.
        home: where calibrations are kept.
        fingerprint: of the judge's model now; empty where it is not known.

    Raises:
        TrainingError: the request demands a licence that a judge has not.
    """
    every = all_calibrations(home)
    for judge in judges:
        licence = licence_of(judge, every, request.judge, modes_used(request), fingerprint=fingerprint)
        if not licence.granted:
            raise TrainingError(f"not trained: judge.licence refuses {judge}: {'; '.join(licence.refusals)}")
    return [trust_note(judge, find_calibration(judge, home)) for judge in judges]
