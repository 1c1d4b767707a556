"""Evaluate any PEFT adapter against its base on any prompts, outside of a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from state.errors import BadInput
from state.extras import demand_extra
from state.records import Answer, Record, Sample
from state.request import Evaluation, Sampling
from state.wording import number_of
from tools.checks import IFEVAL
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.ledger import CallLedger
from tools.endpoint.weights import WeightsTransport
from tools.evaluation.accuracy import Accuracy, accuracies
from tools.evaluation.asking import Wanted, answer_call, answer_record, weights_endpoint
from tools.evaluation.ifeval import fixed_sample
from tools.evaluation.scoreboard import Scoreboard, score_answers
from tools.files import sole_use, writable, write_file
from tools.shipped import find_file
from tools.sources.prompts import load_prompts
from tools.weights.adapters import adapter_identity, check_fit, find_base
from tools.weights.folders import folder_fingerprint
from tools.weights.number_format import answering_format, named_with_format
from tools.weights.pool import ModelPool

IFEVAL_TOKENS = 1280
"""Tokens of an answer to IFEval at most, as in the LM Evaluation Harness: some prompts ask for 1,200 words."""
OnProgress = Callable[[str, int, int], None]
"""Called with ``base`` or ``adapter``, the prompts it has answered, and all."""


@dataclass(frozen=True)
class Plan:
    """An evaluation that nothing speaks against."""

    samples: tuple[Sample, ...]
    base: Path
    adapter: Path
    settings: Evaluation
    out: Path
    stem: str
    """Of the prompts file; the results' files are named after it."""
    notes: tuple[str, ...]


class Evaluated(Record):
    """What an evaluation found."""

    base: str
    """The base model's folder."""
    scoreboard: Scoreboard
    accuracies: tuple[Accuracy, ...]
    """Empty where no prompt has checks."""
    scoreboard_file: str
    answers_file: str


def plan_evaluation(
    adapter: Path,
    prompts: Path,
    *,
    base: str | None,
    limit: int | None,
    max_tokens: int | None,
    out: Path | None,
    home: Path,
    cache: Path,
) -> Plan:
    """Refuse what is wrong before anything is computed, and settle the rest.

    Args:
        adapter: a PEFT adapter's folder.
        prompts: a prompts file, Corral's or IFEval's; rows marked ``"split": "train"`` are left out.
        base: the base model; ``None`` for the one that the adapter names.
        limit: prompts at most: the first ones, or of a set with IFEval's instructions its fixed sample.
        max_tokens: tokens of an answer at most; by default those of a run's evaluation, or ``IFEVAL_TOKENS`` where the
            file asks for one of IFEval's instructions.
        out: gets answers and results; by default a folder of the adapter's own under ``home``.
        home: Corral's home.
        cache: where the unpacked embedded model is kept.

    Raises:
        BadInput: the prompts, the adapter or the base are wrong, or do not fit each other; or the extra ``train`` is
            not installed.
        StorageError: the cache cannot be written.
    """
    demand_extra("train", "the evaluation of an adapter")
    prompts = find_file(prompts)
    rows = load_prompts(prompts, 1.0)
    heldout = [sample for sample in rows if sample.split == "heldout"]
    if not heldout:
        raise BadInput(f"{prompts}: each prompt is marked 'train'; there is nothing to evaluate on")
    folder = find_base(adapter, base, cache)
    check_fit(adapter, folder)
    place = f"{adapter.resolve().name}-{adapter_identity(adapter, folder)[:8]}"
    ifeval = any(check.kind in IFEVAL for sample in heldout for check in sample.checks)
    longest = max_tokens or (IFEVAL_TOKENS if ifeval else Evaluation().max_tokens)
    return Plan(
        samples=tuple(fixed_sample(heldout, limit) if ifeval else heldout[:limit]),
        base=folder,
        adapter=adapter,
        settings=Evaluation(max_tokens=longest),
        out=out or home / "evaluations" / place,
        stem=prompts.stem,
        notes=_notes(rows),
    )


async def evaluate_adapter(plan: Plan, ledger: CallLedger, run_id: str, on_progress: OnProgress) -> Evaluated:
    """Let base and adapter answer, and score them. Answers that are in the ledger already are not asked for again.

    Args:
        plan: what ``plan_evaluation`` settled.
        ledger: where answers are kept.
        run_id: what the ledger books the calls under.
        on_progress: called as answers come.

    Raises:
        BadInput: another evaluation writes to the same folder.
        StorageError: the folder or the ledger cannot be written.
        EndpointError: a model process failed; the answers before that are kept.
    """
    with sole_use(plan.out):
        base, adapter = [await _answers(plan, ledger, run_id, folder, on_progress) for folder in (None, plan.adapter)]
        resamples, seed = plan.settings.resamples, 0
        board = await asyncio.to_thread(score_answers, plan.samples, base, adapter, plan.settings, seed)
        found = Evaluated(
            base=str(plan.base),
            scoreboard=board.model_copy(update={"notes": (*board.notes, *plan.notes)}),
            accuracies=await asyncio.to_thread(accuracies, plan.samples, base, adapter, resamples, seed),
            scoreboard_file=str(plan.out / f"scoreboard-{plan.stem}.json"),
            answers_file=str(plan.out / f"answers-{plan.stem}.jsonl"),
        )
        await asyncio.to_thread(_write, plan, found, [*base, *adapter])
    return found


async def _answers(
    plan: Plan, ledger: CallLedger, run_id: str, adapter: Path | None, on_progress: OnProgress
) -> list[Answer]:
    """Return the greedy answers of the base, or of base and adapter."""
    name = "adapter" if adapter else "base"
    identity = adapter_identity(adapter, plan.base) if adapter else folder_fingerprint(plan.base)
    # By content: the same weights in another place are the same model.
    spec = weights_endpoint(named_with_format(f"{name}@{identity}", answering_format()))
    pool = ModelPool(plan.base, adapter)
    endpoint = LedgeredEndpoint(WeightsTransport(pool), ledger, spec, run_id)
    done = 0
    on_progress(name, done, len(plan.samples))

    async def answer(sample: Sample) -> Answer:
        nonlocal done
        wanted = Wanted(sample=sample, draw=0)
        completion = await endpoint.complete(answer_call(wanted, plan.settings.max_tokens, Sampling(), 0))
        done += 1
        on_progress(name, done, len(plan.samples))
        return answer_record(name, wanted, completion)

    try:
        return await asyncio.gather(*(answer(sample) for sample in plan.samples))
    finally:
        await asyncio.to_thread(pool.release)


def _write(plan: Plan, found: Evaluated, answers: Sequence[Answer]) -> None:
    """Write the scoreboard, the whole result, and a line for each answer."""
    prompts = {sample.id: sample.prompt for sample in plan.samples}
    lines = [
        {"model": a.model, "prompt": prompts[a.sample_id], "text": a.text, "ended": a.ended, "tokens": a.tokens}
        for a in answers
    ]
    files = {
        found.scoreboard_file: found.scoreboard.model_dump_json(indent=1) + "\n",
        str(plan.out / f"{plan.stem}.json"): found.model_dump_json(indent=1) + "\n",
        found.answers_file: "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines),
    }
    for name, text in files.items():
        write_file(Path(name), writable(text).encode())


def _notes(rows: Sequence[Sample]) -> tuple[str, ...]:
    trained = sum(sample.split == "train" for sample in rows)
    return (f"left out, being marked 'train': {number_of(trained, 'prompt')}",) if trained else ()
