"""What the judging tests share: an endpoint behind a real ledger, and one that is a function."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from state.calls import CallStore
from state.database import Database
from state.errors import AnswerInvalid, CallRefused
from state.pipeline import RateLimits
from state.request import Endpoint
from tools.endpoint.chat import ChatCall, Completion, Fault, Likelihood, LikelihoodCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import HttpTransport

T = TypeVar("T", bound=BaseModel)


@asynccontextmanager
async def ledgered(url: str, folder: Path, **spec: Any) -> AsyncIterator[LedgeredEndpoint]:
    """Open the real client on a scripted server, over a SQLite ledger."""
    database = Database(f"sqlite:///{folder / 'judging.db'}")
    await database.create()
    endpoint = Endpoint.model_validate({"base_url": url, "model": "scripted", "attempts": 2, "timeout": 5} | spec)
    yield LedgeredEndpoint(HttpTransport(url), CallStore(database), endpoint, "run")
    await database.close()


class FunctionEndpoint:
    """An endpoint whose answers are a function of the call: text, or an error to raise."""

    def __init__(self, answer: Callable[[ChatCall], dict[str, Any] | Exception], model: str = "scripted") -> None:
        self.model = model
        self.server = ""
        self.limits = RateLimits()
        self.can = HttpTransport.can
        self.calls: list[ChatCall] = []
        self.ended = 0
        self.latency = 0.0
        self._answer = answer

    async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
        self.calls.append(call)
        await asyncio.sleep(self.latency)
        answer = self._answer(call)
        self.ended += 1
        if isinstance(answer, Exception):
            raise answer
        return Completion(text=json.dumps(answer), finish_reason="stop", key=call.key("test", self.model))

    async def likelihood(self, call: LikelihoodCall) -> Likelihood:
        raise CallRefused("a function tells no likelihoods")

    async def complete_as(self, schema: type[T], call: ChatCall) -> tuple[T, Completion]:
        completion = await self.complete(call)
        try:
            return schema.model_validate_json(completion.text), completion
        except ValidationError as error:
            raise AnswerInvalid("twice wrong") from error


def fixed_answers(score: int = 80, stars: int = 4) -> Callable[[ChatCall], dict[str, Any]]:
    """Return an answer function that always gives this score and these stars."""

    def answer(call: ChatCall) -> dict[str, Any]:
        if call.purpose == "judge.expert":
            return {"stars": stars, "strength": "to the point", "weakness": "a little dry"}
        return {"score": score, "reason": "as asked"}

    return answer


def number_in(text: str) -> int:
    """Return the number after ``worth`` in a text."""
    found = re.search(r"worth (\d+)", text)
    assert found is not None
    return int(found[1])
