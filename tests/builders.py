"""Records as tests need them: every field has a sensible value, and a test names the ones it is about."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from state.dimensions import DIMENSIONS
from state.pipeline import Verdict
from state.records import Call, Candidate, DimensionScore, Judgement, Outcome, Review, ReviewTask, Sample, content_hash

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def sample(instruction: str = "Name three rivers of Europe.", **changes: Any) -> Sample:
    """Return an accepted training prompt."""
    fields = {"id": content_hash("sample", instruction), "origin": "prompt", "outcome": Outcome.ACCEPTED}
    return Sample.model_validate(fields | {"instruction": instruction} | changes)


def candidate(of: Sample, text: str = "The Rhine, the Danube and the Ebro.", **changes: Any) -> Candidate:
    """Return an accepted completion of a sample, that ended by itself."""
    fields = {"draw": 0, "text": text, "ended": True, "outcome": Outcome.ACCEPTED} | changes
    return Candidate.model_validate({"id": content_hash(of.id, fields["draw"], text), "sample_id": of.id} | fields)


def judgement(of: Candidate, stars: int = 4, overall: float = 80.0, **changes: Any) -> Judgement:
    """Return the crew's judgement of a candidate: the same score in every dimension."""
    scores = [DimensionScore(dimension=name, score=overall, reason="as it is") for name in DIMENSIONS]
    fields = {"judge": "crew-1", "scores": scores, "overall": overall, "stars": stars, "outcome": of.outcome}
    return Judgement.model_validate(
        {"id": content_hash(of.id, "crew-1"), "candidate_id": of.id, "confidence": 0.5} | fields | changes
    )


def review(item: str, decision: str = "approve", **changes: Any) -> Review:
    """Return a person's decision on an item."""
    fields = {"id": content_hash("review", item), "item_id": item, "kind": "completion", "decision": decision}
    return Review.model_validate(fields | {"reviewer": "ada", "decided_at": NOON} | changes)


def review_task(of: Candidate, **changes: Any) -> ReviewTask:
    """Return the task of a completion that the judges could not decide on."""
    fields = {"id": of.id, "kind": "completion", "sample_id": of.sample_id, "why": ("between_thresholds",)}
    fields |= {"position": 0, "disagreement": 0.5, "machine": Outcome.WAITING, "head": "Name", "opened_at": NOON}
    return ReviewTask.model_validate(fields | changes)


def call(key: str = "k", run_id: str = "run", **changes: Any) -> Call:
    """Return an answered call that cost half a dollar."""
    fields = {
        "key": key,
        "run_id": run_id,
        "purpose": "respond",
        "endpoint": "http://127.0.0.1:1/v1",
        "model": "scripted",
        "request": {"messages": [{"role": "user", "content": "hello"}]},
        "status": "answered",
        "text": "hello yourself",
        "finish_reason": "stop",
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cost": 0.5,
        "started_at": NOON,
        "finished_at": NOON,
    }
    return Call.model_validate(fields | changes)


def failed_call(key: str = "k", run_id: str = "run", **changes: Any) -> Call:
    """Return a call that failed, and cost nothing."""
    fields = {"status": "failed", "error": "503", "text": "", "finish_reason": "", "cost": 0.0}
    return call(key, run_id, **(fields | {"prompt_tokens": 0, "completion_tokens": 0} | changes))


def verdict(word: str = "better", **changes: Any) -> Verdict:
    """Return an evaluation's outcome."""
    fields = {"verdict": word, "metric": "guarded", "base": 0.4, "adapter": 0.6, "difference": 0.2}
    fields |= {"low": 0.1, "high": 0.3, "prompts": 60, "scoreboard": "scoreboard.json"}
    return Verdict.model_validate(fields | changes)


def ifeval_file(path: Path, prompts: int) -> Path:
    """Write rows in IFEval's form, with two instructions each, and return the path."""
    rows = [
        {
            "key": number,
            "prompt": f"Tell me of the lighthouse number {number} on its rock, without a comma.",
            "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
            "kwargs": [{}, {"relation": "at least", "num_words": 10 * number + 1}],
        }
        for number in range(prompts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
