"""A call as rows: its own in the ledger's table, and those of the texts that its request has in common with others.

The six judges of an answer all read it, and each of them is told the same of its dimension every time. So a request is
cut into texts, each of which is stored once, and the call's row has their ids in the request's place. Texts and call
are written in one transaction. A short request, and one that an earlier version wrote, stands in the row itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine

from state.database import STREAMED
from state.records import Call
from state.tables import calls, insert_new, insert_or_replace, request_texts

KEYS = 500
"""In one ``IN (...)``: small statements keep locks short."""
LEAST = 128
"""Characters of a text that is stored apart. Judges' requests were measured to take fewest bytes from 128 to 256: the
id of a shorter text takes as many as the text, and a longer one joins what requests share to what they do not.
"""
ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "LOCK TABLE request_texts IN SHARE ROW EXCLUSIVE MODE"}
"""What a transaction begins with to wait for those that write texts, and to keep others from it until it ends."""
BLANK_LINE, MESSAGE = r"\n\n", '{"role": '
"""In a request's JSON: it is cut behind the one, and before the other."""


def split(request: str) -> list[str]:
    """Return a request's JSON in texts, which joined are the request; of several each has ``LEAST`` characters."""
    texts = [""]
    for paragraph in _paragraphs(request):
        if len(texts[-1]) < LEAST:
            texts[-1] += paragraph
        else:
            texts.append(paragraph)
    if len(texts) > 1 and len(texts[-1]) < LEAST:
        texts[-2:] = ["".join(texts[-2:])]
    return texts


def _paragraphs(request: str) -> Iterator[str]:
    # A regular expression that cuts at both takes six to eleven times as long.
    first, *messages = request.split(MESSAGE)
    for message in (first, *(MESSAGE + one for one in messages)):
        *paragraphs, last = message.split(BLANK_LINE)
        yield from (one + BLANK_LINE for one in paragraphs)
        yield last


def call_row(call: Call) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a call as a row of the ledger's table, and the texts that the row refers to, by id."""
    body = call.model_dump(mode="json")
    columns = ("key", "run_id", "status", "prompt_tokens", "completion_tokens", "cost")
    row, texts = {name: body[name] for name in columns} | {"body": body}, split(json.dumps(body["request"]))
    if len(texts) == 1:
        return row, {}
    body["request"] = [sha256(text.encode()).hexdigest()[:32] for text in texts]
    return row, dict(zip(body["request"], texts, strict=True))


async def write_calls(
    connection: AsyncConnection, engine: AsyncEngine, made: Sequence[Call], noted: Sequence[Call] = ()
) -> None:
    """Write calls with their texts.

    Args:
        connection: in a transaction.
        engine: the database's.
        made: new calls. An answer replaces a recorded failure; nothing replaces an answer.
        noted: answered calls that are recorded, as they are to be now.
    """
    rows = [call_row(call) for call in (*made, *noted)]
    texts = {id_: text for _, own in rows for id_, text in own.items()}
    if texts:
        # In order: two processes that wait for each other's texts would wait forever.
        values = [{"id": id_, "text": texts[id_]} for id_ in sorted(texts)]
        await connection.execute(insert_new(engine, request_texts), values)
    if made:
        insert = insert_or_replace(engine, calls, calls.c.status == "failed")
        await connection.execute(insert, [row for row, _ in rows[: len(made)]])
    for row, _ in rows[len(made) :]:
        same = (calls.c.key == row["key"]) & (calls.c.status == "answered")
        await connection.execute(update(calls).where(same).values(body=row["body"]))


async def find_bodies(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return calls by key, each as JSON with its request; those that are not there are left out."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), KEYS):
        some = select(calls.c.key, calls.c.body).where(calls.c.key.in_(keys[start : start + KEYS]))
        found |= {key: body for key, body in await connection.execute(some)}
    whole = await with_requests(connection, found.values())
    return dict(zip(found, whole, strict=True))


async def with_requests(connection: AsyncConnection, bodies: Collection[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return calls as they were before their rows referred to texts."""
    ids, texts = sorted(_referred(bodies)), dict[str, str]()
    for start in range(0, len(ids), KEYS):
        some = select(request_texts.c.id, request_texts.c.text).where(request_texts.c.id.in_(ids[start : start + KEYS]))
        texts |= {id_: text for id_, text in await connection.execute(some)}
    return [body | {"request": joined(body["request"], texts)} for body in bodies]


def joined(kept: Any, texts: Mapping[str, str]) -> Any:
    """Return the request of a row that has the request, or the ids of its texts."""
    if not isinstance(kept, list):
        return kept
    # A text goes only with the last call that refers to it, which was emptied since it was read.
    return json.loads("".join(texts[id_] for id_ in kept)) if texts.keys() >= {*kept} else {}


async def empty_calls(connection: AsyncConnection, engine: AsyncEngine, keys: Sequence[str]) -> None:
    """Remove what calls asked, answered and complained of, and the texts that no other call refers to.

    It reads all calls, since nothing else knows which of them refer to a text.

    Args:
        connection: at the beginning of a transaction.
        engine: the database's.
        keys: of calls that are there.
    """
    await connection.exec_driver_sql(ALONE[engine.dialect.name])
    ids: set[str] = set()
    for start in range(0, len(keys), KEYS):
        some = select(calls.c.key, calls.c.body).where(calls.c.key.in_(keys[start : start + KEYS]))
        bodies = {key: body for key, body in await connection.execute(some)}
        ids |= _referred(bodies.values())
        for key, body in bodies.items():
            empty = body | {"request": {}, "text": "", "error": ""}
            await connection.execute(update(calls).where(calls.c.key == key).values(body=empty))
    if ids:
        async with connection.stream(select(calls.c.body["request"])) as rows:
            async for page in rows.partitions(STREAMED):
                ids -= {id_ for (request,) in page if isinstance(request, list) for id_ in request}
    unused = sorted(ids)
    for start in range(0, len(unused), KEYS):
        going = request_texts.c.id.in_(unused[start : start + KEYS])
        await connection.execute(delete(request_texts).where(going))


def _referred(bodies: Iterable[Mapping[str, Any]]) -> set[str]:
    return {id_ for body in bodies if isinstance(body["request"], list) for id_ in body["request"]}
