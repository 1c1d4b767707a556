"""What a run starts processes for, done in the test's own: each of them imports for ten seconds what is loaded here.

It is the same code from the line that a process reads to the lines that it writes. That they are processes, which are
killed, taken over and ended, is tested where they are real: ``test_kill``, ``test_server``, ``test_training_launch``,
``test_evaluating`` and ``test_endpoint_weights``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from state.errors import TrainingError
from tools.training import launch, survey, trainable, worker
from tools.weights.pool import ModelPool
from tools.weights.processes import module_of
from tools.weights.protocol import Reply, Request

_one_at_a_time = threading.Lock()
_models: WeakKeyDictionary[ModelPool, Any] = WeakKeyDictionary()


def stay_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Survey, train and answer from weights without a process of their own."""
    for module in (launch, survey):
        patch.setattr(module, "stream_child", _lines_of)
    patch.setattr(trainable, "examined", lambda base, cache: trainable.examine(base))
    patch.setattr(ModelPool, "ask", _ask)
    patch.setattr(ModelPool, "release", lambda pool: _models.pop(pool, None))


async def _lines_of(command: Sequence[str], log: Path, threads: int) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the lines of a command's module, as ``stream_child`` does; the module's last words are its exit code."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()

    class Lines:
        def write(self, **fields: Any) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, fields)

    module = {"tools.training.worker": worker, "tools.training.survey": survey}[module_of(command)]
    main: Callable[..., int | None] = module.main
    given = command[command.index(module.__name__) + 1 :]

    def work() -> int | None:
        with _one_at_a_time, pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "die_with_parent", lambda: None)
            patch.setattr(module, "JsonLines", Lines)
            try:
                return main(Path(given[0]), *given[1:])
            finally:
                loop.call_soon_threadsafe(lines.put_nowait, None)

    done = asyncio.ensure_future(asyncio.to_thread(work))
    while (line := await lines.get()) is not None:
        yield line
    if code := await done:
        raise TrainingError(f"{module.__name__} ended with code {code}")


async def _ask(pool: ModelPool, request: Request) -> Reply:
    """Answer as a process of the pool would, from weights that stay loaded as long as the pool is there."""
    return await asyncio.to_thread(_answer, pool, request)


def _answer(pool: ModelPool, request: Request) -> Reply:
    from tools.weights.worker import Model, answer_each

    found: list[Reply] = []
    with _one_at_a_time:
        if pool not in _models:
            base, number_format, *adapter = pool.processes[0]._command[3:]
            _models[pool] = Model(Path(base), Path(adapter[0]) if adapter else None, number_format)  # type: ignore[arg-type]  # one of the two formats
        answer_each([request], _models[pool].answer, found.append)
    return found[0]
