"""From the adapter back to the rows it was trained on, and from each row to the records behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from state.errors import BadInput
from state.records import Candidate, Judgement, Record, Sample
from tools.people.decisions import decided_in_words
from tools.sources.reader import Row, read_rows

ROWS = 20
"""Rows that are shown one by one."""
_HEAD = 90
"""Characters shown of an instruction."""


class RowSource(Record):
    """One row of SFT, with the ids that lead to it."""

    number: int
    instruction: str
    origin: str
    provenance: str
    sample: str
    candidate: str
    judgement: str
    stars: int | None
    decided: str
    """Who took it for good, in words."""
    calls: tuple[str, ...]
    """Ledger keys: of the call that wrote the instruction, if one did, and of the one that drew the answer."""
    rejected: str
    margin: float | None


class Lineage(Record):
    """Where an adapter comes from."""

    adapter: str
    """Empty where nothing was trained."""
    dataset: str
    made: str
    files: tuple[tuple[str, int, str], ...]
    """Name, rows and SHA-256 of each file of the dataset."""
    rows: int
    counts: tuple[tuple[str, str, str, int], ...]
    """Origin of the prompt, provenance of the answer, who took it for good, rows."""
    shown: tuple[RowSource, ...]


class LineageCounter:
    """Counts the rows of ``lineage.jsonl`` and keeps the first ``ROWS``."""

    def __init__(self) -> None:
        self.rows = self.paired = 0
        self.first: list[dict[str, Any]] = []
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def read(self, path: Path) -> None:
        """Count a file's rows; a broken one is skipped, and a file that cannot be read has none."""
        with suppress(BadInput):
            for row in read_rows(path, "the lineage of a dataset"):
                if isinstance(row, Row):
                    self.add(row.fields)

    def add(self, row: dict[str, Any]) -> None:
        """Count one row."""
        self.rows += 1
        self.paired += row.get("rejected") is not None
        self._counts[str(row.get("origin", "")), str(row.get("provenance", "")), _decided(row)] += 1
        if len(self.first) < ROWS:
            self.first.append(row)

    @property
    def counts(self) -> tuple[tuple[str, str, str, int], ...]:
        """Rows by origin, provenance and who decided, the most first."""
        return tuple((*source, count) for source, count in self._counts.most_common())


def row_source(
    number: int,
    row: Mapping[str, Any],
    samples: Mapping[str, Sample],
    candidates: Mapping[str, Candidate],
    judgements: Mapping[str, Judgement],
) -> RowSource:
    """Join a row of the lineage with its records; the fields of a record that is not in the store stay empty.

    Args:
        number: of the row in ``sft.jsonl``, from 1.
        row: a line of ``lineage.jsonl``.
        samples: by id.
        candidates: by id.
        judgements: by the candidate's id.
    """
    sample, candidate = samples.get(str(row.get("sample"))), candidates.get(str(row.get("chosen")))
    judgement = judgements.get(str(row.get("chosen")))
    calls = [record.call for record in (sample, candidate) if record is not None and record.call]
    instruction = sample.instruction if sample else ""
    return RowSource(
        number=number,
        instruction=instruction if len(instruction) <= _HEAD else instruction[:_HEAD] + "\N{HORIZONTAL ELLIPSIS}",
        origin=str(row.get("origin", "")),
        provenance=str(row.get("provenance", "")),
        sample=str(row.get("sample", "")),
        candidate=str(row.get("chosen", "")),
        judgement=judgement.id if judgement else "",
        stars=row.get("chosen_stars"),
        decided=_decided(row),
        calls=tuple(calls),
        rejected=str(row.get("rejected") or ""),
        margin=row.get("margin"),
    )


def read_lineage(counter: LineageCounter, manifest: Mapping[str, Any], adapter: str) -> Lineage:
    """Return the lineage without the rows that are shown.

    Args:
        counter: of ``lineage.jsonl``.
        manifest: the dataset's ``manifest.json``.
        adapter: the adapter's id; empty for none.
    """
    files = manifest.get("files")
    entries = files.items() if isinstance(files, Mapping) else ()
    return Lineage(
        adapter=adapter,
        dataset=str(manifest.get("version", "")),
        made=str(manifest.get("made", "")),
        files=tuple((name, int(e.get("rows", 0)), str(e.get("sha256", ""))) for name, e in entries),
        rows=counter.rows,
        counts=counter.counts,
        shown=(),
    )


def _decided(row: Mapping[str, Any]) -> str:
    return decided_in_words(str(row.get("decider") or ""), str(row.get("reviewer") or ""))
