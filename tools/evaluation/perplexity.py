"""Perplexity on held-out text: which texts, and what the two models make of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from state.records import Record, Sample, content_hash
from tools.evaluation.asking import Passage, PassageScore
from tools.sources.seeds import SeedTask
from tools.statistics.bootstrap import Estimate

TEXTS = 64
"""Texts at most: some 5,000 tokens, ten seconds of one core for a model of 135 million parameters."""
LEAST_WORDS = 20
"""A text of a word or two would say how a model likes that word."""


class Perplexity(Record):
    """Base against adapter on texts that no training row has. Lower is better.

    Each is the exponential of the mean over texts of the mean negative log-likelihood of a token, given the text's
    prompt: every text counts alike, whatever its length.
    """

    texts: int
    base: float
    adapter: float
    ratio: float
    """Adapter over base; above 1 the adapter is worse."""
    low: float
    """Lower end of the ratio's 95% interval, a paired bootstrap over texts."""
    high: float
    note: str
    """What was measured, and what it says, in a sentence."""


def heldout_passages(
    heldout: Sequence[Sample], seeds: Sequence[SeedTask], training: Collection[Sample], limit: int = TEXTS
) -> list[Passage]:
    """Return the texts: references of held-out prompts first, then seed tasks' outputs, in a fixed order of hashes.

    A generated row may imitate a seed task that it was shown; what a training row takes over to the letter, prompt or
    text, is left out.

    Args:
        heldout: the prompts of the evaluation.
        seeds: the run's seed tasks.
        training: the samples that training rows come from.
        limit: texts at most.
    """
    used = {text for sample in training for text in _plain_texts(sample)}
    references = [(sample.prompt, sample.input, sample.output) for sample in heldout]
    tasks = [(_prompt_of(task), task.input, task.output) for task in seeds if _plain(task.instruction) not in used]
    found: dict[str, Passage] = {}
    for group in (references, tasks):
        passages = [
            Passage(id=content_hash(prompt, text), prompt=prompt, input=given, text=text)
            for prompt, given, text in group
            if len(text.split()) >= LEAST_WORDS and _plain(text) not in used and _plain(prompt) not in used
        ]
        for passage in sorted(passages, key=lambda one: one.id):
            if len(found) < limit:
                found.setdefault(passage.id, passage)
    return list(found.values())


def texts_of(heldout: Iterable[Sample], seeds: Iterable[SeedTask]) -> set[str]:
    """Return what ``heldout_passages`` looks up among the training's texts, to be read by ``has_text_of``."""
    found = {_plain(text) for sample in heldout for text in (sample.prompt, sample.output)}
    return found | {_plain(text) for task in seeds for text in (_prompt_of(task), task.instruction, task.output)}


def has_text_of(sample: Sample, texts: Collection[str]) -> bool:
    """Return whether a training sample takes over one of the texts; ``heldout_passages`` needs no other sample."""
    return any(text in texts for text in _plain_texts(sample))


def paired_nats(
    passages: Sequence[Passage], base: Mapping[str, PassageScore], adapter: Mapping[str, PassageScore]
) -> list[tuple[float, float]]:
    """Return nats a token under base and adapter for each text, in the given order."""
    return [
        (base[one.id].nats / base[one.id].tokens, adapter[one.id].nats / adapter[one.id].tokens) for one in passages
    ]


def perplexity_of(base: float, adapter: float, interval: Estimate, texts: int) -> Perplexity:
    """Return mean nats a token, and the interval of their difference, as perplexities and their ratio."""
    ratio, low, high = (math.exp(nats) for nats in (interval.value, interval.low, interval.high))
    verdict = "worse" if low > 1 else "better" if high < 1 else "not shown to differ"
    return Perplexity(
        texts=texts,
        base=math.exp(base),
        adapter=math.exp(adapter),
        ratio=ratio,
        low=low,
        high=high,
        note=(
            f"Perplexity on {texts} held-out texts, given their prompts: {math.exp(base):.2f} against "
            f"{math.exp(adapter):.2f}, a ratio of {ratio:.3f} (95% interval {low:.3f} to {high:.3f}; lower is better): "
            f"{verdict}."
        ),
    )


def _prompt_of(task: SeedTask) -> str:
    return f"{task.instruction}\n\n{task.input}" if task.input else task.instruction


def _plain_texts(sample: Sample) -> tuple[str, ...]:
    return tuple(map(_plain, (sample.prompt, sample.instruction, sample.output)))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
