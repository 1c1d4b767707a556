"""Which rows of a file a phase trains on, and how many were left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from state.errors import BadInput
from tools.training.phase import Phase, Row
from tools.weights.template import IGNORED, template_marks


class TrainingRows(NamedTuple):
    """The rows that a phase trains on, the shortest first, and how many were left out."""

    examples: list[dict[str, Any]]
    """What the trainer gets for each row."""
    lengths: list[int]
    """Tokens of the longest sequence of each row."""
    prompts: list[list[int]]
    """Tokens of each row's prompt, as the model is asked."""
    too_long: int
    """Rows left out because they have more than ``max_length`` tokens."""
    already_templated: int
    """Rows left out because a text in them already holds the chat template's marks."""


def select_rows(phase: Phase, rows: Sequence[Row], tokenizer: Any, max_length: int) -> TrainingRows:
    """Return the rows to train on.

    They are sorted by length, so that a pass over them in this order, such as DPO's over its reference, pads little.

    Args:
        phase: that trains on them.
        rows: as ``phase.read`` returns them.
        tokenizer: of the base model.
        max_length: tokens of a row at most.

    Raises:
        BadInput: no row is left.
    """
    marks = template_marks(tokenizer)
    bare = [row for row in rows if not _holds(row, marks)]
    if not bare:
        raise BadInput(
            f"all {len(rows)} {phase.name} rows hold the chat template's own marks ({marks[0]!r}): give bare texts"
        )
    kept = []
    for row in bare:
        sequences = phase.tokenise(tokenizer, row)
        longest = max(len(sequence.input_ids) for sequence in sequences)
        if longest <= max_length:
            prompt = sequences[0].input_ids[: sequences[0].labels.count(IGNORED)]
            kept.append((longest, phase.example(row, sequences), prompt))
    if not kept:
        raise BadInput(
            f"all {len(bare)} {phase.name} rows are longer than train.max_length ({max_length} tokens); raise it"
        )
    kept.sort(key=lambda row: row[0])
    lengths, examples, prompts = map(list, zip(*kept, strict=True))
    return TrainingRows(examples, lengths, prompts, len(bare) - len(kept), len(rows) - len(bare))


def _holds(row: Row, marks: Sequence[str]) -> bool:
    texts = [turn["content"] for turns in row.values() if isinstance(turns, list) for turn in turns]
    return any(mark in text for text in texts for mark in marks)
