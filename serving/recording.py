"""What the chat API answers is kept and measured, and a user who asks for ``current`` may be served the canary."""

from __future__ import annotations

import asyncio
import logging

from graph.runs import Runs
from graph.served import record_answer
from serving.chat.service import Answered, Arm, Chat
from serving.meters import Meters
from state.errors import CorralError
from tools.engine.asked import CURRENT
from tools.improvement.canary import served_version

logger = logging.getLogger(__name__)


def record_answers(chat: Chat, runs: Runs, meters: Meters) -> None:
    """Keep and measure every answer of a chat, and choose the version of those who ask for ``current``.

    An answer that cannot be kept was still served: the log says so, and no feedback on it is taken.
    """
    registry = runs.services.registry

    async def keep(answered: Answered) -> None:
        meters.answered(
            answered.version,
            seconds=answered.seconds,
            first_token_seconds=answered.first_token_seconds,
            prompt_tokens=answered.prompt_tokens,
            completion_tokens=answered.completion_tokens,
        )
        for choice, text in enumerate(answered.texts):
            try:
                await record_answer(
                    runs.services,
                    id_of(answered.id, choice),
                    version=answered.version,
                    messages=answered.asked.turns,
                    text=text,
                    user=answered.user,
                    arm=answered.arm,
                    ended=answered.finishes[choice] == "stop",
                    prompt_tokens=answered.prompt_tokens,
                    completion_tokens=answered.completion_tokens if choice == 0 else 0,
                )
            except CorralError as error:
                logger.warning("an answer could not be kept", extra={"answer": answered.id, "error": str(error)})

    async def choose(model: str, user: str) -> tuple[str, Arm]:
        if model != CURRENT:
            return model, ""
        try:
            version, arm = await asyncio.to_thread(served_version, registry, user)
        except CorralError as error:
            logger.warning("the canary cannot be read; all get the current version", extra={"error": str(error)})
            return model, ""
        # Without a canary the engine says what is current: a version counts from when it is in memory.
        return (version, arm) if version and arm else (model, "")

    chat.listeners.append(keep)
    chat.choose = choose
    meters.watch_queue(lambda: chat.admission.waiting, lambda: chat.admission.working)
    meters.load_seconds.set_function(lambda: getattr(chat.engine, "load_seconds", 0.0))


def id_of(answer: str, choice: int) -> str:
    """Return the id by which feedback names one of several answers to a request: the first has the request's own."""
    return f"{answer}-{choice}" if choice else answer
