"""What is served is kept, so that feedback is tied to the version, prompt and answer that were really served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from graph.services import Services
from state.errors import BadInput, UnknownAnswer
from state.feedback import THUMBS, Feedback, Message, ServedAnswer, feedback_id
from tools.files import writable

MOST_CHARACTERS = 100_000
"""Of a comment or a corrected answer."""


async def record_answer(
    services: Services,
    answer_id: str,
    *,
    version: str,
    messages: Iterable[Mapping[str, str]],
    text: str,
    user: str = "",
    arm: Literal["current", "canary", ""] = "",
    ended: bool = True,
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
) -> str:
    """Keep an answer that was served, and return its id; the same id again changes nothing.

    Args:
        services: the process's.
        answer_id: the answer's id in the API.
        version: the registry's version that wrote it, or ``base``.
        messages: what was asked, each with ``role`` and ``content``.
        text: what was answered, as far as it was sent.
        user: who asked.
        arm: what the version was while a canary was open.
        ended: whether the model ended by itself.
        prompt_tokens: of the messages.
        completion_tokens: of the text.

    Raises:
        StorageError: the database cannot be written.
    """
    answer = ServedAnswer(
        id=answer_id,
        version=version,
        messages=tuple(Message(role=m["role"], content=writable(m["content"])) for m in messages),
        text=writable(text),
        user=user,
        arm=arm,
        ended=ended,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        served_at=datetime.now(UTC),
    )
    await services.feedback.add_answer(answer)
    return answer_id


async def give_feedback(
    services: Services,
    answer_id: str,
    rater: str,
    *,
    stars: int | None = None,
    thumb: Literal["up", "down"] | None = None,
    comment: str = "",
    corrected: str = "",
) -> Feedback:
    """Keep what a rater says of an answer that was served, and return what is kept.

    Args:
        services: the process's.
        answer_id: the served answer's.
        rater: who says it.
        stars: 1 to 5.
        thumb: in the place of stars.
        comment: in the rater's words.
        corrected: the answer as it should have been.

    Raises:
        UnknownAnswer: no such answer was served, or its text was withdrawn.
        BadInput: nothing is said, stars and a thumb are both given, or a text is too long.
        StorageError: the database cannot be read or written.
    """
    if stars is not None and thumb is not None:
        raise BadInput("give stars or a thumb, not both")
    if stars is None and thumb is None and not comment.strip() and not corrected.strip():
        raise BadInput("nothing is said: give stars (1 to 5), a thumb (up or down), a comment or a corrected answer")
    if longest := next(
        (n for n, t in (("comment", comment), ("corrected", corrected)) if len(t) > MOST_CHARACTERS), ""
    ):
        raise BadInput(f"{longest} has more than {MOST_CHARACTERS:,} characters")
    answer = (await services.feedback.answers([answer_id])).get(answer_id)
    if answer is None or answer.withdrawn:
        raise UnknownAnswer(f"no answer {answer_id!r} was served here, or its text was withdrawn")
    given = Feedback(
        id=feedback_id(answer_id, rater),
        answer_id=answer_id,
        version=answer.version,
        arm=answer.arm,
        rater=rater,
        stars=THUMBS[thumb] if thumb else stars,
        thumb=thumb,
        comment=writable(comment.strip()),
        corrected=writable(corrected.strip()),
        given_at=datetime.now(UTC),
    )
    return await services.feedback.add_feedback(given)
