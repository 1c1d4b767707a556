"""What one answer to one held-out prompt scores, metric by metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from state.records import Answer, CheckResult, Sample
from tools.checks import run_checks
from tools.checks.guard import degenerate, distinct_n
from tools.checks.text import words
from tools.gates.rouge import sees, tokens_of_any_script

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "guarded": "all checks pass and the text is not degenerate",
        "checks": "share of checks passed, as written",
        "checks_loose": "share of checks passed, a first or last line and markup forgiven",
        "rouge1": "ROUGE-1 F-measure against the reference",
        "rouge2": "ROUGE-2 F-measure against the reference",
        "rougeL": "ROUGE-L F-measure against the reference",
        "distinct3": "share of distinct 3-grams",
        "ended": "share of answers that ended by themselves",
        "words": "words in an answer",
    }
)
"""The metrics, and what they mean. ``checks`` and ``checks_loose`` apply to prompts with checks, ROUGE to prompts with
a reference, the others to all."""
SAMPLED: Mapping[str, str] = MappingProxyType({f"{metric}_sampled": metric for metric in METRICS})
"""The metrics of sampled answers, each the mean over a prompt's draws, and the metric it averages."""
NATS = "nats"
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        **METRICS,
        **{name: f"{METRICS[metric]}, sampled answers" for name, metric in SAMPLED.items()},
        NATS: "nats a token on held-out texts, the logarithm of perplexity",
    }
)
"""What every metric of a scoreboard means."""
YES_OR_NO = frozenset({"guarded", "ended"})
"""Metrics that are 0 or 1 for one answer."""


@dataclass(frozen=True)
class Scored:
    """One answer's scores.

    Attributes:
        metrics: by name, those that apply to the prompt; ``words`` is a count, the others are in [0, 1].
        checks: the strict results.
    """

    metrics: Mapping[str, float]
    checks: tuple[CheckResult, ...]


def score_answer(sample: Sample, answer: Answer | None, *, stemmer: bool = False) -> Scored:
    """Score one answer; a missing one is an empty text that did not end, and fails every metric.

    An answer to a prompt without checks is guarded if it is clean: there is nothing else that it could fail.

    Args:
        sample: the prompt, with its checks and reference.
        answer: a model's, or none.
        stemmer: whether ROUGE compares words by Porter's stems.
    """
    text = answer.text if answer is not None else ""
    ended = answer is not None and answer.ended
    strict = run_checks(sample.checks, text)
    clean = not degenerate(sample, text, ended)
    metrics = {"guarded": float(clean and all(result.passed for result in strict))}
    if strict:
        metrics["checks"] = _share(strict)
        metrics["checks_loose"] = _share(run_checks(sample.checks, text, loose=True))
    if sample.output:
        metrics |= _rouge(sample.output, text, stemmer)
    metrics["distinct3"] = distinct_n(text, 3) if text.strip() else 0.0
    metrics["ended"] = float(ended)
    metrics["words"] = float(len(words(text)))
    return Scored(metrics, strict)


def _share(results: tuple[CheckResult, ...]) -> float:
    return sum(result.passed is True for result in results) / len(results)


def _rouge(reference: str, text: str, stemmer: bool) -> dict[str, float]:
    """Return F-measures by Google's ``rouge_score``.

    Its tokenizer knows Latin letters alone: a reference of which it sees less than half is split by words of any
    script, since two equal Chinese texts would score 0.
    """
    scorer = _scorer(sees(reference), stemmer)
    return {name: float(score.fmeasure) for name, score in scorer.score(reference, text).items()}


class _AnyScript:
    """A tokenizer, as ``rouge_score`` takes one."""

    def tokenize(self, text: str) -> list[str]:
        """Return a text's words."""
        return tokens_of_any_script(text)


def script_note(samples: Sequence[Sample]) -> list[str]:
    """Return what to tell a person of references that ``rouge_score`` does not see; nothing where it sees all."""
    blind = sum(bool(sample.output) and not sees(sample.output) for sample in samples)
    if not blind:
        return []
    return [
        f"{blind} of {len(samples)} references are in scripts that rouge_score does not see: their ROUGE is over words "
        "of any script, and over letters where a script has no spaces, and is not that of other tools"
    ]


@lru_cache(maxsize=4)
def _scorer(latin: bool, stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    own = {} if latin else {"tokenizer": _AnyScript()}
    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stemmer, **own)
