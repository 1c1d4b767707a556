"""A sampling process: ``python -m tools.weights.worker BASE [ADAPTER]``. It answers JSON lines until its input ends.

``tools.endpoint.weights`` starts it. A line in is a ``Draw``, a line out a ``Drawn``, as soon as it is there; what
arrived meanwhile is decoded together next. It ends by itself after a while without work, and gives its memory back.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random

from state.records import Record
from tools.weights.processes import JsonLines

SLOTS = 64
"""Rows at work together; on a CPU a step of 64 costs little more than one of 32."""
IDLE_SECONDS = 60.0
"""Without work for so long, the process ends; the next call starts another in a few seconds."""
GATHER_SECONDS = 0.05
"""Calls of one wave arrive this close together."""

NOT_LOADED = -1
"""The number of the line that says why the weights cannot be used."""


class Draw(Record):
    """One completion wanted."""

    number: int
    """Names the answer."""
    turns: tuple[tuple[str, str], ...]
    """Role and content of each chat turn."""
    noise: str
    """What the random numbers follow from; the same noise gives the same completion, but for rounding."""
    temperature: float
    top_p: float
    max_tokens: int


class Drawn(Record):
    """One completion."""

    number: int
    text: str = ""
    ended: bool = False
    """Whether the model ended by itself, rather than at ``max_tokens``."""
    prompt_tokens: int = 0
    tokens: int = 0
    failed: str = ""
    """Why there is none."""


Emit = Callable[[Drawn], None]


class Sampler:
    """Weights in memory that complete chats.

    Args:
        base: a local Hugging Face folder.
        adapter: a LoRA adapter's folder, or ``None``.
    """

    def __init__(self, base: Path, adapter: Path | None) -> None:
        from tools.weights.decoding import end_tokens
        from tools.weights.loading import load_model
        from tools.weights.template import load_tokenizer

        self._tokenizer = load_tokenizer(base)
        self._model = load_model(base, adapter)
        self._ends = end_tokens(self._model, self._tokenizer)

    def complete(self, draws: list[Draw], emit: Emit) -> None:
        """Complete draws of equal parameters together; ``emit`` gets a ``Drawn`` for each."""
        from tools.weights.decoding import Prompt, decode

        first = draws[0]
        tokens = {draw.number: self._tokens(draw) for draw in draws}
        draws = sorted(draws, key=lambda draw: (-len(tokens[draw.number]), draw.number))
        noise = first.temperature > 0
        prompts = [Prompt(tokens[draw.number], Random(draw.noise) if noise else None) for draw in draws]
        sampling = {"temperature": first.temperature, "top_p": first.top_p} if noise else {}
        for row in decode(self._model, prompts, self._ends, max_tokens=first.max_tokens, slots=SLOTS, **sampling):
            draw = draws[row.row]
            emit(
                Drawn(
                    number=draw.number,
                    text=self._tokenizer.decode(row.tokens, skip_special_tokens=True),
                    ended=row.ended,
                    prompt_tokens=len(tokens[draw.number]),
                    tokens=len(row.tokens),
                )
            )

    def _tokens(self, draw: Draw) -> tuple[int, ...]:
        turns = [{"role": role, "content": content} for role, content in draw.turns]
        text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def gathered(waiting: queue.Queue[Draw]) -> list[list[Draw]]:
    """Wait for work; return all there is, in groups of equal parameters. Nothing where none came in time."""
    groups: defaultdict[tuple[float, float, int], list[Draw]] = defaultdict(list)
    wait = IDLE_SECONDS
    try:
        while True:
            draw = waiting.get(timeout=wait)
            groups[draw.temperature, draw.top_p, draw.max_tokens].append(draw)
            wait = GATHER_SECONDS
    except queue.Empty:
        return list(groups.values())


def complete_each(draws: list[Draw], complete: Callable[[list[Draw], Emit], None], emit: Emit) -> None:
    """Complete draws together; where that fails, what is left in halves, so that one too long fails alone."""
    left = {draw.number: draw for draw in draws}

    def note(found: Drawn) -> None:
        del left[found.number]
        emit(found)

    reason = ""
    try:
        complete(draws, note)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    # Out of the handler, whose traceback would hold the failed attempt's memory.
    rest = list(left.values())
    if len(rest) == 1 == len(draws):
        emit(Drawn(number=rest[0].number, failed=reason))
    elif rest:
        half = (len(rest) + 1) // 2
        for part in (rest[:half], rest[half:]):
            if part:
                complete_each(part, complete, emit)


def main(base: str, adapter: str = "") -> None:
    """Answer lines until the input ends, or nothing comes for a while."""
    lines = JsonLines()
    waiting: queue.Queue[Draw] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(Draw.model_validate_json(line))
        os._exit(0)  # the parent is gone, and with it whoever wanted an answer

    threading.Thread(target=read, daemon=True).start()
    try:
        sampler = Sampler(Path(base), Path(adapter) if adapter else None)
    except Exception as error:
        lines.write(**Drawn(number=NOT_LOADED, failed=f"{type(error).__name__}: {error}").model_dump())
        return
    while groups := gathered(waiting):
        for draws in groups:
            complete_each(draws, sampler.complete, lambda found: lines.write(**found.model_dump()))


if __name__ == "__main__":
    main(*sys.argv[1:])
