"""The browser of a run's rows: one HTML file that needs no other, with a script that filters and pages.

The rows lie in it as gzipped JSON in chunks, so that the script unpacks only what it shows: 100,000 rows are filtered
by an index of a few bytes each. They are written one by one: the memory does not grow with them, but for the index.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from state.records import Candidate, Judgement, Record, Review, Sample
from tools.people.decisions import decided_in_words, decider_of
from tools.report.page import environment

CHUNK = 500
"""Rows that are unpacked at once."""
FILTERS = ("kind", "outcome", "origin", "split", "provenance", "decided", "stars", "failed check", "used")
"""What can be filtered by, beside the score and words."""
_FOLDER = Path(__file__).parent


class CallFacts(Record):
    """One call, as a row shows it."""

    key: str
    purpose: str
    model: str
    tokens: int
    cost: float
    seconds: float
    attempts: int

    @property
    def in_words(self) -> str:
        """What it was, and what it took."""
        tries = f", {self.attempts} tries" if self.attempts > 1 else ""
        price = f", ${self.cost:.6f}" if self.cost else ""
        took = f"{self.tokens:,} tokens in {self.seconds:.1f} s{price}{tries}"
        return f"{self.purpose} by {self.model}: {took} ({self.key})"


def row_of(
    sample: Sample,
    candidate: Candidate | None = None,
    judgement: Judgement | None = None,
    review: Review | None = None,
    calls: Sequence[CallFacts] = (),
    used: str = "",
) -> dict[str, Any]:
    """Return a row as the page shows it: an answer, or an instruction.

    Args:
        sample: the instruction.
        candidate: the answer; ``None`` for the instruction itself.
        judgement: of the answer.
        review: on the row, where a person or a policy decided.
        calls: that made the row.
        used: what the dataset made of it, such as ``chosen``; empty for nothing.
    """
    what: Sample | Candidate = candidate or sample
    score = judgement.overall if judgement else None if sample.score is None else 100 * sample.score
    decided = "by the judges" if candidate and judgement else ""
    if review is not None:
        decided = decided_in_words(decider_of(review.reviewer), review.reviewer)
    failed = [check.kind for check in judgement.checks if check.passed is False] if judgement else []
    origin = [f"origin: {sample.origin}", f"split: {sample.split}", f"sample: {sample.id}"]
    if sample.round:
        origin.append(f"generation round {sample.round}")
    if candidate:
        origin += [f"answer: {candidate.id}", f"draw {candidate.draw}", candidate.provenance]
        origin.append("ended by itself" if candidate.ended else "cut at the token limit")
    if judgement:
        stars = "no stars" if judgement.stars is None else f"{judgement.stars} stars"
        origin.append(f"judge: {judgement.judge}, {stars}, confidence {judgement.confidence:.2f}")
    if review:
        origin.append(f"{review.decision} {decided}" + (f": {review.comment}" if review.comment else ""))
    return {
        "kind": "answer" if candidate else "instruction",
        "id": what.id,
        "sample": sample.id,
        "outcome": str(what.outcome),
        "origin": sample.origin,
        "split": sample.split,
        "provenance": candidate.provenance if candidate else "",
        "decided": decided,
        "stars": str(judgement.stars) if judgement and judgement.scores and judgement.stars else "",
        "failed check": failed[0] if failed else "",
        "used": used,
        "score": score if judgement is None or judgement.scores else None,
        "prompt": sample.prompt,
        "text": candidate.text if candidate else sample.output,
        "reasons": list(what.reasons),
        "scores": [one.model_dump() for one in judgement.scores] if judgement else [],
        "checks": [one.model_dump() for one in judgement.checks] if judgement else [],
        "feedback": judgement.feedback if judgement else "",
        "from": origin,
        "calls": [call.in_words for call in calls],
    }


class RowWriter:
    """Writes the page; ``add`` takes the rows one by one, ``close`` ends it.

    Args:
        out: an open file.
        run_id: the run.
        report: the name of the report's file, for a link.
    """

    def __init__(self, out: BinaryIO, run_id: str, report: str) -> None:
        self._out, self._chunks = out, 0
        self._waiting: list[Mapping[str, Any]] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in (*FILTERS, "score")}
        self._names: dict[str, dict[str, int]] = {name: {} for name in FILTERS}
        self._counts: dict[str, list[int]] = {name: [] for name in FILTERS}
        self._script = (_FOLDER / "rows.js").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(self._script.encode()).digest()).decode()
        head = (
            environment()
            .get_template("rows.html.j2")
            .render(run_id=run_id, report=report, script_hash=f"'sha256-{digest}'")
        )
        self._write(head)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of ``row_of``."""
        for name in FILTERS:
            number = self._names[name].setdefault(row[name], len(self._names[name]))
            if number == len(self._counts[name]):
                self._counts[name].append(0)
            self._counts[name][number] += 1
            self._columns[name].append(number)
        self._columns["score"].append(None if row["score"] is None else round(row["score"], 2))
        self._waiting.append(row)
        if len(self._waiting) == CHUNK:
            self._flush()

    def close(self) -> None:
        """Write what is left, the index and the script; the file stays open."""
        self._flush()
        index = {
            "rows": len(self._columns["score"]),
            "chunk": CHUNK,
            "names": {name: list(values) for name, values in self._names.items() if len(values) > 1},
            "counts": self._counts,
            "columns": self._columns,
        }
        self._pack("index", index)
        self._write(f"<script>{self._script}</script>\n</body>\n</html>\n")

    def _flush(self) -> None:
        if self._waiting:
            self._pack(f"rows-{self._chunks}", self._waiting)
            self._chunks += 1
            self._waiting = []

    def _pack(self, name: str, value: Any) -> None:
        data = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        # Base64 has no character that could end the element.
        packed = base64.b64encode(gzip.compress(data, mtime=0)).decode()
        self._write(f'<script type="application/octet-stream" id="{name}">{packed}</script>\n')

    def _write(self, text: str) -> None:
        self._out.write(text.encode("utf-8", "replace"))
