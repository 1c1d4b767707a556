"""A model process: ``python -m tools.weights.worker BASE FORMAT [ADAPTER]``. It answers JSON lines till its input ends.

``tools.weights.pool`` starts it. A line in is a ``Draw`` or a ``Score``, a line out a ``Drawn`` or a ``Scored``, as
soon as it is there; what arrived meanwhile is done together next. After a while without work it ends, which frees
its memory.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import assert_never

from tools.machine.garbage import collect_seldom
from tools.settings import load_settings
from tools.weights.gpu_memory import in_one_line
from tools.weights.number_format import NumberFormat
from tools.weights.processes import JsonLines
from tools.weights.protocol import NOT_LOADED, REQUEST, Draw, Drawn, Reply, Request, Score, failed

IDLE_SECONDS = 60.0
"""Seconds without work after which the process ends; the next call starts another in a few seconds."""
GATHER_SECONDS = 0.05
"""Seconds within which the calls of one wave arrive."""

Emit = Callable[[Reply], None]


class Model:
    """Weights in memory that complete chats and score texts.

    Args:
        base: a local Hugging Face folder.
        adapter: a LoRA adapter's folder, or ``None``.
        number_format: of the weights.
    """

    def __init__(self, base: Path, adapter: Path | None, number_format: NumberFormat) -> None:
        from tools.weights.decoding import end_tokens
        from tools.weights.loading import load_model
        from tools.weights.template import load_tokenizer, template_head
        from tools.weights.trials import batch_sizes

        self._tokenizer = load_tokenizer(base)
        self._model = load_model(base, adapter, number_format)
        self._ends = end_tokens(self._model, self._tokenizer)
        self._head = template_head(self._tokenizer)
        self._sizes = batch_sizes(self._model, base, adapter, load_settings().cache)

    def answer(self, requests: Sequence[Request], emit: Emit) -> None:
        """Do requests of one group together; ``emit`` is called with each reply, as soon as it is there."""
        first = requests[0]
        if isinstance(first, Draw):
            self._complete([one for one in requests if isinstance(one, Draw)], emit)
        elif isinstance(first, Score):
            self._score([one for one in requests if isinstance(one, Score)], emit)
        else:
            assert_never(first)

    def _complete(self, draws: list[Draw], emit: Emit) -> None:
        from tools.weights.decodable import last_refusal
        from tools.weights.decoding import Prompt, decode
        from tools.weights.template import prompt_tokens

        tokens = {draw.number: tuple(prompt_tokens(self._tokenizer, draw.turns)) for draw in draws}
        # Alike prompts stand together, and are read once.
        draws = sorted(draws, key=lambda draw: (-len(tokens[draw.number]), tokens[draw.number], draw.number))
        prompts = [Prompt(tokens[one.number], Random(one.noise) if one.temperature else None) for one in draws]
        sampled = next((draw for draw in draws if draw.temperature), None)
        sampling = {"temperature": sampled.temperature, "top_p": sampled.top_p} if sampled else {}
        found = decode(
            self._model,
            prompts,
            self._ends,
            max_tokens=draws[0].max_tokens,
            sizes=self._sizes,
            head=self._head,
            **sampling,
        )
        for row in found:
            draw = draws[row.row]
            emit(
                Drawn(
                    number=draw.number,
                    text=self._tokenizer.decode(row.tokens, skip_special_tokens=True),
                    ended=row.ended,
                    prompt_tokens=len(tokens[draw.number]),
                    tokens=len(row.tokens),
                    slow=last_refusal(self._model),
                )
            )

    def _score(self, asked: list[Score], emit: Emit) -> None:
        from tools.weights.likelihoods import score

        for found in score(self._model, self._tokenizer, asked, self._head):
            emit(found)


def gathered(waiting: queue.Queue[Request]) -> list[list[Request]]:
    """Wait for work; return all there is, in groups that can be done together, or nothing if none came in time."""
    found: list[Request] = []
    wait = IDLE_SECONDS
    try:
        while True:
            found.append(waiting.get(timeout=wait))
            wait = GATHER_SECONDS
    except queue.Empty:
        return groups_of(found)


def groups_of(requests: Sequence[Request]) -> list[list[Request]]:
    """Return requests in groups that can be done together: texts to score, and draws of the same parameters.

    Greedy draws are done with sampled ones of the same length where there are any: a larger batch costs less a row.
    """
    groups: defaultdict[tuple[object, ...], list[Request]] = defaultdict(list)
    sampled: dict[int, tuple[object, ...]] = {}
    for request in requests:
        if isinstance(request, Draw) and request.temperature:
            key = ("draw", request.max_tokens, request.temperature, request.top_p)
            sampled.setdefault(request.max_tokens, key)
            groups[key].append(request)
    for request in requests:
        if isinstance(request, Score):
            groups["score",].append(request)
        elif not request.temperature:
            groups[sampled.get(request.max_tokens, ("draw", request.max_tokens))].append(request)
    return list(groups.values())


def answer_each(requests: Sequence[Request], answer: Callable[[Sequence[Request], Emit], None], emit: Emit) -> None:
    """Do requests together; if that fails, do the rest in halves, so that only a request that is too long fails."""
    left = {request.number: request for request in requests}

    def note(found: Reply) -> None:
        del left[found.number]
        emit(found)

    reason = ""
    try:
        answer(requests, note)
    except Exception as error:
        reason = _told(error)
    # Outside of the handler, whose traceback would keep the failed attempt's memory.
    rest = list(left.values())
    if len(rest) == 1 == len(requests):
        emit(failed(rest[0], reason))
    elif rest:
        half = (len(rest) + 1) // 2
        for part in (rest[:half], rest[half:]):
            if part:
                answer_each(part, answer, emit)


def _told(error: Exception) -> str:
    return in_one_line(error) or f"{type(error).__name__}: {error}"


def main(base: str, number_format: NumberFormat, adapter: str = "") -> None:
    """Answer lines until the input ends, or nothing comes for a while."""
    lines = JsonLines()
    waiting: queue.Queue[Request] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(REQUEST.validate_json(line))
        os._exit(0)  # the parent is gone, so nobody wants the answer

    threading.Thread(target=read, daemon=True).start()
    try:
        model = Model(Path(base), Path(adapter) if adapter else None, number_format)
    except Exception as error:
        lines.write(**Drawn(number=NOT_LOADED, failed=_told(error)).model_dump())
        return
    while groups := gathered(waiting):
        for requests in groups:
            answer_each(requests, model.answer, lambda found: lines.write(**found.model_dump()))


if __name__ == "__main__":
    collect_seldom()
    main(sys.argv[1], "bfloat16" if sys.argv[2] == "bfloat16" else "float32", *sys.argv[3:])
