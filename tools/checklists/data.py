"""The checklists of generated data: its generation before, during and after, and its quality. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from state.records import Record
from tools.checklists.items import CheckItem, item

SEEDS = 20
"""Seed tasks from which prompts differ enough; Alpaca has 175."""
FAILED_CALLS = 0.1
"""Share of failed calls above which a person should look at the server."""
REACHED = 0.8
"""Share of the instructions wanted that should be there."""
ALIKE = 0.3
"""Mean ROUGE-L over all pairs above which a dataset says much the same; Alpaca's 52,000 have about 0.1."""
BALANCE = 0.5
"""Entropy of the categories over its maximum, below which a few kinds of tasks make most of the rows."""
DISTINCT = 0.1
"""Different words over all words of up to 10,000 instructions."""
FEWEST = 10
"""Rows from which figures of diversity mean something."""


class SeedFacts(Record):
    """What is known before anything is generated."""

    seeds: int = Field(ge=0)
    categories_missing: tuple[str, ...] = ()
    cap: float | None = None
    """Dollars; ``None`` for no cap."""
    expected: float = 0.0
    """Dollars that the run was expected to cost."""


class RoundFacts(Record):
    """How the rounds went."""

    rounds: int = Field(ge=0)
    calls: int = Field(ge=0)
    failed_calls: int = Field(ge=0)
    least_novelty: float | None = None
    """Of any round; ``None`` before the first."""
    min_diversity: float = 0.3
    """What the request asks of each."""
    spent: float = 0.0
    cap: float | None = None


class DataFacts(Record):
    """What came of it."""

    wanted: int = Field(ge=0)
    """Instructions that were asked for."""
    offered: int = Field(ge=0)
    """Rows that the gates saw."""
    accepted: int = Field(ge=0)
    measured: int = Field(0, ge=0)
    """Accepted rows that were looked at once more."""
    given: int = Field(0, ge=0)
    """Prompts of a file, which can be answered without any."""
    waiting: int = Field(0, ge=0)
    broken_rules: Mapping[str, int] = Field(default_factory=dict)
    """Accepted rows that a gate would still fault, by gate: content, safety, coherence."""
    mean_similarity: float = 0.0
    max_similarity: float = 0.0
    rouge_threshold: float = 0.7
    balance: float = 0.0
    distinct_1: float = 0.0
    without_output: int = 0


def before_items(facts: SeedFacts) -> list[CheckItem]:
    """Return what is checked before the generation."""
    missing = ", ".join(facts.categories_missing) or "none is missing"
    money = f"${facts.expected:.4f} expected" + ("" if facts.cap is None else f" of ${facts.cap:g}")
    return [
        item("there are seed tasks", facts.seeds > 0, f"{facts.seeds}", critical=True),
        item(f"there are {SEEDS} seed tasks", facts.seeds >= SEEDS, f"{facts.seeds}"),
        item("every category has a seed task", not facts.categories_missing, missing),
        item("the budget pays for what is expected", None if facts.cap is None else facts.expected <= facts.cap, money),
    ]


def during_items(facts: RoundFacts) -> list[CheckItem]:
    """Return what is checked of the rounds."""
    share = facts.failed_calls / facts.calls if facts.calls else 0.0
    novelty = facts.least_novelty
    cap = "no cap" if facts.cap is None else f"of ${facts.cap:g}"
    return [
        item(
            "calls are answered",
            share <= FAILED_CALLS if facts.calls else None,
            f"{facts.failed_calls} of {facts.calls} failed",
        ),
        item(
            "every round brought something new",
            None if novelty is None else novelty >= facts.min_diversity,
            "no round was made" if novelty is None else f"at least {novelty:.0%} of each round was novel",
        ),
        item("the budget was kept", facts.cap is None or facts.spent <= facts.cap, f"${facts.spent:.4f}, {cap}"),
    ]


def after_items(facts: DataFacts) -> list[CheckItem]:
    """Return what is checked of what came out."""
    if not facts.wanted:
        return [item("instructions were generated", None, "none were asked for")]
    reached = facts.accepted / facts.wanted
    return [
        item(
            "instructions were accepted",
            facts.accepted > 0,
            f"{facts.accepted} of {facts.offered} offered",
            critical=not facts.given,
        ),
        item(f"{REACHED:.0%} of what was wanted is there", reached >= REACHED, f"{facts.accepted} of {facts.wanted}"),
        item("nothing waits for a person", facts.waiting == 0, f"{facts.waiting} rows wait"),
    ]


def instruction_items(facts: DataFacts) -> list[CheckItem]:
    """Return what is checked of the accepted instructions, one by one; the weights sum to 0.6."""
    if not facts.measured:
        return []
    said = {name: facts.broken_rules.get(name, 0) for name in ("content", "safety", "coherence")}
    faults = {name: f"{count} of {facts.measured} accepted rows have a fault" for name, count in said.items()}
    tenth = facts.measured / 10
    return [
        item("instructions keep the content rules", said["content"] == 0, faults["content"], weight=0.15),
        item("instructions are safe", said["safety"] == 0, faults["safety"], critical=True, weight=0.2),
        item(
            "instruction, input and output belong together",
            said["coherence"] <= tenth,
            faults["coherence"],
            weight=0.15,
        ),
        item(
            "every instruction has an output", facts.without_output == 0, f"{facts.without_output} lack one", weight=0.1
        ),
    ]


def dataset_items(facts: DataFacts) -> list[CheckItem]:
    """Return what is checked of the accepted instructions together; the weights sum to 0.4."""
    if not facts.measured:
        return []
    enough = facts.measured >= FEWEST
    few = "" if enough else f"; of {facts.measured} rows it says little"
    return [
        item(
            "no instruction repeats another",
            facts.max_similarity <= facts.rouge_threshold if facts.measured > 1 else None,
            f"ROUGE-L at most {facts.max_similarity:.2f}, {facts.rouge_threshold:g} allowed",
            weight=0.1,
        ),
        item(
            "instructions differ",
            facts.mean_similarity <= ALIKE if enough else None,
            f"mean ROUGE-L {facts.mean_similarity:.2f}, {ALIKE:g} allowed{few}",
            weight=0.1,
        ),
        item(
            "categories are balanced",
            facts.balance >= BALANCE if enough else None,
            f"balance {facts.balance:.2f}, {BALANCE:g} wanted{few}",
            weight=0.1,
        ),
        item(
            "words vary",
            facts.distinct_1 >= DISTINCT if enough else None,
            f"distinct-1 {facts.distinct_1:.2f}, {DISTINCT:g} wanted{few}",
            weight=0.1,
        ),
    ]
