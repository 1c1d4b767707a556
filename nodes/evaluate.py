"""evaluate: base and adapter answer held-out prompts and read held-out texts; the scoreboard says which is better."""

from __future__ import annotations

import asyncio
from pathlib import Path

from state.calls import CallStore
from state.pipeline import Node, PipelineState
from state.records import Sample
from state.store import RecordStore
from tools.checklists.items import MACHINE
from tools.dataset.seeding import imitated_seeds
from tools.endpoint.chat import OpenEndpoint
from tools.evaluation.asking import ANSWERS, PUBLIC, TEXTS
from tools.evaluation.ifeval import fixed_sample, public_accuracies
from tools.evaluation.measuring import BASE, Measuring, heldout_samples, judged
from tools.evaluation.perplexity import has_text_of, heldout_passages, paired_nats, texts_of
from tools.evaluation.scoreboard import score_answers
from tools.evaluation.scoring import script_note
from tools.evaluation.winning import pairs_to_judge
from tools.files import write_file
from tools.generation.pacing import expected_measuring
from tools.progress import report_progress
from tools.sources.prompts import ifeval_prompts
from tools.sources.seeds import load_seed_tasks


def make_evaluate(store: RecordStore, calls: CallStore, runs_folder: Path, open_endpoint: OpenEndpoint) -> Node:
    """Return the node.

    Args:
        store: the record store.
        calls: the ledger, which tells how long earlier evaluations took.
        runs_folder: each run has a folder of its name in it.
        open_endpoint: opens the weights that are measured, and the judge's model.
    """
    measuring = Measuring(store, open_endpoint, "evaluate")

    async def evaluate(state: PipelineState) -> PipelineState:
        run_id, request, adapter = state["run_id"], state["request"], state["adapter"]
        samples = await heldout_samples(store, run_id, request)
        seeds = await asyncio.to_thread(load_seed_tasks, Path(request.sources.seeds))
        measurable = texts_of(samples, seeds)
        training = [
            one
            async for page in store.pages(run_id, Sample, tag="train")
            for one in page
            if has_text_of(one, measurable)
        ]
        passages = heldout_passages(samples, seeds, training + imitated_seeds(seeds, request.train.seed_share))
        public = await asyncio.to_thread(ifeval_prompts, request)
        sample = fixed_sample(public, request.evaluate.ifeval_prompts)
        answers = len(samples) * (1 + request.evaluate.sampled_draws)
        counts = {ANSWERS: answers, TEXTS: len(passages), PUBLIC: len(sample)}
        total = 2 * sum(counts.values()) + min(request.evaluate.judged_pairs, len(samples))
        report_progress("evaluate", total=total, expected=await expected_measuring(calls, request.models.base, counts))

        before, nats_before = await measuring.measure(state, samples, passages, BASE, request.models.base)
        public_before = await measuring.public(state, sample, BASE, request.models.base)
        after, nats_after = await measuring.measure(state, samples, passages, adapter.id, adapter.folder)
        public_after = await measuring.public(state, sample, adapter.id, adapter.folder)
        pairs = pairs_to_judge(samples, before, after, request.evaluate.judged_pairs)
        win_rate = await judged(open_endpoint, state, pairs)
        nats = paired_nats(passages, nats_before, nats_after)
        board = await asyncio.to_thread(
            score_answers, samples, before, after, request.evaluate, request.seed, nats=nats, win_rate=win_rate
        )
        ifeval = await asyncio.to_thread(
            public_accuracies, sample, len(public), public_before, public_after, request.evaluate, request.seed
        )
        notes = tuple(line for line in state.get("warnings", ()) if not line.startswith(MACHINE))
        notes += tuple(script_note(samples)) if request.evaluate.primary == "rougeL" else ()
        board = board.model_copy(update={"notes": notes, "ifeval": ifeval})
        place = runs_folder / run_id / "evaluation" / f"scoreboard-{adapter.id[:8]}.json"
        await asyncio.to_thread(write_file, place, (board.model_dump_json(indent=1) + "\n").encode())
        return {"verdict": board.record(str(place))}

    return evaluate
