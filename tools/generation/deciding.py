"""The decision on the next round of generation: a pure function of what is known."""

from __future__ import annotations

import math
import sys

from pydantic import Field

from state.pipeline import NextRound
from state.records import Record
from tools.generation.prompting import completion_share

ASSUMED_SHARE = 0.5
"""Share of a call's new tasks that is expected to be accepted until a round has shown the true share: an assumption."""
GROWTH = 4
"""A round makes at most this many times the calls of the last one, however few of its tasks were accepted. After a
round that brought nothing new it makes no more than that one: what repeats itself would be paid for again."""
FAILED_ROUNDS = 2
"""Rounds in a row without a single answer after which generation stops."""
UNKNOWN_RESET = 60.0
"""Seconds to wait where the server does not say when its rate limit resets: the usual window is a minute."""


class GenerationFacts(Record):
    """All that the decision depends on."""

    accepted: int = Field(ge=0)
    """Generated instructions accepted so far."""
    target: int = Field(ge=0)
    rounds_done: int = Field(ge=0)
    rounds: int = Field(ge=1)
    """Rounds at most."""
    batch_size: int = Field(20, ge=2, le=20)
    """Tasks asked in a full call, the demonstrations among them."""
    demonstrations: int = Field(3, ge=1)
    prompt_tokens: int = Field(0, ge=0)
    """Of one call, at most: what the budget reserves for it."""
    completion_tokens: int = Field(768, ge=1)
    """Of one full call, at most."""
    input_price: float = Field(0.0, ge=0)
    """Dollars for a million prompt tokens."""
    output_price: float = Field(0.0, ge=0)
    """Dollars for a million completion tokens."""
    calls: int = Field(0, ge=0)
    """Made in the last round."""
    gained: int = Field(0, ge=0)
    """Rows of the last round that were accepted, or wait for a person."""
    accepted_per_call: float | None = Field(None, ge=0)
    """Over all rounds; ``None`` before the first."""
    offered: int = Field(0, ge=0)
    """Rows in the last round's answers."""
    novelty: float | None = Field(None, ge=0, le=1)
    """Share of novel rows among those offered in the last round; ``None`` where there were none."""
    min_diversity: float = Field(0.3, ge=0, le=1)
    failed_rounds: int = Field(0, ge=0)
    """Rounds in a row, up to the last, in which no call was answered."""
    budget_left: float | None = Field(None)
    """Dollars; ``None`` for no cap. Negative counts as 0."""
    requests_left: int | None = Field(None, ge=0)
    """In the rate limit's window; ``None`` where the server does not say."""
    tokens_left: int | None = Field(None, ge=0)
    """In the rate limit's window; ``None`` where the server does not say."""
    reset_seconds: float | None = Field(None, ge=0)
    """Until a new window begins; ``None`` where the server does not say."""


def decide_next_round(facts: GenerationFacts) -> NextRound:
    """Decide on the next round.

    In this order: stop at the target, after the last round, and after two rounds without an answer; stop when the
    budget does not pay for the smallest batch; wait for a new window, and make the round then, when the rate limit does
    not admit the smallest batch; shrink the batch to what budget and limit allow, and by half after a round without an
    answer; retry with other seeds when the last round's rows were too alike, or none; else proceed. Every decision but
    ``stop`` leads to one round, so the rounds bound the loop; a round is larger than the last one only if that brought
    something new.
    """
    ended = _end(facts)
    if ended is not None:
        return NextRound(action="stop", reason=ended)
    smallest = smallest_batch(facts)
    if not pays_for_a_batch(facts):
        reason = f"the ${max(facts.budget_left or 0.0, 0.0):.4f} left do not pay for the smallest batch"
        return NextRound(action="stop", reason=reason)
    if facts.requests_left == 0 or _admitted(facts) < smallest:
        return _wait(facts, smallest)
    size, because = _size(facts, smallest)
    calls = _calls(facts, size)
    if size < facts.batch_size:
        reason = f"asking {size} tasks a call instead of {facts.batch_size}: {because}"
        return NextRound(action="shrink", reason=reason, batch_size=size, calls=calls)
    again = _shortcoming(facts)
    if again is not None:
        return NextRound(action="retry", reason=again, batch_size=size, calls=calls)
    reason = f"{facts.accepted} of {facts.target} accepted, round {facts.rounds_done + 1} of {facts.rounds}"
    return NextRound(action="proceed", reason=reason, batch_size=size, calls=calls)


def smallest_batch(facts: GenerationFacts) -> int:
    """Return the fewest tasks that a call may be asked for: one new one beside the demonstrations."""
    return min(facts.demonstrations + 1, facts.batch_size)


def pays_for_a_batch(facts: GenerationFacts) -> bool:
    """Return whether the budget pays for the smallest batch."""
    return _affordable(facts) >= smallest_batch(facts)


def _wait(facts: GenerationFacts, smallest: int) -> NextRound:
    """Return a round that begins with the rate limit's next window."""
    seconds = UNKNOWN_RESET if facts.reset_seconds is None else facts.reset_seconds
    renewed = facts.model_copy(update={"requests_left": None, "tokens_left": None})
    size, _ = _size(renewed, smallest)
    return NextRound(
        action="wait",
        reason=f"the rate limit has no room for a batch; {seconds:g} s until it does",
        batch_size=size,
        calls=_calls(renewed, size),
        wait_seconds=seconds,
    )


def _end(facts: GenerationFacts) -> str | None:
    """Return why generation is over, if it is."""
    so_far = f"{facts.accepted} of {facts.target} accepted"
    if facts.accepted >= facts.target:
        return f"the target is reached: {so_far}"
    if facts.rounds_done >= facts.rounds:
        return f"all {facts.rounds} rounds are done: {so_far}"
    if facts.failed_rounds >= FAILED_ROUNDS:
        return f"{facts.failed_rounds} rounds in a row without an answer: {so_far}"
    return None


def _shortcoming(facts: GenerationFacts) -> str | None:
    """Return what was wrong with the last round's rows, if anything."""
    if facts.rounds_done == 0:
        return None
    if facts.offered == 0:
        return "the last round held no usable row: other seed tasks"
    if facts.novelty is not None and facts.novelty < facts.min_diversity:
        return (
            f"only {facts.novelty:.0%} of the last round was novel, {facts.min_diversity:.0%} asked: other seed tasks"
        )
    return None


def _size(facts: GenerationFacts, smallest: int) -> tuple[int, str]:
    """Return the batch size that all limits allow, and which of them is the smallest."""
    limits = [
        (facts.batch_size, "nothing limits it"),
        (_affordable(facts), "the budget pays for no more"),
        (_admitted(facts), "the rate limit has room for no more"),
    ]
    if facts.failed_rounds > 0:
        limits.append((max(smallest, facts.batch_size // 2), "no call of the last round was answered"))
    return min(limits, key=lambda limit: limit[0])


def _calls(facts: GenerationFacts, size: int) -> int:
    """Return how many calls the round should make: enough for what is missing, at the yield seen so far."""
    asked = max(facts.batch_size - facts.demonstrations, 1)
    new = max(size - facts.demonstrations, 1)
    full_yield = facts.accepted_per_call if facts.accepted_per_call is not None else ASSUMED_SHARE * asked
    calls = math.ceil((facts.target - facts.accepted) / max(full_yield * new / asked, 0.01))
    if facts.calls:
        calls = min(calls, (GROWTH if facts.gained else 1) * facts.calls)
    price = _dollars(facts, size)
    if facts.budget_left is not None and price and calls * price > facts.budget_left:
        calls = math.floor(facts.budget_left / price)
    return max(min(calls, _window(facts, size)), 1)


def _window(facts: GenerationFacts, size: int) -> int:
    """Return how many calls the rate limit's window has room for; those after them would be refused or would wait."""
    rooms = []
    if facts.requests_left is not None:
        rooms.append(facts.requests_left)
    if facts.tokens_left is not None:
        rooms.append(facts.tokens_left // max(1, _tokens(facts, size)))
    return min(rooms, default=sys.maxsize)


def _tokens(facts: GenerationFacts, size: int) -> int:
    """Return the tokens that a call takes of the window at most."""
    share = completion_share(size, facts.batch_size, facts.demonstrations)
    return facts.prompt_tokens + math.ceil(facts.completion_tokens * share)


def _dollars(facts: GenerationFacts, size: int) -> float:
    completion = facts.completion_tokens * completion_share(size, facts.batch_size, facts.demonstrations)
    return (facts.prompt_tokens * facts.input_price + completion * facts.output_price) / 1e6


def _affordable(facts: GenerationFacts) -> int:
    """Return the largest batch that the budget pays for once; 0 when it pays for none."""
    if facts.budget_left is None:
        return facts.batch_size
    sizes = range(facts.batch_size, 1, -1)
    return next((size for size in sizes if _dollars(facts, size) <= max(facts.budget_left, 0.0)), 0)


def _admitted(facts: GenerationFacts) -> int:
    """Return the largest batch for which the rate limit has tokens; 0 when it has for none."""
    if facts.tokens_left is None:
        return facts.batch_size
    sizes = range(facts.batch_size, 1, -1)
    return next((size for size in sizes if _tokens(facts, size) <= (facts.tokens_left or 0)), 0)
