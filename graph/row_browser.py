"""The browser of a run's rows, ``rows.html`` beside its report: read from the store and written page by page."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from graph.services import Services
from state.pipeline import PipelineState
from state.records import Candidate, Judgement, Review, Sample
from tools.dataset.files import LINEAGE
from tools.files import copy_out
from tools.people.decisions import reviews_by_row
from tools.report import rows_beside
from tools.report.rows import CallFacts, RowWriter, row_of
from tools.sources.reader import Row, read_rows


async def write_rows(services: Services, run_id: str, state: PipelineState, report: Path) -> Path:
    """Write the browser of a run's rows beside its report, and return its path.

    Args:
        services: the process's.
        run_id: the run.
        state: its state; empty if it has not begun.
        report: the report's path.

    Raises:
        UnknownRun: there is no such run.
        StorageError: the file cannot be written.
    """
    await services.store.request_of(run_id)
    path = rows_beside(report)
    dataset = state.get("dataset")
    used = await asyncio.to_thread(_used, Path(dataset.folder) / LINEAGE) if dataset else {}
    with tempfile.TemporaryFile() as file:
        await _write(services, run_id, used, RowWriter(file, run_id, report.name))
        file.seek(0)
        await asyncio.to_thread(copy_out, path, file)
    return path


async def _write(services: Services, run_id: str, used: Mapping[str, str], writer: RowWriter) -> None:
    store = services.store
    async for samples in store.pages(run_id, Sample):
        ids = [sample.id for sample in samples]
        candidates = await store.find(run_id, Candidate, parents=ids)
        of = [candidate.id for candidate in candidates]
        judgements = {one.candidate_id: one for one in await store.find(run_id, Judgement, parents=of)}
        reviews = reviews_by_row(await store.find(run_id, Review, parents=[*ids, *of]))
        keys = {key for key in (*(s.call for s in samples), *(c.call for c in candidates)) if key}
        calls = {key: CallFacts(**facts) for key, facts in (await services.calls.facts_of(sorted(keys))).items()}
        await asyncio.to_thread(_add, writer, samples, candidates, judgements, reviews, calls, used)
    await asyncio.to_thread(writer.close)


def _add(
    writer: RowWriter,
    samples: Sequence[Sample],
    candidates: Sequence[Candidate],
    judgements: Mapping[str, Judgement],
    reviews: Mapping[str, Review],
    calls: Mapping[str, CallFacts],
    used: Mapping[str, str],
) -> None:
    """Add a page of instructions, each with its answers after it in the order of their draws."""
    answers: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda one: (one.draw, one.id)):
        answers.setdefault(candidate.sample_id, []).append(candidate)
    for sample in samples:
        made = [calls[sample.call]] if sample.call in calls else []
        writer.add(row_of(sample, review=reviews.get(sample.id), calls=made))
        for one in answers.get(sample.id, ()):
            both = [*made, *([calls[one.call]] if one.call in calls else [])]
            judged, review = judgements.get(one.id), reviews.get(one.id)
            writer.add(row_of(sample, one, judged, review, both, used.get(one.id, "")))


def _used(path: Path) -> dict[str, str]:
    """Return what the dataset made of each answer, by its id."""
    found: dict[str, str] = {}
    if not path.exists():
        return found
    for row in read_rows(path, "the lineage of a dataset"):
        if isinstance(row, Row):
            found[str(row.fields.get("chosen"))] = "imitated"
            if rejected := row.fields.get("rejected"):
                found.setdefault(str(rejected), "rejected of a pair")
    return found
