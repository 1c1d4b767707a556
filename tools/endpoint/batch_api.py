"""OpenAI's Batch API over HTTP: files of requests up, batches of them made and looked at, files of answers down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import IO, Any

from pydantic import Field

from state.batches import CallBatch
from state.errors import BadInput, EndpointError, EndpointFailing, EndpointRefused
from state.records import Record
from tools.endpoint.connection import Connection
from tools.endpoint.failures import TryAgain, failure, in_its_words, said_by_server
from tools.endpoint.probing import NOT_THERE

BATCH, RUN = "corral_batch", "corral_run"
"""The names, in a batch's metadata, of our id of the batch and of the run."""
ENDPOINT = "/v1/chat/completions"
SHORT_SECONDS, FILE_SECONDS = 60.0, 900.0
"""How long one exchange may take: a small one, and one of a file of up to 200 MB."""
LONGEST_LINE = 8 * 2**20
"""Bytes of one answer in a file, at most."""
PAGE, PAGES = 100, 50
"""Batches in one page of the list, and pages that are read to find one again: it is among the newest."""
OVER = ("completed", "failed", "expired", "cancelled")
"""The states in which nothing more comes; OpenAI's others are validating, in_progress, finalizing, cancelling."""


class ServerBatch(Record):
    """A batch as the server tells of it."""

    id: str
    status: str
    file_id: str
    """Of the requests."""
    output_id: str
    """The file of answers; empty where there is none."""
    error_id: str
    """The file of requests that failed; empty where there is none."""
    batch: str
    """Our id of it; empty where its metadata have none."""
    made_at: datetime
    ended_at: datetime | None
    until: datetime | None
    done: int = Field(ge=0)
    """Requests that were answered or failed."""
    error: str
    """Why it failed as a whole, in the server's words."""

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in OVER


class BatchApi:
    """The batches of one server.

    Every method can raise ``TryAgain`` and ``EndpointError``, as a transport does.

    Args:
        connection: to the server.
        model: for messages.
    """

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection, self._model = connection, model
        # Files and batches belong to the account of the key that made them.
        self._key = connection.keys[0] if connection.keys else ""
        self.url = connection.base_url

    async def demand(self) -> None:
        """Ask whether the server has batches; nothing is sent.

        Raises:
            BadInput: it has none.
        """
        status, text, headers = await self._connection.exchange(
            "GET", "/batches", None, self._key, SHORT_SECONDS, params={"limit": 1}
        )
        if status in NOT_THERE or (status == 200 and not isinstance(_parsed(text).get("data"), list)):
            raise BadInput(
                f"{self.url} has no batch API (GET /batches: {status}); leave batch out for {self._model!r}, or name "
                "a server that has one"
            )
        if status != 200:
            raise self._failure(status, text, headers)

    async def upload(self, name: str, file: IO[bytes]) -> str:
        """Upload a file of requests, and return the server's id of it."""
        import aiohttp

        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", file, filename=name, content_type="application/jsonl")
        return str((await self._exchange("POST", "/files", timeout=FILE_SECONDS, data=form))["id"])

    async def create(self, batch: CallBatch) -> ServerBatch:
        """Make a batch of an uploaded file. Where this breaks off, the server may have made it: ``find`` tells."""
        body = {
            "input_file_id": batch.file_id,
            "endpoint": ENDPOINT,
            "completion_window": batch.within,
            "metadata": {BATCH: batch.id, RUN: batch.run_id},
        }
        return _batch(await self._exchange("POST", "/batches", body))

    async def find(self, batch: CallBatch) -> ServerBatch | None:
        """Return the server's batch of ours, by its metadata or its file; ``None`` if there is none."""
        params: dict[str, Any] = {"limit": PAGE}
        for _ in range(PAGES):
            page = await self._exchange("GET", "/batches", params=params)
            rows = [_batch(row) for row in page.get("data") or [] if isinstance(row, dict)]
            for row in rows:
                if row.batch == batch.id or (row.file_id and row.file_id == batch.file_id):
                    return row
            if not rows or not page.get("has_more"):
                return None
            params["after"] = rows[-1].id
        return None

    async def get(self, server_id: str) -> ServerBatch:
        """Return a batch as it is now."""
        return _batch(await self._exchange("GET", f"/batches/{server_id}"))

    async def rows(self, file_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the rows of a file; a line that cannot be read is left out, and its call has then no answer."""
        path = f"/files/{file_id}/content"
        async with self._connection.request("GET", path, self._key, FILE_SECONDS) as response:
            if response.status != 200:
                raise self._failure(response.status, await self._connection.text(response), response.headers)
            rest = b""
            async for piece in response.content.iter_chunked(65_536):
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > LONGEST_LINE:
                    raise EndpointFailing(f"{self.url}: a line of file {file_id} is longer than any answer")
                for line in lines:
                    if row := _parsed(line):
                        yield row
            if row := _parsed(rest):
                yield row

    async def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout: float = SHORT_SECONDS, **more: Any
    ) -> dict[str, Any]:
        status, text, headers = await self._connection.exchange(method, path, body, self._key, timeout, **more)
        if status not in (200, 201):
            raise self._failure(status, text, headers)
        found = _parsed(text)
        if "id" not in found and "data" not in found:
            raise TryAgain(EndpointFailing(f"{self.url}{path} answers, but with no batch API.{in_its_words(text)}"))
        return found

    def _failure(self, status: int, text: str, headers: Any) -> TryAgain | EndpointError:
        if status in NOT_THERE:
            return EndpointRefused(f"{self.url} has no such batch or file ({status}).{in_its_words(text)}")
        keys = self._connection.keys
        return failure(status, text, headers, url=self.url, model=self._model, keys=len(keys), secrets=keys)


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _batch(given: Mapping[str, Any]) -> ServerBatch:
    metadata, counts = given.get("metadata"), given.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    status = str(given.get("status") or "in_progress").lower()
    return ServerBatch(
        id=str(given.get("id") or ""),
        status={"canceled": "cancelled"}.get(status, status),
        file_id=str(given.get("input_file_id") or ""),
        output_id=str(given.get("output_file_id") or ""),
        error_id=str(given.get("error_file_id") or ""),
        batch=str(metadata.get(BATCH) or "") if isinstance(metadata, dict) else "",
        made_at=_time(given.get("created_at")) or datetime.now(UTC),
        ended_at=_time(next((given[f"{word}_at"] for word in OVER if given.get(f"{word}_at")), None)),
        until=_time(given.get("expires_at")),
        done=sum(count for name in ("completed", "failed") if isinstance(count := counts.get(name), int)),
        error=_errors(given.get("errors")),
    )


def _time(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) and seconds > 0 else None


def _errors(given: Any) -> str:
    rows = given.get("data") if isinstance(given, dict) else None
    return said_by_server(json.dumps({"error": rows[0]})) if isinstance(rows, list) and rows else ""
