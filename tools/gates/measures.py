"""Figures of diversity over a set of instructions: what they ask for, in how many ways, how evenly, how alike.

Counts and lengths are exact for any number of rows. Distinct-n is exact up to ``SAMPLE_ROWS`` and similarity up to
``SIMILARITY_ROWS``; beyond, they come from an evenly drawn sample of that size. Both depend on the number of rows, so a
fixed size also keeps them comparable.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from state.records import Record, Sample
from tools.gates.categories import CATEGORIES, categorise
from tools.gates.diversity import DiversityIndex
from tools.gates.phrases import verb_and_noun
from tools.gates.rouge import tokens

SAMPLE_ROWS = 10_000
SIMILARITY_ROWS = 2_000
"""Rows at most whose pairs are all scored: two million pairs, half a second."""
_TOP = 20


class VerbNoun(Record):
    """What an instruction asks for, and how often."""

    verb: str
    noun: str
    """Empty where the verb has no plain object."""
    count: int = Field(ge=1)


class Lengths(Record):
    """How a set of lengths is spread."""

    least: int = 0
    p25: float = 0.0
    median: float = 0.0
    p75: float = 0.0
    most: int = 0
    mean: float = 0.0


class DiversityFigures(Record):
    """The figures of one set of rows."""

    rows: int = Field(ge=0)
    verb_nouns: tuple[VerbNoun, ...] = ()
    """The twenty most frequent pairs of verb and object, most frequent first."""
    verbs: int = 0
    """Different verbs."""
    verb_noun_pairs: int = 0
    """Different pairs of verb and object."""
    distinct_1: float = 0.0
    """Different words over all words of the instructions, in [0, 1] (Li et al., 2016)."""
    distinct_2: float = 0.0
    """Different pairs of neighbouring words over all such pairs, in [0, 1]."""
    categories: dict[str, int] = Field(default_factory=dict)
    """Rows in each of the twelve categories."""
    entropy: float = 0.0
    """Shannon entropy over the categories in bits; at most log2 of their number."""
    balance: float = 0.0
    """The entropy over its maximum, in [0, 1]; 1 where all categories are equally filled."""
    mean_similarity: float = 0.0
    """Mean ROUGE-L F-measure over all pairs, in [0, 1]; 0 for fewer than two rows."""
    max_similarity: float = 0.0
    """The most alike pair's ROUGE-L F-measure."""
    instruction_words: Lengths = Lengths()
    input_words: Lengths = Lengths()
    """Over the rows that have an input."""
    output_words: Lengths = Lengths()
    with_input: float = 0.0
    """Share of rows that have an input, in [0, 1]."""


def figures(samples: Iterable[Sample]) -> DiversityFigures:
    """Measure a set of rows; a row's own ``category`` counts where it has one, else the classifier's."""
    builder = FiguresBuilder()
    for sample in samples:
        builder.add(sample)
    return builder.result()


class FiguresBuilder:
    """The running form of ``figures``, in bounded memory, for streams."""

    def __init__(self) -> None:
        self._rows = 0
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._categories: Counter[str] = Counter()
        self._lengths: dict[str, Counter[int]] = {"instruction": Counter(), "input": Counter(), "output": Counter()}
        self._drawn: list[str] = []
        self._random = random.Random(0)

    def add(self, sample: Sample) -> None:
        """Take in one row."""
        self._rows += 1
        self._pairs[verb_and_noun(sample.instruction)] += 1
        self._categories[sample.category or categorise(sample.instruction)] += 1
        for field, counter in self._lengths.items():
            words = len(getattr(sample, field).split())
            if words or field == "instruction":
                counter[words] += 1
        self._draw(sample.instruction)

    def result(self) -> DiversityFigures:
        """Return the figures of all rows so far."""
        entropy = entropy_bits(self._categories)
        named = [(pair, count) for pair, count in self._pairs.most_common() if pair[0]]
        few = random.Random(0).sample(self._drawn, min(SIMILARITY_ROWS, len(self._drawn)))
        mean, most = similarity_figures(few)
        return DiversityFigures(
            rows=self._rows,
            verb_nouns=tuple(VerbNoun(verb=verb, noun=noun, count=count) for (verb, noun), count in named[:_TOP]),
            verbs=len({verb for (verb, _), _ in named}),
            verb_noun_pairs=len(named),
            distinct_1=corpus_distinct_n(self._drawn, 1),
            distinct_2=corpus_distinct_n(self._drawn, 2),
            categories={name: self._categories[name] for name in sorted({*CATEGORIES, *self._categories})},
            entropy=entropy,
            balance=min(1.0, entropy / math.log2(max(len(CATEGORIES), len(self._categories)))),
            mean_similarity=mean,
            max_similarity=most,
            instruction_words=_spread(self._lengths["instruction"]),
            input_words=_spread(self._lengths["input"]),
            output_words=_spread(self._lengths["output"]),
            with_input=self._lengths["input"].total() / self._rows if self._rows else 0.0,
        )

    def _draw(self, instruction: str) -> None:
        """Keep an even sample of the stream (Vitter's algorithm R, 1985), the same one every time."""
        if len(self._drawn) < SAMPLE_ROWS:
            self._drawn.append(instruction)
        elif (place := self._random.randrange(self._rows)) < SAMPLE_ROWS:
            self._drawn[place] = instruction


def corpus_distinct_n(texts: Iterable[str], n: int) -> float:
    """Return the share of different word ``n``-grams among those of all texts, in [0, 1] (Li et al., 2016).

    Where no text has one the share is 0: nothing there is diverse. ``tools.checks.guard.distinct_n`` is the share
    within one text, and 1 there: nothing repeats.
    """
    total, different = 0, set()
    for text in texts:
        words = tokens(text)
        grams = list(zip(*(words[start:] for start in range(n)), strict=False))
        total += len(grams)
        different.update(grams)
    return len(different) / total if total else 0.0


def entropy_bits(counts: Mapping[str, int]) -> float:
    """Return the Shannon entropy of a distribution of counts, in bits; 0 for an empty one."""
    total = sum(counts.values())
    shares = [count / total for count in counts.values() if count > 0]
    return abs(sum(share * math.log2(share) for share in shares))


def similarity_figures(texts: Sequence[str]) -> tuple[float, float]:
    """Return the mean and the maximum ROUGE-L F-measure over all pairs of texts, in [0, 1]."""
    index = DiversityIndex()
    for text in texts:
        index.add(text)
    if len(index) < 2:
        return 0.0, 0.0
    total, most = 0.0, 0.0
    for place, found in enumerate(index.most_similar(texts, k=2)):
        itself = 1.0 if tokens(texts[place]) else 0.0
        total += found.mean * len(index) - itself
        others = [score for at, score in zip(found.positions, found.scores, strict=True) if at != place]
        most = max(most, others[0])
    return max(0.0, total / (len(index) * (len(index) - 1))), most


def _spread(lengths: Counter[int]) -> Lengths:
    if not lengths:
        return Lengths()
    values = sorted(lengths.elements())
    quarters = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Lengths(
        least=values[0],
        p25=quarters[0],
        median=quarters[1],
        p75=quarters[2],
        most=values[-1],
        mean=statistics.fmean(values),
    )
