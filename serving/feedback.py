"""What people say of an answer that was served: stars or a thumb, a comment, the answer as it should have been."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from graph.served import MOST_CHARACTERS, give_feedback
from serving.access import Who, settings_of, who
from serving.chat.errors import OpenAIRoute
from serving.services import OpenRuns
from state.errors import BadInput
from state.feedback import Feedback
from state.names import POLICY

router = APIRouter(route_class=OpenAIRoute, dependencies=[Depends(who)], max_body_size=16 * MOST_CHARACTERS)


class GivenFeedback(BaseModel):
    """The body of ``POST /feedback``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    id: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
    """Of the answer, as the chat API gave it."""
    stars: Annotated[int | None, Field(ge=1, le=5, strict=True)] = None
    """1 to 5."""
    thumb: Literal["up", "down"] | None = None
    """In the place of stars; ``up`` counts as four stars, ``down`` as two."""
    comment: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""
    """In the rater's words."""
    corrected: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""
    """The answer as it should have been."""
    user: Annotated[str, Field(max_length=200)] = ""
    """Who says it, where one token stands for several people."""


@router.post("/feedback")
async def receive(given: GivenFeedback, request: Request, caller: Who, runs: OpenRuns) -> Feedback:
    """Keep what the caller says of an answer, and return what is kept; the same sent again changes nothing.

    Raises:
        UnknownAnswer: no such answer was served, or its text was withdrawn.
        BadInput: nothing is said.
    """
    return await give_feedback(
        runs.services,
        given.id,
        rater_of(caller, given.user, shared=bool(settings_of(request).serve_tokens)),
        stars=given.stars,
        thumb=given.thumb,
        comment=given.comment,
        corrected=given.corrected,
    )


def rater_of(caller: str, user: str, *, shared: bool) -> str:
    """Return who rates: the caller, or a user of the caller's.

    Args:
        caller: the name behind the token, or on this machine.
        user: whom the caller names; empty for the caller.
        shared: whether the caller is known by a token, whose name then stands before the user's.
    """
    if not user.strip():
        return caller
    if not user.isprintable() or user.strip().startswith(POLICY):
        raise BadInput(f"user: a person's name has visible characters alone, and does not begin with {POLICY!r}")
    return f"{caller}/{user.strip()}" if shared else user.strip()
