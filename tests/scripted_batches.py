"""OpenAI's Batch API as a part of the scripted server: files, and batches that go through its states as they are told.

    batches = ScriptedBatches()                                   # each look moves a batch one state on
    batches = ScriptedBatches(ends=["expired", "completed"])      # how the first, the second, ... batch ends
    batches = ScriptedBatches(rows={"poison": "400"})             # what happens to requests whose text has the word
    batches.faults = {("POST", "/v1/batches"): ["lost"]}          # the next such request is done, its answer is lost
    with ScriptedServer(batches=batches) as server: ...

A batch that is ``held`` stays in progress until ``release`` is called.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], dict[str, Any]]
STATES = ("validating", "in_progress", "finalizing")


class ScriptedBatches:
    """Files and batches.

    Args:
        ends: how each batch ends, in the order they are made: ``completed``, ``expired``, ``cancelled`` or ``failed``;
            ``completed`` where it is not said. Of one that expires or is cancelled every second request was answered.
        rows: a text, and what happens to the requests of a batch that contain it: a status, or ``expired``.
        states: through which a batch goes before its end.
        held: whether batches stay in progress until ``release``.
        metadata: whether the server keeps what a client says of a batch.
    """

    def __init__(
        self,
        *,
        ends: Sequence[str] = (),
        rows: dict[str, str] | None = None,
        states: Sequence[str] = STATES,
        held: bool = False,
        metadata: bool = True,
    ) -> None:
        self.ends, self.rows, self.states = list(ends), dict(rows or {}), tuple(states)
        self.held, self._metadata = held, metadata
        self.files: dict[str, bytes] = {}
        self.made: list[dict[str, Any]] = []
        self.faults: dict[tuple[str, str], list[str]] = {}
        self.answered: Counter[str] = Counter()
        """How often each request was answered, by its key: all of these are paid for."""
        self._looks: Counter[str] = Counter()

    def release(self) -> None:
        """Let all batches end."""
        self.held = False

    def requests(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the lines of a batch's file."""
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    @property
    def sent(self) -> Counter[str]:
        """In how many batches each request stands, by its key."""
        return Counter(line["custom_id"] for batch in self.made for line in self.requests(batch))

    def routes(self, answer: Answer) -> list[web.RouteDef]:
        """Return the API's routes; ``answer`` gives the completion of a request's body."""
        self._answer = answer
        return [
            web.post("/v1/files", self._guarded(self._upload)),
            web.get("/v1/files/{id}/content", self._guarded(self._content)),
            web.post("/v1/batches", self._guarded(self._create)),
            web.get("/v1/batches", self._guarded(self._list)),
            web.get("/v1/batches/{id}", self._guarded(self._get)),
        ]

    def _guarded(self, handle: Any) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            place = (request.method, request.path if request.path.count("/") == 2 else request.path.rsplit("/", 1)[0])
            faults = self.faults.get(place) or self.faults.get((request.method, "*")) or []
            fault = faults.pop(0) if faults else ""
            if fault.isdigit():
                return _error(int(fault), f"scripted {fault}")
            response = await handle(request)
            if fault == "lost":
                assert request.transport is not None
                request.transport.abort()
            return response

        return guarded

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        field = form["file"]
        assert isinstance(field, web.FileField) and form["purpose"] == "batch"
        id = f"file-{len(self.files)}"
        self.files[id] = field.file.read()
        return web.json_response({"id": id, "object": "file", "filename": field.filename, "purpose": "batch"})

    async def _content(self, request: web.Request) -> web.Response:
        file = self.files.get(request.match_info["id"])
        return web.Response(body=file) if file is not None else _error(404, "no such file")

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["input_file_id"] not in self.files or body["endpoint"] != "/v1/chat/completions":
            return _error(400, "no such input file")
        now = int(time.time())
        batch = body | {"id": f"batch-{len(self.made)}", "object": "batch", "status": "validating"}
        batch |= {"created_at": now, "expires_at": now + 86_400, "output_file_id": None, "error_file_id": None}
        batch["metadata"] = body.get("metadata") if self._metadata else None
        self.made.append(batch)
        return web.json_response(batch)

    async def _list(self, request: web.Request) -> web.Response:
        limit, after = int(request.query.get("limit", 20)), request.query.get("after")
        newest = self.made[::-1]
        start = next((at + 1 for at, batch in enumerate(newest) if batch["id"] == after), 0)
        page = newest[start : start + limit]
        more = start + limit < len(newest)
        return web.json_response({"object": "list", "data": page, "has_more": more})

    async def _get(self, request: web.Request) -> web.Response:
        at = next((at for at, one in enumerate(self.made) if one["id"] == request.match_info["id"]), None)
        if at is None:
            return _error(404, "no such batch")
        batch, look = self.made[at], self._looks[self.made[at]["id"]]
        self._looks[batch["id"]] += 1
        if f"{batch['status']}_at" in batch:
            return web.json_response(batch)
        if self.held or look < len(self.states):
            batch["status"] = "in_progress" if self.held else self.states[look]
        else:
            self._end(batch, self.ends[at] if at < len(self.ends) else "completed")
        return web.json_response(batch)

    def _end(self, batch: dict[str, Any], status: str) -> None:
        batch["status"], batch[f"{status}_at"] = status, int(time.time())
        if status == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "invalid", "message": "the file is too odd"}]}
            return
        answers, errors = [], []
        for number, line in enumerate(self.requests(batch)):
            text = json.dumps(line["body"]["messages"])
            outcome = next((outcome for word, outcome in self.rows.items() if word in text), "200")
            if status != "completed" and number % 2:
                outcome = "expired"
            row = {"id": f"row-{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            if outcome == "200":
                self.answered[line["custom_id"]] += 1
                answers.append(row | {"response": {"status_code": 200, "body": self._answer(line["body"])}})
            elif outcome == "expired":
                errors.append(row | {"error": {"code": "batch_expired", "message": "This request expired."}})
            else:
                said = {"error": {"message": f"scripted {outcome}"}}
                errors.append(row | {"response": {"status_code": int(outcome), "body": said}})
        batch["request_counts"] = {"total": len(answers) + len(errors), "completed": len(answers)}
        for field, rows in (("output_file_id", answers), ("error_file_id", errors)):
            if rows:
                batch[field] = f"{field}-{batch['id']}"
                self.files[batch[field]] = "".join(json.dumps(row) + "\n" for row in rows).encode()


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "scripted"}}, status=status)
