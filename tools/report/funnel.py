"""From what was offered to what was kept: the rows left after each gate, and why the others were dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from state.records import Outcome, Record
from tools.gates import GATE_CLASSES, GATES
from tools.people.decisions import Decider, consequences, decider_of, decision_in, reviewer_in
from tools.reasons import count_reason
from tools.report.charts import Bar

REASONS = 8
"""Reasons shown for each funnel, the most frequent first."""
STOPS = ("parsing", *GATES, "review")
"""Where an instruction can end, in the order in which it meets them."""
_GATE = {code: gate.name for gate in GATE_CLASSES for code in gate.codes}
"""Which gate gives which reason. Every other reason is a rule of a safety policy, which people write themselves."""
_FIGURE = re.compile(r"\d+(?:\.\d+)?%?")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_LONGEST_REASON = 80


class Funnel(Record):
    """Rows of one kind, from stage to stage."""

    title: str
    unit: str
    stages: tuple[Bar, ...]
    open: tuple[tuple[str, int], ...]
    """Rows that wait for a person or are not yet decided."""
    reasons: tuple[tuple[str, int], ...]
    """Why rows were not kept, the most frequent reasons first."""
    kinds: int = 0
    """Different reasons, those that are not among ``reasons`` too."""


class RowCounter:
    """Counts rows by outcome, reason and the gate that stopped them."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.stopped: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.deciders: set[Decider] = set()

    @property
    def total(self) -> int:
        """Rows counted."""
        return sum(self.outcomes.values())

    def add(self, outcome: str, reasons: Sequence[str], count: int = 1) -> None:
        """Count rows of one outcome and the same reasons."""
        self.outcomes[outcome] += count
        if reasons and (reviewer := reviewer_in(reasons[0])):
            self.deciders.add(decider_of(reviewer))
        if outcome not in (Outcome.REJECTED, Outcome.FAILED):
            return
        first = reasons[0] if reasons else "no reason"
        self.stopped[stop_of(outcome, first)] += count
        count_reason(self.reasons, reason_head(first), count)

    def open(self) -> tuple[tuple[str, int], ...]:
        """Return how many rows are not decided."""
        states = {"wait for a person": Outcome.WAITING, "not yet decided": Outcome.PENDING}
        return tuple((name, self.outcomes[state]) for name, state in states.items() if self.outcomes[state])


def reason_head(reason: str) -> str:
    """Return what reasons of one kind have in common: the part before the detail, without figures and quotations."""
    head = reason if reason.startswith("parse:") else reason.split(":")[0]
    if decision := decision_in(reason):
        head = reason.replace(decision, consequences(decision).past, 1).partition(": ")[0]
    head = _FIGURE.sub("\N{HORIZONTAL ELLIPSIS}", _QUOTED.sub("\N{HORIZONTAL ELLIPSIS}", head)).strip()
    return head.replace("_", " ")[:_LONGEST_REASON]


def stop_of(outcome: str, reason: str) -> str:
    """Return where an instruction ended, by the first reason it has: one of ``STOPS``."""
    if outcome == Outcome.FAILED:
        return "parsing"
    if decision_in(reason):
        return "review"
    return _GATE.get(reason.split(":")[0], "safety")


def instruction_funnel(rows: RowCounter) -> Funnel | None:
    """Return how many generated instructions passed each gate; ``None`` if none was generated."""
    if not rows.total:
        return None
    names = {"parsing": "well formed", "review": "passed by a " + " or a ".join(sorted(rows.deciders))}
    left, stages = rows.total, [Bar(name="written", value=rows.total)]
    for stop in STOPS:
        left -= rows.stopped[stop]
        if stop != "review" or rows.stopped[stop]:
            stages.append(Bar(name=names.get(stop, f"passed {stop}"), value=left))
    stages.append(Bar(name="accepted", value=rows.outcomes[Outcome.ACCEPTED]))
    return _funnel("Generated instructions through the gates", "instructions", stages, rows)


def candidate_funnel(rows: RowCounter, unjudged: Mapping[str, int], chosen: int, paired: int) -> Funnel | None:
    """Return how many drawn answers came how far on their way to training rows; ``None`` if none was drawn.

    Args:
        rows: all candidates.
        unjudged: candidates without a judgement, by outcome: failed at the draw, rejected by the guard, or pending.
        chosen: those that became rows of SFT.
        paired: those that were also paired with a rejected answer, for DPO.
    """
    if not rows.total:
        return None
    answered = rows.total - unjudged.get(Outcome.FAILED, 0)
    clean = answered - unjudged.get(Outcome.REJECTED, 0)
    stages = [
        Bar(name="drawn", value=rows.total),
        Bar(name="answered", value=answered),
        Bar(name="not degenerate", value=clean),
        Bar(name="judged", value=clean - sum(unjudged.get(o, 0) for o in (Outcome.PENDING, Outcome.ACCEPTED))),
        Bar(name="accepted", value=rows.outcomes[Outcome.ACCEPTED]),
        Bar(name="chosen for SFT", value=chosen),
        Bar(name="paired for DPO", value=paired),
    ]
    return _funnel("Answers on their way to training rows", "answers", stages, rows)


def prompt_funnel(prompts: Mapping[str, int]) -> Funnel | None:
    """Return what the dataset's manifest says of its prompts; ``None`` where it says nothing."""
    stages = tuple(Bar(name=name, value=count) for name, count in prompts.items())
    if not stages:
        return None
    return Funnel(title="Prompts that gave a training row", unit="prompts", stages=stages, open=(), reasons=())


def _funnel(title: str, unit: str, stages: Sequence[Bar], rows: RowCounter) -> Funnel:
    reasons = tuple(rows.reasons.most_common(REASONS))
    return Funnel(
        title=title, unit=unit, stages=tuple(stages), open=rows.open(), reasons=reasons, kinds=len(rows.reasons)
    )
