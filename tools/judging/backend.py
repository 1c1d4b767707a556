"""What answers for the members of a crew during one kickoff: an endpoint, with the text's checks.

An error never travels through CrewAI, whose own retries would turn one rate limit into 27 requests, and whose other
tasks would go on. It is kept here, the remaining members answer at once, and the caller reads it afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel

from state.errors import CallDeferred, CorralError
from state.records import CheckResult
from tools.checks import cap
from tools.endpoint.chat import ChatCall, ChatEndpoint
from tools.judging.answers import DimensionRating, ExpertRating, Opinion, PairChoice
from tools.judging.scoring import capped_reason
from tools.judging.subject import shield, unshield

TEMPERATURE = 0.2
"""Low, so that a judge is steady; above 0, so that repeated draws can disagree."""


_EMPTY: dict[str, BaseModel] = {
    "expert": ExpertRating(stars=1, strength="", weakness=""),
    "pair": PairChoice(better="tie", reason=""),
}
"""What members answer after an error, by member; the five judges give an empty opinion."""


class CrewBackend(Protocol):
    """What answers for a crew's members during one kickoff."""

    errors: dict[str, CorralError]
    """What went wrong, by member."""

    async def ask(self, member: str, prompt: str) -> BaseModel:
        """Answer for one member: an ``Opinion`` for a dimension, or what ``expert`` or ``pair`` must give."""
        ...


class EndpointBackend:
    """Asks an endpoint.

    Args:
        endpoint: the judge's model.
        checks: what was verified on the text.
        draw: which repetition this is.
        seed: of this repetition.
        max_tokens: completion tokens of one answer.
    """

    def __init__(
        self, endpoint: ChatEndpoint, checks: Sequence[CheckResult], *, draw: int, seed: int, max_tokens: int
    ) -> None:
        self.errors: dict[str, CorralError] = {}
        self._endpoint, self._checks = endpoint, checks
        self._draw, self._seed, self._max_tokens = draw, seed, max_tokens

    async def ask(self, member: str, prompt: str) -> BaseModel:
        """Answer for one member; after an error, with an empty answer that nobody will read."""
        # What waits for a batch is no fault: all judges are asked, so that one batch holds their calls. Whoever reads
        # their opinions is not.
        deferred = all(isinstance(error, CallDeferred) for error in self.errors.values())
        if not self.errors or (deferred and member not in _EMPTY):
            call = self._call(member, prompt)
            try:
                if member in _EMPTY:
                    return (await self._endpoint.complete_as(type(_EMPTY[member]), call))[0]
                return self._opinion(member, (await self._endpoint.complete_as(DimensionRating, call))[0])
            except CorralError as error:
                self.errors[member] = error
        return _EMPTY.get(member) or Opinion(dimension=member, score=0, own=0, reason="")

    def _call(self, member: str, prompt: str) -> ChatCall:
        return ChatCall(
            purpose=f"judge.{member}",
            messages=({"role": "user", "content": unshield(prompt)},),
            temperature=TEMPERATURE,
            max_tokens=self._max_tokens,
            seed=self._seed,
            draw=self._draw,
        )

    def _opinion(self, dimension: str, rating: DimensionRating) -> Opinion:
        score, lowered_by = cap(rating.score, dimension, self._checks)
        reason = rating.reason if lowered_by is None else capped_reason(rating.reason, score, lowered_by)
        return Opinion(dimension=dimension, score=score, reason=shield(reason), own=rating.score, said=rating.reason)
