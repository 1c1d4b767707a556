"""One answering process: ``python -m tools.training.answerer JOB.json``. It is started by ``answering.answer``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tools.training.answering import AnsweringJob, GeneratedAnswer
from tools.training.child import JsonLines, die_with_parent


def answers(job: AnsweringJob) -> Iterator[GeneratedAnswer]:
    """Yield the greedy answers of a job's prompts, each as soon as it is finished."""
    from transformers import AutoTokenizer

    from tools.training.decoding import decode_greedily, end_tokens
    from tools.training.weights import load_model

    tokenizer = AutoTokenizer.from_pretrained(job.base, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = load_model(Path(job.base), Path(job.adapter) if job.adapter else None)
    ends = end_tokens(model, tokenizer)
    for start in range(0, len(job.prompts), job.batch_size):
        batch = job.prompts[start : start + job.batch_size]
        chats = [[{"role": "user", "content": text}] for _, text in batch]
        texts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
        for found in decode_greedily(model, inputs["input_ids"], inputs["attention_mask"], ends, job.max_tokens):
            text = tokenizer.decode(found.tokens, skip_special_tokens=True).strip()
            yield GeneratedAnswer(id=batch[found.row][0], text=text, ended=found.ended, tokens=len(found.tokens))


def main(job_file: Path) -> None:
    """Answer a job's prompts, a JSON line each."""
    die_with_parent()
    lines = JsonLines()
    for found in answers(AnsweringJob.model_validate_json(job_file.read_text())):
        lines.write(**found.model_dump())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
