"""An endpoint that tells of each answer, for the progress of items that take several calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel

from state.errors import CallDeferred
from state.pipeline import RateLimits
from tools.endpoint.chat import (
    Capabilities,
    ChatCall,
    ChatEndpoint,
    Completion,
    Fault,
    Likelihood,
    LikelihoodCall,
)

T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")


class TellingEndpoint:
    """The same endpoint, which tells when a call has ended, well or not.

    Args:
        endpoint: what answers.
        answered: is called after each call, in the event loop.
    """

    def __init__(self, endpoint: ChatEndpoint, answered: Callable[[], None]) -> None:
        self._endpoint, self._answered = endpoint, answered
        self.model = endpoint.model

    @property
    def server(self) -> str:
        """Where it answers, as ``base_url`` says; empty for a model on this machine."""
        return self._endpoint.server

    @property
    def can(self) -> Capabilities:
        """What its transport can do."""
        return self._endpoint.can

    @property
    def limits(self) -> RateLimits:
        """What is left of the server's rate limits, as it last reported."""
        return self._endpoint.limits

    async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
        """Answer a call; see ``ChatEndpoint.complete``."""
        return await self._telling(self._endpoint.complete(call, fault))

    async def complete_as(self, schema: type[T], call: ChatCall) -> tuple[T, Completion]:
        """Answer with an instance of ``schema``; see ``ChatEndpoint.complete_as``."""
        return await self._telling(self._endpoint.complete_as(schema, call))

    async def likelihood(self, call: LikelihoodCall) -> Likelihood:
        """Return how likely the model finds a text; see ``ChatEndpoint.likelihood``."""
        return await self._telling(self._endpoint.likelihood(call))

    async def _telling(self, answer: Awaitable[R]) -> R:
        try:
            found = await answer
        except CallDeferred:
            raise  # it has not ended
        except BaseException:
            self._answered()
            raise
        self._answered()
        return found
