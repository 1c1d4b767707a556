"""Training rows: how they are read, how many go through the model together, and in which order they come."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from state.errors import BadInput
from tools.sources.reader import require_rows

TURN = ("role", "content", "input")
"""The keys of a chat turn. ``input`` is the end of a user's content where Alpaca's format sets it apart."""
TOKENS_AT_ONCE = {True: 1024, False: 16384}
"""Padded tokens of one pass at most, on a CPU and on a GPU. Measured on a CPU with SmolLM2-135M and steps of 8 rows:
1024 peaks at 2.9 GB and is as fast as 2048 at 3.9 GB; 512 is a third slower."""
WINDOW = 8
"""Batches whose rows are sorted by length together: this pads little, and the order is still random."""


def read_conversations(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Read a JSONL file of conversational rows; keep the ``keys`` of each row, and of each chat turn those in ``TURN``.

    Raises:
        BadInput: a row is no JSON object, or a key is missing or no list of chat turns; or there is no row.
    """
    return [_row(row.fields, keys, f"{path}, {row.place}") for row in require_rows(path, "each a row to train on")]


def _row(row: dict[str, Any], keys: Sequence[str], where: str) -> dict[str, Any]:
    for key in keys:
        turns = row.get(key)
        if not (isinstance(turns, list) and turns and all(_is_turn(turn) for turn in turns)):
            raise BadInput(f"{where}: {key!r} must be a list of chat turns with role and content")
    return {
        key: [{name: turn[name] for name in TURN if turn.get(name) or name in TURN[:2]} for turn in row[key]]
        for key in keys
    }


def _is_turn(turn: Any) -> bool:
    texts = [turn.get("role"), turn.get("content"), turn.get("input") or ""] if isinstance(turn, dict) else [None]
    return all(isinstance(text, str) for text in texts)


def rows_at_once(batch_size: int, sequences: int, longest: int, on_cpu: bool) -> int:
    """Return how many rows of an optimiser step go through the model together, a divisor of ``batch_size``.

    The other rows of the step follow by gradient accumulation, so memory does not grow with the batch.

    Args:
        batch_size: rows of a step in this process.
        sequences: token sequences of a row: 1 for SFT, 2 for DPO.
        longest: tokens of the longest sequence.
        on_cpu: whether it runs on a CPU.
    """
    fitting = (
        rows
        for rows in range(batch_size, 0, -1)
        if batch_size % rows == 0 and rows * sequences * longest <= TOKENS_AT_ONCE[on_cpu]
    )
    return next(fitting, 1)


def training_order(lengths: Sequence[int], epochs: float, batch_size: int, seed: int) -> list[int]:
    """Return the rows' indices in the order of training, all epochs in one list.

    Each epoch is a shuffle of all rows (the last one cut where ``epochs`` is no whole number). Windows of ``WINDOW``
    batches are sorted by length and their batches shuffled, so a batch has rows of about the same length. The order
    depends on the arguments alone, so a resumed training takes the rows that it would have taken without the kill.

    Args:
        lengths: tokens of each row.
        epochs: passes over the rows, above 0; at least one row is trained on.
        batch_size: rows of an optimiser step.
        seed: of the shuffles.
    """
    draw = random.Random(seed)
    wanted = max(1, round(len(lengths) * epochs))
    order: list[int] = []
    while len(order) < wanted:
        order += draw.sample(range(len(lengths)), len(lengths))
    del order[wanted:]
    batches: list[list[int]] = []
    for start in range(0, wanted, batch_size * WINDOW):
        window = sorted(order[start : start + batch_size * WINDOW], key=lambda row: (lengths[row], row))
        cut = [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
        ragged = cut.pop() if len(cut[-1]) < batch_size else None
        draw.shuffle(cut)
        batches += cut if ragged is None else [*cut, ragged]
    return [row for batch in batches for row in batch]
