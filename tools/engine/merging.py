"""Several answers as one stream, each piece as soon as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tools.engine.asked import Piece


async def merged(answers: Sequence[AsyncGenerator[Piece]]) -> AsyncGenerator[Piece]:
    """Yield the pieces of all answers as they come; the first failure ends all of them.

    Leaving the loop early ends them, too.
    """
    if len(answers) == 1:
        async with aclosing(answers[0]) as only:
            async for one in only:
                yield one
        return
    found: asyncio.Queue[Piece | None] = asyncio.Queue()

    async def follow(answer: AsyncGenerator[Piece]) -> None:
        try:
            async with aclosing(answer):
                async for piece in answer:
                    found.put_nowait(piece)
        finally:
            found.put_nowait(None)

    tasks = [asyncio.create_task(follow(answer)) for answer in answers]
    try:
        ended = 0
        while ended < len(tasks):
            piece = await found.get()
            if piece is not None:
                yield piece
                continue
            ended += 1
            for task in [task for task in tasks if task.done()]:
                task.result()  # raises what it failed with
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
