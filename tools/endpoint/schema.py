"""Answers as JSON of a pydantic model: the schema that is sent, how the answer is read, and the second question."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tools.endpoint.chat import ChatCall, Completion, Message
from tools.endpoint.json_answers import one_object

T = TypeVar("T", bound=BaseModel)

SHOWN = 1000
"""Characters of a wrong answer that are shown to the model again: small models have small windows."""
PROBLEMS = 4
"""The most problems that are named at a time."""


@lru_cache(maxsize=256)
def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's JSON schema in the strict form of OpenAI's structured outputs.

    Every object is closed and all its fields are required; defaults and titles are left out.
    """
    return _strict(model.model_json_schema())  # type: ignore[no-any-return]  # an object's schema is an object


def _strict(schema: Any, *, named: bool = False) -> Any:
    """Return a schema, or with ``named`` a mapping of names to schemas, in strict form."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if named:
        return {name: _strict(part) for name, part in schema.items()}
    kept = {
        keyword: value if keyword in ("enum", "const") else _strict(value, named=keyword in ("properties", "$defs"))
        for keyword, value in schema.items()
        if keyword not in ("default", "title")
    }
    if "properties" in kept:
        kept |= {"additionalProperties": False, "required": list(kept["properties"])}
    return kept


def read_answer(model: type[T], completion: Completion) -> T | str:
    """Return the answer as an instance of the model, or what is wrong with it, in words for the model.

    The one object in the text counts, see ``one_object``; keys that the model does not have are left out. A text
    without any object is read by the model itself, where it has a method ``in_words``.
    """
    found = None
    if completion.finish_reason != "length":
        found = one_object(completion.text, model.model_fields.keys())
        if found is None and "{" not in completion.text and (in_words := getattr(model, "in_words", None)):
            found = in_words(completion.text)
    if found is None:
        return _nothing_to_read(completion)
    known = {name: value for name, value in found.items() if name in model.model_fields}
    try:
        return model.model_validate(known)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)[:PROBLEMS]
        return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'the whole'}: {p['msg']}" for p in problems)


def _nothing_to_read(completion: Completion) -> str:
    match completion.finish_reason:
        case "length":
            return "it was cut off before its end; be much shorter"
        case "refusal":
            return "it is no JSON but a refusal"
        case _:
            return "there is no JSON object of the schema in it, or more than one"


def second_question(call: ChatCall, completion: Completion, problem: str) -> ChatCall:
    """Return the call that shows the model its answer and what is wrong with it."""
    shown = completion.text[:SHOWN] or "(nothing)"
    correction = (
        f"That answer cannot be used: {problem}. Answer again, with the JSON object alone, and let it fit the schema."
    )
    turns = (Message(role="assistant", content=shown), Message(role="user", content=correction))
    return call.model_copy(update={"messages": (*call.messages, *turns)})
