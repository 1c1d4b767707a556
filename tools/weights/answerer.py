"""One answering process: ``python -m tools.weights.answerer JOB.json``. It is started by ``answering.answer``."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tools.weights.answering import AnsweringJob, Ask, Drawing, GeneratedAnswer, PassageScore
from tools.weights.likelihoods import TOKENS_AT_ONCE
from tools.weights.processes import JsonLines, die_with_parent
from tools.weights.template import IGNORED, TokenRow, load_tokenizer, tokenise, user_turn


def results(job: AnsweringJob) -> Iterator[GeneratedAnswer | PassageScore]:
    """Yield a job's answers, each as soon as it is finished, then its scores."""
    from tools.weights.loading import load_model

    tokenizer = load_tokenizer(Path(job.base))
    model = load_model(Path(job.base), Path(job.adapter) if job.adapter else None)
    yield from answers(job, model, tokenizer)
    yield from scores(job, model, tokenizer)


def answers(job: AnsweringJob, model: Any, tokenizer: Any) -> Iterator[GeneratedAnswer]:
    """Yield the answers to a job's prompts, each as soon as it is finished."""
    from tools.weights.decoding import Prompt, decode, end_tokens

    chats = [[user_turn(ask.text, ask.input)] for ask in job.prompts]
    texts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False) if chats else []
    tokens = [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    prompts = [Prompt(read, noise_of(ask, job.drawing)) for read, ask in zip(tokens, job.prompts, strict=True)]
    for found in decode(
        model,
        prompts,
        end_tokens(model, tokenizer),
        max_tokens=job.max_tokens,
        slots=job.batch_size,
        temperature=job.drawing.temperature,
        top_p=job.drawing.top_p,
    ):
        ask = job.prompts[found.row]
        text = tokenizer.decode(found.tokens, skip_special_tokens=True).strip()
        yield GeneratedAnswer(id=ask.id, draw=ask.draw, text=text, ended=found.ended, tokens=len(found.tokens))


def noise_of(ask: Ask, drawing: Drawing) -> random.Random | None:
    """Return an answer's own random numbers, the same in every process; ``None`` for a greedy one."""
    if ask.draw == 0 or drawing.temperature == 0:
        return None
    return random.Random(f"{drawing.seed}/{ask.draw}/{ask.id}")


def scores(job: AnsweringJob, model: Any, tokenizer: Any) -> Iterator[PassageScore]:
    """Yield the scores of a job's passages, longest first."""
    rows = [
        tokenise(
            tokenizer,
            [user_turn(passage.prompt, passage.input)],
            [{"role": "assistant", "content": passage.text}],
        )
        for passage in job.passages
    ]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row].input_ids))
    while order:
        room = TOKENS_AT_ONCE[model.device.type == "cpu"] // len(rows[order[0]].input_ids)
        batch, order = order[: max(1, room)], order[max(1, room) :]
        for row, nats in zip(batch, negative_log_likelihoods(model, [rows[row] for row in batch]), strict=True):
            yield PassageScore(id=job.passages[row].id, nats=nats, tokens=_answered(rows[row]))


def negative_log_likelihoods(model: Any, rows: list[TokenRow]) -> list[float]:
    """Return the nats of each row's completion, summed over its tokens."""
    import torch

    width = max(len(row.input_ids) for row in rows)

    def padded(values: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([one + [fill] * (width - len(one)) for one in values], device=model.device)

    read = padded([row.input_ids for row in rows], 0)
    there = padded([[1] * len(row.input_ids) for row in rows], 0)
    wanted = padded([row.labels for row in rows], IGNORED)[:, 1:]
    with torch.inference_mode():
        logits = model(input_ids=read, attention_mask=there, use_cache=False).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(
            logits[wanted != IGNORED].float(), wanted[wanted != IGNORED], reduction="none"
        )
    nats = iter(losses.tolist())
    return [math.fsum(islice(nats, _answered(row))) for row in rows]


def _answered(row: TokenRow) -> int:
    return sum(label != IGNORED for label in row.labels)


def main(job_file: Path) -> None:
    """Do a job, a JSON line for each result."""
    die_with_parent()
    lines = JsonLines()
    for found in results(AnsweringJob.model_validate_json(job_file.read_text())):
        lines.write(**found.model_dump())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
