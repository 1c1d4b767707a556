"""A run's records as rows of plain values, which pandas, polars and ``datasets`` take as they are."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any

from graph.services import Services
from state.errors import BadInput
from state.records import Answer, Candidate, GenerationRound, Judgement, Record, Review, Sample

KINDS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "samples": Sample,
        "candidates": Candidate,
        "judgements": Judgement,
        "reviews": Review,
        "answers": Answer,
        "rounds": GenerationRound,
    }
)
"""What a run has rows of, by the name that ``rows_of`` takes."""


async def rows_of(services: Services, run_id: str, kind: str) -> list[dict[str, Any]]:
    """Return a run's rows of one kind, by id.

    A candidate's row also has its ``prompt``, ``category`` and ``checks``, and what the judge said of it: ``overall``,
    ``stars``, ``confidence``, ``feedback``, and ``NAME_score`` for each dimension. A judgement's has the scores as
    columns, too. Texts, numbers and lists of texts are what they are; anything else is JSON.

    Args:
        services: the process's.
        run_id: the run.
        kind: one of ``KINDS``.

    Raises:
        BadInput: there is no such kind.
        UnknownRun: there is no such run.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.0)[0]
        raise BadInput(f"a run has no {kind!r}; the nearest of {', '.join(KINDS)} is {near!r}")
    await services.store.request_of(run_id)
    rows: list[dict[str, Any]] = []
    async for page in services.store.pages(run_id, KINDS[kind]):
        joined = await _joined(services, run_id, page) if kind == "candidates" else [{}] * len(page)
        rows += [flat(record) | more for record, more in zip(page, joined, strict=True)]
    return same_columns(rows)


def flat(record: Record) -> dict[str, Any]:
    """Return a record's fields as plain values; a judgement's scores as columns."""
    row = {name: _plain(value) for name, value in record.model_dump().items()}
    if isinstance(record, Judgement):
        row = {name: value for name, value in row.items() if name != "scores"} | _scores(record)
    return row


def same_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the columns of all of them, in the order of their first use; ``None`` where one has none."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


async def _joined(services: Services, run_id: str, page: Sequence[Record]) -> list[dict[str, Any]]:
    candidates = [one for one in page if isinstance(one, Candidate)]
    samples = {s.id: s for s in await services.store.find(run_id, Sample, ids={c.sample_id for c in candidates})}
    judged = await services.store.find(run_id, Judgement, parents=[c.id for c in candidates])
    judgements = {one.candidate_id: one for one in judged}
    return [_beside(samples.get(c.sample_id), judgements.get(c.id)) for c in candidates]


def _beside(sample: Sample | None, judgement: Judgement | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if sample is not None:
        checks = [check.model_dump() for check in sample.checks]
        row |= {"prompt": sample.prompt, "category": sample.category, "checks": _plain(checks)}
    if judgement is not None and judgement.scores:
        said = ("overall", "stars", "confidence", "feedback", "judge")
        row |= {name: getattr(judgement, name) for name in said} | _scores(judgement)
    return row


def _scores(judgement: Judgement) -> dict[str, float | None]:
    return {f"{one.dimension}_score": one.score for one in judgement.scores}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return list(value)
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)
    return value
