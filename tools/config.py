"""A RunRequest from a YAML file and ``key=value`` settings; what is wrong is said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from state.errors import BadInput
from state.request import RunRequest


def load_request(path: Path | None, settings: Sequence[str] = (), *, openai_base_url: str | None = None) -> RunRequest:
    """Return the request of a file, with single settings over it.

    Args:
        path: a YAML file with the sections of ``RunRequest``; ``None`` for the defaults.
        settings: ``section.key=value``, the value in YAML.
        openai_base_url: the server of an endpoint that names a model and no ``base_url``; ``None`` leaves it embedded.

    Raises:
        BadInput: the file is missing or no YAML, a key is unknown, or a value out of bounds.
    """
    values = _read(path) if path else {}
    for setting in settings:
        _apply(values, setting)
    where = str(path) if path else "the request"
    _known_keys(values, RunRequest, "", where)
    if openai_base_url:
        _fill_urls(values, openai_base_url)
    try:
        return RunRequest.model_validate(values)
    except ValidationError as error:
        raise BadInput(f"{where}: {_first_fault(error)}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"there is no config file {path}; 'corral run' without one takes the defaults") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the config file {path} cannot be read: {error}") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise BadInput(f"{path}{line}: not valid YAML ({problem})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadInput(f"{path}: a config is a mapping of sections, not {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise BadInput(f"--set takes key=value, such as train.epochs=3, not {setting!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"--set {key}: {text!r} is not a YAML value") from error
    *sections, last = key.strip().split(".")
    place = values
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise BadInput(f"--set {key}: {section!r} is a value, not a section")
        place = inner
    place[last] = value


def _fill_urls(values: dict[str, Any], url: str) -> None:
    models = values.get("models")
    for endpoint in models.values() if isinstance(models, dict) else ():
        if isinstance(endpoint, dict) and "model" in endpoint:
            endpoint.setdefault("base_url", url)


def _known_keys(values: dict[str, Any], model: type[BaseModel], prefix: str, where: str) -> None:
    for key, value in values.items():
        if key not in model.model_fields:
            near = difflib.get_close_matches(str(key), model.model_fields, n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(model.model_fields)}"
            raise BadInput(f"{where}: unknown key {prefix}{key}; {hint}")
        inner = model.model_fields[key].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, dict):
            _known_keys(value, inner, f"{prefix}{key}.", where)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" + (f" (given: {fault['input']!r})" if place.count(".") else "")
