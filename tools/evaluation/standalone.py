"""Evaluate any PEFT adapter against its base on any prompts, outside of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from state.errors import BadInput
from state.records import Answer, Record, Sample, content_hash
from state.request import Evaluation
from tools.checks import IFEVAL
from tools.evaluation.accuracy import Accuracy, accuracies
from tools.evaluation.kept_answers import KeptAnswer, KeptAnswers, answer_key, open_answers
from tools.evaluation.scoreboard import Scoreboard, score_answers
from tools.files import write_file
from tools.sources.prompts import load_prompts
from tools.weights.adapters import adapter_identity, check_fit, find_base
from tools.weights.answering import GeneratedAnswer, answer
from tools.weights.folders import folder_fingerprint

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
        limit: the first so many prompts alone.
        max_tokens: tokens of an answer at most; by default those of a run's evaluation, or ``IFEVAL_TOKENS`` where the
            file asks for one of IFEval's instructions.
        out: gets answers and results; by default a folder of the adapter's own under ``home``.
        home: Corral's home.
        cache: where the unpacked embedded model is kept.

    Raises:
        BadInput: the prompts, the adapter or the base are wrong, or do not fit each other.
        StorageError: the cache cannot be written.
    """
    rows = load_prompts(prompts, 1.0)
    samples = tuple(sample for sample in rows if sample.split == "heldout")[:limit]
    if not samples:
        raise BadInput(f"{prompts}: all {len(rows)} prompts are marked 'train'; there is nothing to evaluate on")
    folder = find_base(adapter, base, cache)
    check_fit(adapter, folder)
    place = f"{adapter.resolve().name}-{adapter_identity(adapter, folder)[:8]}"
    asked = {check.kind for sample in samples for check in sample.checks}
    longest = max_tokens or (IFEVAL_TOKENS if asked & set(IFEVAL) else Evaluation().max_tokens)
    return Plan(
        samples=samples,
        base=folder,
        adapter=adapter,
        settings=Evaluation(max_tokens=longest),
        out=out or home / "evaluations" / place,
        stem=prompts.stem,
        notes=_notes(rows),
    )


async def evaluate_adapter(plan: Plan, on_progress: OnProgress) -> Evaluated:
    """Let base and adapter answer, and score them. Answers that are on disk already are not asked for again.

    Raises:
        BadInput: another evaluation writes to the same folder.
        StorageError: the folder cannot be written.
        TrainingError: a model failed; the answers before that are kept.
    """
    kept_file = plan.out / "answers.jsonl"
    with open_answers(kept_file) as kept:
        base = await _answers(plan, kept, None, on_progress)
        adapter = await _answers(plan, kept, plan.adapter, on_progress)
    resamples, seed = plan.settings.resamples, 0
    board = await asyncio.to_thread(score_answers, plan.samples, base, adapter, plan.settings, seed)
    found = Evaluated(
        base=str(plan.base),
        scoreboard=board.model_copy(update={"notes": (*board.notes, *plan.notes)}),
        accuracies=await asyncio.to_thread(accuracies, plan.samples, base, adapter, resamples, seed),
        scoreboard_file=str(plan.out / f"scoreboard-{plan.stem}.json"),
        answers_file=str(kept_file),
    )
    for name, result in ((found.scoreboard_file, found.scoreboard), (str(plan.out / f"{plan.stem}.json"), found)):
        write_file(Path(name), (result.model_dump_json(indent=1) + "\n").encode())
    return found


async def _answers(plan: Plan, kept: KeptAnswers, adapter: Path | None, on_progress: OnProgress) -> list[Answer]:
    name = "adapter" if adapter else "base"
    model = adapter_identity(adapter, plan.base) if adapter else folder_fingerprint(plan.base)
    tokens = plan.settings.max_tokens
    keys = {sample.id: answer_key(model, sample.prompt, tokens) for sample in plan.samples}
    prompts = {keys[sample.id]: sample.prompt for sample in plan.samples}
    missing = [(key, prompt) for key, prompt in prompts.items() if key not in kept]
    done = len(prompts) - len(missing)
    on_progress(name, done, len(prompts))

    def keep(given: GeneratedAnswer) -> None:
        nonlocal done
        text = {"text": given.text, "ended": given.ended, "tokens": given.tokens}
        kept.add(KeptAnswer(model=model, prompt=prompts[given.id], max_tokens=tokens, **text))
        done += 1
        on_progress(name, done, len(prompts))

    await answer(
        plan.base,
        adapter,
        missing,
        max_tokens=tokens,
        batch_size=plan.settings.batch_size,
        folder=plan.out / name,
        on_answer=keep,
    )
    return [_record(name, sample, kept[keys[sample.id]]) for sample in plan.samples]


def _record(name: str, sample: Sample, given: KeptAnswer) -> Answer:
    return Answer(
        id=content_hash(name, sample.id),
        sample_id=sample.id,
        model=name,
        text=given.text,
        ended=given.ended,
        tokens=given.tokens,
    )


def _notes(rows: Sequence[Sample]) -> tuple[str, ...]:
    trained = sum(sample.split == "train" for sample in rows)
    return (f"{trained} prompts marked 'train' are left out",) if trained else ()
