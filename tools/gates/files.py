"""The gates alone over an Alpaca-format file: every row is read, judged, written and counted."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from pydantic import Field

from state.errors import BadInput
from state.records import Outcome, Record, Sample, content_hash
from state.request import Gates
from tools.files import storage_errors, write_file
from tools.gates.categories import categorise
from tools.gates.measures import DiversityFigures, FiguresBuilder
from tools.gates.pipeline import GatePipeline
from tools.gates.rates import GateRate, PassTally
from tools.gates.results import GateDecision, reason_code, similarity_columns
from tools.gates.safety_policy import DEFAULT_POLICY, SafetyPolicy, load_safety_policy
from tools.sources.alpaca import ALPACA, AlpacaRow, read_alpaca
from tools.sources.columns import Columns
from tools.sources.reader import BadRow, unusable

_FILES = {
    Outcome.ACCEPTED: "accepted.jsonl",
    Outcome.WAITING: "review.jsonl",
    Outcome.REJECTED: "rejected.jsonl",
}
_REPORT = "report.json"
_LISTED = 100
_PROGRESS_EVERY = 500


class UnreadableRow(Record):
    """A row that could not be judged."""

    row: int
    fault: str


class GateReport(Record):
    """The gates' results on a file. ``rows`` is the sum of the four counts after it."""

    file: str
    rows: int = Field(ge=0)
    accepted: int = Field(ge=0)
    waiting: int = Field(ge=0)
    """Rows in ``review.jsonl``."""
    rejected: int = Field(ge=0)
    """Rows in ``rejected.jsonl`` that were judged."""
    unreadable: int = Field(ge=0)
    """Rows that could not be judged; they are in ``rejected.jsonl`` too."""
    seeds: int = Field(ge=0)
    """Instructions that no row may repeat, given beforehand."""
    settings: Gates
    policy: str
    """The safety policy's name."""
    gates: dict[str, GateRate]
    """How many rows each gate saw and passed; ``overall`` for all of them."""
    pass_rates: dict[str, float]
    """The same as shares in [0, 1]."""
    reasons: dict[str, int]
    """Rows that were not accepted, for each reason's code, most frequent first."""
    small_faults: dict[str, int]
    """The same of accepted rows: faults too small to reject them."""
    diversity: float = Field(ge=0, le=1)
    """Share of the rows offered to the diversity gate that it kept."""
    figures: DiversityFigures
    """Of the accepted rows."""
    unreadable_rows: tuple[UnreadableRow, ...] = ()
    """The first hundred of them."""


def gate_file(
    path: Path,
    out: Path,
    settings: Gates,
    seeds: Iterable[str] = (),
    on_progress: Callable[[int], None] | None = None,
    *,
    policy: Path | SafetyPolicy = DEFAULT_POLICY,
) -> GateReport:
    """Judge every row of an Alpaca-format file, streaming.

    Writes ``accepted.jsonl``, ``review.jsonl``, ``rejected.jsonl`` (rows with number, score and reasons) and
    ``report.json`` into ``out``; they appear together when all is judged. Memory does not grow with the file
    but for the index of accepted instructions.

    Args:
        path: a JSON array of rows, or one row a line; a row has the strings instruction, input and output.
        out: a folder, made where it is missing. Earlier results in it are replaced.
        settings: thresholds.
        seeds: instructions that count as kept from the start.
        on_progress: called with the number of rows done, every 500 rows and at the end.
        policy: the safety policy or its file.

    Returns:
        The report, as written.

    Raises:
        BadInput: the file or the policy cannot be read, or no row of the file is usable.
        StorageError: ``out`` cannot be written.
    """
    _refuse_own_output(path, out)
    loaded = policy if isinstance(policy, SafetyPolicy) else load_safety_policy(policy)
    run = _Run(path, settings, list(seeds), loaded)
    for row in read_alpaca(path):
        if isinstance(row, AlpacaRow):
            run.columns.see(row.other)
    rows = read_alpaca(path)
    first = next(rows, None)
    with storage_errors(out), _written_together(out) as files:
        for row in _chained(first, rows):
            run.take(row, files)
            if on_progress and run.rows % _PROGRESS_EVERY == 0:
                on_progress(run.rows)
        report = run.report()
    write_file(out / _REPORT, (report.model_dump_json(indent=2) + "\n").encode())
    if on_progress:
        on_progress(run.rows)
    return report


class _Run:
    """The counts of one pass over a file."""

    def __init__(self, path: Path, settings: Gates, seeds: list[str], policy: SafetyPolicy) -> None:
        self.rows = 0
        self.columns = Columns()
        self._path, self._settings, self._seeds, self._policy = path, settings, len(seeds), policy.name
        self._gates = GatePipeline(settings, seeds, policy=policy)
        self._outcomes: Counter[Outcome] = Counter()
        self._reasons: Counter[str] = Counter()
        self._small_faults: Counter[str] = Counter()
        self._unreadable: list[UnreadableRow] = []
        self._tally = PassTally()
        self._figures = FiguresBuilder()

    def take(self, row: AlpacaRow | BadRow, files: dict[Outcome, TextIO]) -> None:
        self.rows += 1
        if isinstance(row, BadRow):
            self._take_unreadable(row, files[Outcome.REJECTED])
        else:
            self._take_readable(row, files)

    def report(self) -> GateReport:
        unreadable = self._outcomes[Outcome.FAILED]
        if unreadable == self.rows:
            raise self._nothing_usable()
        rates = self._tally.rates()
        return GateReport(
            file=self._path.name,
            rows=self.rows,
            accepted=self._outcomes[Outcome.ACCEPTED],
            waiting=self._outcomes[Outcome.WAITING],
            rejected=self._outcomes[Outcome.REJECTED],
            unreadable=unreadable,
            seeds=self._seeds,
            settings=self._settings,
            policy=self._policy,
            gates=rates,
            pass_rates={name: rate.rate for name, rate in rates.items()},
            reasons=dict(self._reasons.most_common()),
            small_faults=dict(self._small_faults.most_common()),
            diversity=rates["diversity"].rate,
            figures=self._figures.result(),
            unreadable_rows=tuple(self._unreadable),
        )

    def _nothing_usable(self) -> BadInput:
        if not self._unreadable:
            return unusable(self._path, "has no rows", ALPACA)
        first = self._unreadable[0]
        fault = f"no row of {self.rows} is usable (row {first.row}: {first.fault})"
        return unusable(self._path, fault, ALPACA)

    def _take_unreadable(self, row: BadRow, file: TextIO) -> None:
        self._outcomes[Outcome.FAILED] += 1
        self._reasons["unreadable"] += 1
        if len(self._unreadable) < _LISTED:
            self._unreadable.append(UnreadableRow(row=row.number, fault=row.fault))
        reasons = [f"unreadable: {row.fault}"]
        ours = {"instruction": "", "input": "", "output": "", "row": row.number, "category": "", "score": 0.0}
        _write(file, _with_other(ours | {"reasons": reasons}, self.columns.fit({})) | {"text": row.text})

    def _take_readable(self, row: AlpacaRow, files: dict[Outcome, TextIO]) -> None:
        sample = _sample(row)
        decision = self._gates.judge([sample])[0]
        self._outcomes[decision.outcome] += 1
        counted = self._small_faults if decision.outcome is Outcome.ACCEPTED else self._reasons
        counted.update({reason_code(reason) for reason in decision.reasons})
        self._tally.add(decision)
        if decision.outcome is Outcome.ACCEPTED:
            self._figures.add(sample)
        line = _line(row, sample, decision, self.columns)
        # Rows that could not be read are among the rejected ones: all of these have the column that shows them.
        unread = {"text": ""} if decision.outcome is Outcome.REJECTED and "text" not in line else {}
        _write(files[decision.outcome], line | unread)


def _sample(row: AlpacaRow) -> Sample:
    return Sample(
        id=content_hash(row.instruction, row.input, row.output),
        instruction=row.instruction,
        input=row.input,
        output=row.output,
        category=categorise(row.instruction),
    )


def _line(row: AlpacaRow, sample: Sample, decision: GateDecision, columns: Columns) -> dict[str, Any]:
    """Return a line of the results; a column of the file whose name is one of ours is kept as ``given_NAME``."""
    ours = {
        "instruction": sample.instruction,
        "input": sample.input,
        "output": sample.output,
        "row": row.number,
        "category": sample.category,
        "score": float(decision.score),
        # Never empty: of an empty list nobody can tell of what it is a list.
        "reasons": list(decision.reasons) or ["accepted: no rule has anything against it"],
    }
    if decision.similar is not None:
        ours |= similarity_columns(decision.similar.most, decision.similar.mean)
    return _with_other(ours, columns.fit(row.other))


def _with_other(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**ours, **{f"given_{name}" if name in ours else name: value for name, value in other.items()}}


def _write(file: TextIO, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _chained(first: AlpacaRow | BadRow | None, rest: Iterator[AlpacaRow | BadRow]) -> Iterator[AlpacaRow | BadRow]:
    if first is not None:
        yield first
        yield from rest


def _refuse_own_output(path: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is not a folder; name a folder for the results")
    if path.resolve() in {(out / name).resolve() for name in (*_FILES.values(), _REPORT)}:
        raise BadInput(f"{path}: would be overwritten by the results; name another folder than {out}")
    there = [out / name for name in (_REPORT, *_FILES.values()) if (out / name).exists()]
    if there and not _is_report(out / _REPORT):
        raise BadInput(f"{there[0]} is there already, and is no result of the gates; name another folder, or remove it")


def _is_report(path: Path) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"rows", "gates", "pass_rates"} <= found.keys()


@contextmanager
def _written_together(out: Path) -> Iterator[dict[Outcome, TextIO]]:
    """Open the three files of rows under temporary names, and rename them when all rows are written."""
    out.mkdir(parents=True, exist_ok=True)
    parts = {outcome: out / f".part-{os.getpid()}-{name}" for outcome, name in _FILES.items()}
    try:
        with ExitStack() as stack:
            yield {
                outcome: stack.enter_context(part.open("x", encoding="utf-8", newline="\n"))
                for outcome, part in parts.items()
            }
        for outcome, part in parts.items():
            os.replace(part, out / _FILES[outcome])
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
