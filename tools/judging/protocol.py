"""What this process and that of the crews tell each other: one JSON line each; ``type`` says which."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from state.records import Record
from tools.judging.wording import Panel

Kind = Literal["JudgingCrew", "PairCrew"]
"""The classes in ``tools.judging.crew``."""


class NewPanel(Record):
    """A panel, once before the first kickoff of a crew of it."""

    type: Literal["panel"] = "panel"
    key: str
    panel: Panel


class KickOff(Record):
    """A crew is to be kicked off."""

    type: Literal["kick_off"] = "kick_off"
    number: int
    """All that is said about this kickoff has it."""
    kind: Kind
    panel: str
    """Its key."""
    subject: str


class Answer(Record):
    """What a model said to the prompt of a member."""

    type: Literal["answer"] = "answer"
    number: int
    member: str
    fields: dict[str, Any]
    """Those of an ``Opinion``, ``ExpertRating`` or ``PairChoice``."""


class Cancel(Record):
    """Nobody waits for this kickoff any more."""

    type: Literal["cancel"] = "cancel"
    number: int


class Ask(Record):
    """A member asks its model."""

    type: Literal["ask"] = "ask"
    number: int
    member: str
    prompt: str


class Said(Record):
    """What a crew said at its end."""

    type: Literal["said"] = "said"
    number: int
    fields: dict[str, Any]
    """Those of a ``Draw`` or a ``PairChoice``."""


class Failed(Record):
    """A crew, or the whole process, failed."""

    type: Literal["failed"] = "failed"
    number: int
    reason: str


ToCrews = NewPanel | KickOff | Answer | Cancel
FromCrews = Ask | Said | Failed
_TO_CREWS: TypeAdapter[ToCrews] = TypeAdapter(Annotated[ToCrews, Field(discriminator="type")])
_FROM_CREWS: TypeAdapter[FromCrews] = TypeAdapter(Annotated[FromCrews, Field(discriminator="type")])


def line_of(message: ToCrews | FromCrews) -> bytes:
    r"""Return a message as a line of ASCII. Pydantic's own JSON cannot hold half a surrogate pair, which a text may."""
    return json.dumps(message.model_dump()).encode() + b"\n"


def to_crews(line: bytes) -> ToCrews:
    """Return the message of a line that goes to the crews."""
    return _TO_CREWS.validate_python(json.loads(line))


def from_crews(line: bytes) -> FromCrews:
    """Return the message of a line that comes from the crews."""
    return _FROM_CREWS.validate_python(json.loads(line))


def fields_of(model: BaseModel) -> dict[str, Any]:
    """Return all fields of an answer, those of an opinion that its JSON keeps from the expert among them."""
    return {name: _plain(value) for name, value in model}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return fields_of(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
