"""One answering process: ``python -m tools.training.answerer JOB.json``. It is started by ``answering.answer``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.training.answering import AnsweringJob, GeneratedAnswer
from tools.training.child import JsonLines, die_with_parent


def answers(job: AnsweringJob) -> Iterator[GeneratedAnswer]:
    """Yield the greedy answers of a job's prompts, batch by batch."""
    import torch
    from transformers import AutoTokenizer

    from tools.training.weights import load_model

    tokenizer = AutoTokenizer.from_pretrained(job.base, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = load_model(Path(job.base), Path(job.adapter) if job.adapter else None)
    for start in range(0, len(job.prompts), job.batch_size):
        batch = job.prompts[start : start + job.batch_size]
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
            )
            for _, text in batch
        ]
        inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=job.max_tokens, do_sample=False)
        width = inputs["input_ids"].shape[1]
        for (name, _), row in zip(batch, output[:, width:].tolist(), strict=True):
            yield _finished(name, row, tokenizer)


def _finished(name: str, tokens: list[int], tokenizer: Any) -> GeneratedAnswer:
    ended = tokenizer.eos_token_id in tokens
    kept = tokens[: tokens.index(tokenizer.eos_token_id)] if ended else tokens
    return GeneratedAnswer(
        id=name, text=tokenizer.decode(kept, skip_special_tokens=True).strip(), ended=ended, tokens=len(kept)
    )


def main(job_file: Path) -> None:
    """Answer a job's prompts, a JSON line each."""
    die_with_parent()
    lines = JsonLines()
    for found in answers(AnsweringJob.model_validate_json(job_file.read_text())):
        lines.write(**found.model_dump())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
