"""The likelihood judge: the same crew, whose members answer from likelihoods and checks instead of written scores.

A model of 135 million parameters writes the same score for good and bad answers. All five judges therefore start from
the same two likelihoods, and only the checks make their scores differ. Wherever their judgement is
shown, it is called the likelihood judge's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import NormalDist

from pydantic import BaseModel

from state.errors import CorralError
from state.records import CheckResult
from tools.checks import IFEVAL, KINDS, cap
from tools.judging.answers import ExpertRating, Opinion
from tools.judging.likelihood import ANSWER_CHARACTERS, PROMPT_CHARACTERS, QUESTION, Likelihoods
from tools.judging.scoring import capped_reason
from tools.judging.subject import shield

NAME = "likelihood judge"
FORMULA = 3
"""Version of the code here and in ``likelihood``. It is part of the judge's identity: raise it with any change of a
score, so that a calibration of the one formula is never taken for one of the other."""
YES, GAIN = NormalDist(0.45, 0.85), NormalDist(1.08, 1.01)
"""How the two measures are spread over answers to real instructions, in nats: mean and deviation over the 200 answers
of LLMBar's natural set (Zeng et al. 2024)."""
YES_SHARE = 0.25
"""The weight of ``yes`` beside ``gain``. On LLMBar's 100 pairs ``yes`` chose as people did in 0.55, ``gain`` in 0.64;
half and half gave 0.53, a quarter 0.61. On 20 plain pairs of a right and a wrong answer: 0.65, 0.90, 0.90."""
STARS = (30.0, 50.0, 65.0, 80.0)
"""Overall scores from which an answer has two, three, four and five stars."""


OFF_TOPIC = 0.05
"""Least gain, in nats a token, of an answer to what was asked. Of 120 good answers (60 to prompts of
``seeds/prompts.jsonl``, 60 of LLMBar) none had less; of the former, set to one another's prompts, 58 of 60 had
(docs/experiments.md)."""


def likelihood_parts() -> list[object]:
    """Return what the judge's scores depend on beside model and weights, for its identity."""
    read = [QUESTION, PROMPT_CHARACTERS, ANSWER_CHARACTERS]
    return [FORMULA, read, [(d.mean, d.stdev) for d in (YES, GAIN)], YES_SHARE, STARS, OFF_TOPIC]


def shares(found: Likelihoods) -> tuple[float, float]:
    """Return what share of answers each measure puts below this one, 0 to 1: by ``yes``, then by ``gain``."""
    return YES.cdf(found.yes), GAIN.cdf(found.gain)


def own_score(dimension: str, found: Likelihoods, checks: Sequence[CheckResult]) -> float:
    """Return a judge's score before caps, 0 to 100.

    Where checks apply, the share of them that passed is the whole score of compliance and half the score of every
    other dimension: a judge of this size is only as good as its checks.

    Args:
        dimension: what the judge scores.
        found: the answer's likelihoods.
        checks: what was verified. What nobody asked for, such as a policy's rules or readability, counts only if it
            failed: that it passed says little about an answer, and it applies to some answers only.
    """
    by_yes, by_gain = shares(found)
    likely = 100 * (YES_SHARE * by_yes + (1 - YES_SHARE) * by_gain)
    telling = [c for c in checks if c.passed is False or (c.passed and c.kind in (*KINDS, *IFEVAL))]
    if not telling:
        return round(likely, 1)
    passed = 100 * sum(bool(c.passed) for c in telling) / len(telling)
    return round(passed if dimension == "compliance" else (likely + passed) / 2, 1)


def doubt(found: Likelihoods) -> float:
    """Return how far the two measures disagree, 0 to 1."""
    by_yes, by_gain = shares(found)
    return abs(by_yes - by_gain)


def stars_of(overall: float) -> int:
    """Return the stars, 1 to 5, of an overall score."""
    return 1 + sum(overall >= least for least in STARS)


def expert_rating(overall: float, found: Likelihoods) -> ExpertRating:
    """Return the expert's rating: stars by the overall score, and two at most for an answer that is off the topic."""
    stars = stars_of(overall)
    if found.gain >= OFF_TOPIC:
        return ExpertRating(stars=stars, strength="", weakness="")
    weakness = f"off the topic: gain {found.gain:+.2f} nats a token, at least {OFF_TOPIC} asked"
    return ExpertRating(stars=min(stars, 2), strength="", weakness=weakness)


class LikelihoodBackend:
    """Answers for all members from the likelihoods of one answer.

    Args:
        measure: gives the likelihoods of an answer to a prompt.
        prompt: what was asked.
        answer: the completion.
        checks: what was verified on it.
        weights: share of each dimension in the overall score.
    """

    def __init__(
        self,
        measure: Callable[[str, str], Awaitable[Likelihoods]],
        prompt: str,
        answer: str,
        checks: Sequence[CheckResult],
        weights: Mapping[str, float],
    ) -> None:
        self.errors: dict[str, CorralError] = {}
        self.doubt = 0.0
        self._checks, self._weights = checks, weights
        self._measured = asyncio.ensure_future(measure(prompt, answer))
        self._overall = 0.0

    async def ask(self, member: str, prompt: str) -> BaseModel:
        """Answer for one member; the prompt is not read, since the likelihoods are of the conversation itself."""
        try:
            found = await asyncio.shield(self._measured)
        except CorralError as error:
            self.errors[NAME] = error
            if member == "expert":
                return ExpertRating(stars=1, strength="", weakness="")
            return Opinion(dimension=member, score=0, own=0, reason="")
        if member == "expert":
            return expert_rating(self._overall, found)
        self.doubt = doubt(found)
        return self._opinion(member, found)

    def _opinion(self, dimension: str, found: Likelihoods) -> Opinion:
        own = own_score(dimension, found, self._checks)
        said = f"{NAME}: yes over no by {found.yes:+.2f}, gain {found.gain:+.2f} a token"
        score, lowered_by = cap(own, dimension, self._checks)
        self._overall += self._weights[dimension] * score
        reason = said if lowered_by is None else capped_reason(said, score, lowered_by)
        return Opinion(dimension=dimension, score=score, reason=shield(reason), own=own, said=said)

    def close(self) -> None:
        """Cancel the measurement, after the kickoff was cancelled."""
        self._measured.cancel()
