"""Questions to a person at an interrupt, in LangChain's human-in-the-loop form, and their answers.

LangGraph Studio, Agent Inbox and agent-chat-ui all render this form. Agent Inbox reads ``arguments`` where the others
read ``args``, so each action carries both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from state.names import POLICY
from state.records import DecisionKind, Ratings
from state.wording import number_of
from tools.people.decisions import BASIC, DECISIONS, consequences, decider_of
from tools.people.stars import read_ratings

_FROM_AGENT_INBOX = {word: kind for kind in DECISIONS for word in consequences(kind).agent_inbox}


class Action(BaseModel):
    """One item that a person decides on."""

    model_config = ConfigDict(extra="forbid")

    name: str
    args: dict[str, Any]
    description: str
    allowed: tuple[DecisionKind, ...] = BASIC
    editable: str = ""
    """The argument that an edit must carry, not blank; empty if any will do."""
    choices: tuple[str, ...] = ()
    """What that argument may be; empty if any text will do."""
    rated: bool = False
    """Whether a decision may carry ratings."""


class EditedAction(BaseModel):
    """The action as the person changed it."""

    name: str = ""
    args: dict[str, Any]


class Decision(BaseModel):
    """One decision; ``message`` is the person's comment. Ratings may stand in an edit's args, too."""

    model_config = ConfigDict(extra="forbid")

    type: DecisionKind
    edited_action: EditedAction | None = None
    message: str = ""
    ratings: Ratings = Field(default_factory=dict)

    @field_validator("ratings", mode="before")
    @classmethod
    def _in_any_form(cls, given: Any) -> Any:
        return read_ratings(given)

    @model_validator(mode="after")
    def _edit_has_args(self) -> Decision:
        if consequences(self.type).rewrites != (self.edited_action is not None):
            raise ValueError("an edit, and only an edit, carries edited_action: {name, args}")
        return self

    @property
    def stars(self) -> Ratings:
        """The ratings, where they stand in an edit's args, too.

        Raises:
            ValueError: those in the args cannot be read.
        """
        args = self.edited_action.args if self.edited_action else {}
        return self.ratings | read_ratings(args.get("ratings"))


class HumanAnswer(BaseModel):
    """The decisions on an interrupt's actions, in their order."""

    model_config = ConfigDict(extra="forbid")

    count: ClassVar[int] = 1
    actions: ClassVar[tuple[Action, ...]] = ()
    check: ClassVar[Callable[[HumanAnswer], object]] = staticmethod(lambda answer: None)
    decisions: list[Decision]
    reviewer: str = Field("unnamed", min_length=1)
    """Who decided."""

    @model_validator(mode="before")
    @classmethod
    def _other_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"decisions": [{"type": value}] * cls.count}
        if isinstance(value, list):
            return {"decisions": [_from_agent_inbox(item) for item in value]}
        return value

    @field_validator("reviewer")
    @classmethod
    def _is_a_person(cls, name: str) -> str:
        if decider_of(name) == "policy":
            raise ValueError(f"a person's name cannot begin with {POLICY!r}, which is a policy's")
        return name

    @model_validator(mode="after")
    def _one_each(self) -> HumanAnswer:
        if len(self.decisions) != self.count:
            raise ValueError(f"{number_of(self.count, 'decision')} asked, {len(self.decisions)} given")
        pairs = list(enumerate(zip(self.decisions, self.actions, strict=False), 1))
        for number, (decision, action) in pairs:
            if decision.type not in action.allowed:
                raise ValueError(f"decision {number} must be one of {', '.join(action.allowed)}, not {decision.type}")
        for number, (decision, action) in pairs:
            if fault := _fault(decision, action):
                raise ValueError(f"decision {number} {fault}")
        type(self).check(self)
        return self


def question(actions: list[Action]) -> dict[str, Any]:
    """Return the interrupt's value for these actions."""
    return {
        "action_requests": [
            {"name": a.name, "args": a.args, "arguments": a.args, "description": a.description} for a in actions
        ],
        "review_configs": [{"action_name": a.name, "allowed_decisions": list(a.allowed)} for a in actions],
    }


def answer_schema(actions: list[Action], check: Callable[[HumanAnswer], object] | None = None) -> type[HumanAnswer]:
    """Return the schema that an answer to ``question(actions)`` must fit.

    Args:
        actions: what is asked.
        check: raises a ``ValueError`` that says what is wrong with an answer of the right form, such as a sum of money.

    It also takes a bare ``"approve"`` or ``"reject"`` for all actions, and Agent Inbox's list of
    ``{"type": "accept" | "edit" | "ignore" | "response", "args": ...}``.
    """
    limits: dict[str, Any] = {
        "check": staticmethod(check or (lambda answer: None)),
        "count": len(actions),
        "actions": tuple(actions),
        "__module__": __name__,
    }
    return type("HumanAnswer", (HumanAnswer,), limits | {"__annotations__": {}})


def _fault(decision: Decision, action: Action) -> str:
    """Return what is wrong with a decision of an allowed kind; nothing where it fits."""
    name = action.editable
    if decision.edited_action and name:
        given = decision.edited_action.args.get(name)
        if not isinstance(given, str | int | float) or not str(given).strip():
            return f"is an edit, so its args must hold {name!r}, and not a blank one"
        if action.choices and str(given).strip().lower() not in action.choices:
            return f"must have one of {', '.join(action.choices)} as {name!r}, not {given!r}"
    try:
        stars = decision.stars if action.rated else decision.ratings
    except ValueError as error:
        return f"cannot be read: {error}"
    return "has ratings, and nothing is rated here" if stars and not action.rated else ""


def _from_agent_inbox(item: Any) -> Any:
    if not isinstance(item, dict) or (kind := _FROM_AGENT_INBOX.get(str(item.get("type")))) is None:
        return item
    args = item.get("args")
    if consequences(kind).rewrites and isinstance(args, dict):
        return {"type": kind, "edited_action": {"name": args.get("action", ""), "args": args.get("args", {})}}
    if "edited_action" in item or "message" in item:
        return item
    return {"type": kind, "message": args if isinstance(args, str) else ""}
