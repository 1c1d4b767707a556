"""Gold items: answers of which is known whether they are good. How often a person is right follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from state.errors import BadInput
from state.records import GoldAnswer, Outcome, ReviewTask, content_hash
from tools.people.choosing import HEAD
from tools.sources.labels import RatedItem, read_labels

GOOD, BAD = 4.0, 2.0
"""Stars from which an answer is good, and up to which it is not: those of what may be chosen and rejected. What lies
between says nothing for certain."""
FIRST, EVERY = 4, 10
"""A person meets the first gold item after so many others, and then one in so many."""


def read_gold(path: Path) -> tuple[GoldAnswer, ...]:
    """Return a file's gold answers.

    Args:
        path: labels of single answers, as for ``corral calibrate``.

    Raises:
        BadInput: the file cannot be read, holds choices between two answers, or no answer that is clearly good or bad.
    """
    labels = [label for label in read_labels(path) if isinstance(label, RatedItem)]
    clear = [label for label in labels if not BAD < label.rating < GOOD]
    if not clear:
        raise BadInput(f"sources.gold: {path} holds no answer that is rated from 4 on or up to 2")
    return tuple(
        GoldAnswer(
            prompt=label.item.prompt,
            text=label.item.output,
            decision="approve" if label.rating >= GOOD else "reject",
        )
        for label in clear
    )


def gold_tasks(answers: Sequence[GoldAnswer], first: int, now: datetime) -> list[ReviewTask]:
    """Return the tasks of gold answers.

    Args:
        answers: what is known.
        first: the position behind all that waits.
        now: when they are put before people.
    """
    return [
        ReviewTask(
            id=(id_ := content_hash("gold", answer.prompt, answer.text)),
            kind="completion",
            sample_id=id_,
            why=("audit",),  # nobody is told which ones they are
            position=position,
            disagreement=0.0,
            machine=Outcome.WAITING,
            head=answer.prompt[:HEAD],
            opened_at=now,
            standing="gold",
            gold=answer,
        )
        for position, answer in enumerate(answers, first)
    ]


def is_due(said: int, gold: int) -> bool:
    """Return whether a person's next item is a gold one.

    Args:
        said: items that the person has decided, gold ones among them.
        gold: the gold ones of these.
    """
    return said >= FIRST + EVERY * gold
