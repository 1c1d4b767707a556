"""Every setting of a run and of the environment, as their models describe them: kind, bounds, default, docstring."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from state.errors import BadInput
from state.records import Record
from state.request import RunRequest
from tools.settings import Settings

KINDS: dict[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text"}
LIMITS = {Gt: ("above", "gt"), Ge: ("at least", "ge"), Lt: ("below", "lt"), Le: ("at most", "le")}


class Described(Record):
    """One setting."""

    key: str
    """Its dotted path in a config, or its name in the environment."""
    kind: str
    """What it takes, in words."""
    bounds: str
    """Its bounds, in words; empty where it has none."""
    default: str
    """Its default, as YAML writes it."""
    text: str
    """What it does; the docstring of its field."""


def all_settings() -> list[Described]:
    """Return every setting: a run's, in the order of its config, then the environment's."""
    return [*_of_section(RunRequest, RunRequest(), ""), *_of_environment()]


def find_settings(key: str | None) -> list[Described]:
    """Return the setting of that name, or the group that it heads; all of them for ``None``.

    Raises:
        BadInput: there is no such setting; the nearest one is named.
    """
    known = all_settings()
    found = [one for one in known if key is None or one.key == key or one.key.startswith(f"{key.rstrip('.')}.")]
    if key is not None and not found:
        names = {one.key for one in known}
        groups = {name.rpartition(".")[0] for name in names} - {""}
        last = {name.rpartition(".")[2]: name for name in sorted(names)}
        near = difflib.get_close_matches(key, names | groups, n=1) or [
            last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1)
        ]
        hint = f"did you mean {near[0]}?" if near else "'corral settings' lists all"
        raise BadInput(f"there is no setting {key!r}; {hint}")
    return found


def _of_section(model: type[BaseModel], defaults: BaseModel, prefix: str) -> Iterator[Described]:
    for name, field in model.model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, BaseModel):
            yield from _of_section(type(value), value, f"{prefix}{name}.")
        else:
            yield _described(f"{prefix}{name}", field, json.dumps(value))


def _of_environment() -> Iterator[Described]:
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        names = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]
        default = "see below" if field.default is PydanticUndefined else "none"
        if field.default is not PydanticUndefined and field.default is not None:
            default = json.dumps(field.default) if isinstance(field.default, bool) else str(field.default)
        one = _described(names[0], field, default)
        others = f"\nAlso read as {', '.join(names[1:])}." if names[1:] else ""
        yield one.model_copy(update={"text": one.text + others})


def _described(key: str, field: FieldInfo, default: str) -> Described:
    text = (field.description or "").replace("``", "")
    return Described(key=key, kind=_kind(field.annotation), bounds=_bounds(field), default=default, text=text)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join("null" if one is type(None) else _kind(one) for one in get_args(annotation))
    if get_origin(annotation) is dict:
        return "a mapping"
    if get_origin(annotation) is tuple:
        return f"a list of {_kind(get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a mapping with " + ", ".join(annotation.model_fields)
    return KINDS.get(annotation, "text")


def _bounds(field: FieldInfo) -> str:
    said = [
        f"{words} {getattr(limit, attribute):,}"
        for limit in field.metadata
        for kind, (words, attribute) in LIMITS.items()
        if isinstance(limit, kind)
    ]
    said += [f"at least {limit.min_length} character" for limit in field.metadata if isinstance(limit, MinLen)]
    patterns = [str(limit.pattern) for limit in field.metadata if getattr(limit, "pattern", None)]
    return ", ".join([*said, *(f"matching {pattern}" for pattern in patterns)])
