"""Judges whose quality is known, and labels to measure them on: what the licence must catch, and what it must not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

from state.records import Candidate, Judgement, Outcome, Sample, content_hash
from tools.judging.answers import PairChoice
from tools.judging.preference import Preference, in_both_orders
from tools.sources.items import Item
from tools.sources.labels import ChosenPair

LONGER = 0.67
"""How often people choose the longer answer, as in PandaLM."""
Place = Literal["first", "second", "tie"]
Choose = Callable[[str, str], Place]


class PlantedJudge:
    """Scores an answer by a function, and chooses between two by another one, which sees them in the shown order."""

    def __init__(self, name: str, score: Callable[[Sample, str], float], choose: Choose | None = None) -> None:
        self.identity = f"planted/{name}/general@1"
        self.score, self._choose = score, choose

    async def judge(self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None) -> Judgement:
        score = self.score(sample, candidate.text)
        return Judgement(
            id=content_hash(candidate.id, self.identity),
            candidate_id=candidate.id,
            judge=self.identity,
            overall=score,
            stars=1 + min(4, int(score // 20)),
            confidence=1.0,
            outcome=Outcome.ACCEPTED,
        )

    async def prefer(
        self, sample: Sample, first: Candidate, second: Candidate, context: Mapping[str, Any] | None = None
    ) -> Preference:
        def by_score(one: str, other: str) -> Place:
            ours, theirs = self.score(sample, one), self.score(sample, other)
            return "tie" if ours == theirs else "first" if ours > theirs else "second"

        choose = self._choose or by_score
        straight, swapped = choose(first.text, second.text), choose(second.text, first.text)
        return in_both_orders(PairChoice(better=straight, reason=""), PairChoice(better=swapped, reason=""))


def labelled_pairs(count: int, seed: int = 0, longer: float = LONGER) -> list[ChosenPair]:
    """Return pairs of which people choose the one marked ``good``; so often it is the longer one."""
    draw, pairs = random.Random(seed), []
    for number in range(count):
        long, short = "word " * draw.randint(12, 30), "word " * draw.randint(3, 10)
        good, bad = (long, short) if draw.random() < longer else (short, long)
        texts, better = [f"{good}good {number}.", f"{bad}poor {number}."], 1
        if draw.random() < 0.5:
            texts, better = texts[::-1], 2
        one, other = (Item(prompt=f"Prompt {number}?", output=text) for text in texts)
        pairs.append(ChosenPair(first=one, second=other, label=1 if better == 1 else 2))
    return pairs


def oracle(kappa: float, seed: int = 0) -> PlantedJudge:
    """Return a judge of known kappa in both modes: of so many pairs it chooses the better one, of the others the worse.

    It sees which answer is good by its mark. Both answers of a pair end in the pair's number, so that each pair has one
    toss.
    """

    def score(sample: Sample, text: str) -> float:
        number = text.rsplit(" ", 1)[-1]
        right = random.Random(f"{seed} {number}").random() < (1 + kappa) / 2
        return 90.0 if ("good" in text) == right else 10.0

    return PlantedJudge(f"oracle {kappa:g}", score)


def coin(text: str, seed: int = 0) -> float:
    """Return a number from 0 to 100 that says nothing of a text."""
    return int(content_hash("coin", seed, text)[:6], 16) % 10_000 / 100


def overlap(sample: Sample, text: str) -> float:
    """Return the share of the reference's words that stand in a text, of 100; 50 without a reference."""
    wanted = set(sample.output.split())
    return 100 * len(wanted & set(text.split())) / len(wanted) if wanted else 50.0


def echo(sample: Sample, text: str) -> float:
    """Return the share of a text's words that stand in the prompt, of 100."""
    asked, said = set(sample.prompt.lower().split()), text.lower().split()
    return 100 * sum(word in asked for word in said) / len(said) if said else 0.0


PLANTED: Mapping[str, Callable[[int], PlantedJudge]] = {
    "always longer": lambda _: PlantedJudge("longer", lambda _, text: min(100.0, len(text) / 4)),
    "always first": lambda seed: PlantedJudge("first", oracle(0.9, seed).score, lambda one, other: "first"),
    "constant": lambda _: PlantedJudge("constant", lambda *_: 80.0),
    "random": lambda seed: PlantedJudge("random", lambda _, text: coin(text, seed)),
    "worse than chance": lambda seed: oracle(-0.3, seed),
    "copies a reference": lambda _: PlantedJudge("copies", overlap),
    "looks for the prompt": lambda _: PlantedJudge("prompt", echo),
}
"""By what is wrong with each. The second scores well and chooses by place; the one that copies a reference needs what
no answer has; the last one likes what repeats the prompt."""
