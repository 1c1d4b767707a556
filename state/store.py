"""The record store: every row of every run. Each write is idempotent, so a step may run again from its top."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Table, Update, bindparam, select, update

from state.compatibility import REQUEST_FORMAT
from state.database import Database
from state.errors import UnknownRun, UnreadableRun
from state.faults import first_fault
from state.fencing import writing_of
from state.grouped import Grouped
from state.reading import RecordReader
from state.records import Record
from state.request import RunRequest
from state.rows import TABLES, row_of
from state.tables import insert_new, runs


@dataclass(frozen=True)
class Rows:
    """Records of one run to add, and such to settle."""

    run_id: str
    added: tuple[Record, ...]
    settled: tuple[Record, ...]


class RecordStore(RecordReader):
    """Rows of all runs in one database, for those who read and write; its argument is the reader's.

    Rows that are written at once share one commit.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._writes: Grouped[Rows, None] = Grouped(self._commit)

    async def open_run(self, run_id: str, request: RunRequest) -> RunRequest:
        """Add a run with its request, and return the request; a run that exists keeps its first one."""
        row = {
            "run_id": run_id,
            "request": request.model_dump(mode="json"),
            "format": REQUEST_FORMAT,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "budget": request.budget.dollars,
            "lease_until": 0.0,
        }
        async with self.database.writing() as connection:
            await connection.execute(insert_new(self.database.engine, runs), [row])
        return await self.request_of(run_id)

    async def request_of(self, run_id: str) -> RunRequest:
        """Return the request that a run started with.

        Raises:
            UnknownRun: there is no such run.
            UnreadableRun: another version wrote the request, and this one cannot read it.
        """
        if not run_id.isprintable():
            # No run's name; and one with a lone surrogate or a NUL is no text that a database takes.
            raise UnknownRun(_unknown(run_id, []))
        query = select(runs.c.request, runs.c.format).where(runs.c.run_id == run_id)
        async with self.database.reading() as connection:
            row = (await connection.execute(query)).first()
            names = [] if row else [r[0] for r in await connection.execute(select(runs.c.run_id))]
        if row is None:
            raise UnknownRun(_unknown(run_id, names))
        return _read_request(run_id, row.request, row.format)

    async def run_ids(self) -> list[tuple[str, str]]:
        """Return (run id, time of creation) of all runs, newest first."""
        query = select(runs.c.run_id, runs.c.created_at).order_by(runs.c.created_at.desc(), runs.c.run_id)
        async with self.database.reading() as connection:
            return [(row.run_id, row.created_at) for row in await connection.execute(query)]

    async def add(self, run_id: str, records: Sequence[Record]) -> None:
        """Insert records of one type; those that exist stay as they are. Errors as for ``writing_of``."""
        await self.write(run_id, added=records)

    async def settle(self, run_id: str, records: Sequence[Record]) -> None:
        """Replace records of one type that were added before, such as a sample that the gate has judged.

        Errors as for ``writing_of``.
        """
        await self.write(run_id, settled=records)

    async def write(self, run_id: str, *, added: Sequence[Record] = (), settled: Sequence[Record] = ()) -> None:
        """Add some records and settle others, all or none: see ``add`` and ``settle``."""
        if added or settled:
            await self._writes.do(Rows(run_id, tuple(added), tuple(settled)))

    async def _commit(self, entries: Sequence[Rows]) -> list[None]:
        async with writing_of(self.database, entries[0].run_id) as connection:
            for table, rows in _by_table((entry.run_id, entry.added) for entry in entries):
                await connection.execute(insert_new(self.database.engine, table), rows)
            for table, rows in _by_table((entry.run_id, entry.settled) for entry in entries):
                await connection.execute(_update(table), [{f"new_{k}": v for k, v in row.items()} for row in rows])
        return [None] * len(entries)


def _by_table(records: Iterable[tuple[str, Sequence[Record]]]) -> list[tuple[Table, list[dict[str, Any]]]]:
    found: dict[Table, list[dict[str, Any]]] = {}
    for run_id, some in records:
        for record in some:
            found.setdefault(TABLES[type(record)], []).append(row_of(run_id, record))
    return list(found.items())


@cache
def _update(table: Table) -> Update:
    """Return the statement that replaces rows, whose values are named ``new_`` and the column."""
    same = (table.c.run_id == bindparam("new_run_id")) & (table.c.id == bindparam("new_id"))
    changed: dict[str, Any] = {
        column.name: bindparam(f"new_{column.name}") for column in table.columns if not column.primary_key
    }
    return update(table).where(same).values(changed)


def _read_request(run_id: str, request: Any, format_: int) -> RunRequest:
    advice = "go on with it in the version of Corral that began it, or start it anew"
    if format_ > REQUEST_FORMAT:
        formats = f"its request has format {format_}, and this version reads up to {REQUEST_FORMAT}"
        raise UnreadableRun(f"run {run_id} was begun by a newer version ({formats}): {advice}")
    try:
        return RunRequest.model_validate(request)
    except ValidationError as error:
        raise UnreadableRun(f"the request of run {run_id} cannot be read ({first_fault(error)}): {advice}") from error


def _unknown(run_id: str, names: list[str]) -> str:
    near = difflib.get_close_matches(run_id, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "'corral runs' lists them."
    return f"there is no run {run_id!r}; {hint}"
