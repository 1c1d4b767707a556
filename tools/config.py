"""A RunRequest from a YAML file and ``key=value`` settings; what is wrong is said in one line."""

from __future__ import annotations

import copy
import difflib
import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from state.compatibility import present_name, with_present_names
from state.errors import BadInput
from state.faults import first_fault
from state.request import RunRequest
from tools.settings import load_settings
from tools.shipped import find_file
from tools.visible import one_line

logger = logging.getLogger(__name__)


def load_request(path: Path | None, settings: Sequence[str] = (), *, openai_base_url: str | None = None) -> RunRequest:
    """Return the request of a file, with single settings over it.

    What an earlier version called otherwise is read, with a warning.

    Args:
        path: a YAML file with the sections of ``RunRequest``, or ``seeds:NAME`` for one that comes with Corral;
            ``None`` for the defaults.
        settings: ``section.key=value``, the value in YAML.
        openai_base_url: the server of an endpoint with a model and no ``base_url``; by default the environment's.

    Raises:
        BadInput: the file is missing or is not YAML, a key is unknown, or a value is out of bounds.
    """
    values = _renamed(_read(path), RunRequest) if path else {}
    server = openai_base_url or load_settings().openai_base_url
    where = str(path) if path else "the request"

    def request_with(taken: Sequence[str]) -> RunRequest:
        whole = copy.deepcopy(values)
        for setting in taken:
            _apply(whole, setting)
        return read_request(whole, where, server)

    try:
        return request_with(settings)
    except BadInput as error:
        said = str(error).removeprefix(f"{where}: ")
        if said != str(error) and (key := _at_fault(request_with, settings)):
            raise BadInput(f"--set {key}: {said.removeprefix(f'{key}: ')}") from error
        raise


def _at_fault(request_with: Callable[[Sequence[str]], object], settings: Sequence[str]) -> str:
    """Return the key of the first setting with which a request cannot be read; empty where the file alone cannot."""
    for count in range(len(settings) + 1):
        try:
            request_with(settings[:count])
        except BadInput:
            return settings[count - 1].partition("=")[0] if count else ""
    return ""


def read_request(values: Any, where: str, openai_base_url: str | None = None) -> RunRequest:
    """Return the request in a mapping of sections, such as a config file's or a client's JSON.

    Args:
        values: the sections.
        where: what the mapping is called in an error.
        openai_base_url: the server of an endpoint with a model and no ``base_url``; without it, the embedded one.

    Raises:
        BadInput: it is no mapping, a key is unknown, or a value is out of bounds.
    """
    if not isinstance(values, dict):
        raise BadInput(f"{where}: a request is a mapping of sections, not {type(values).__name__}")
    values = copy.deepcopy(_renamed(values, RunRequest))
    _known_keys(values, RunRequest, "", where)
    if openai_base_url:
        _fill_urls(values, openai_base_url)
    try:
        return RunRequest.model_validate(values)
    except ValidationError as error:
        raise BadInput(f"{where}: {first_fault(error)}") from error


def with_settings(request: RunRequest, settings: Sequence[str]) -> RunRequest:
    """Return a request with single settings over it.

    Args:
        request: stays as it is.
        settings: ``section.key=value``, the value in YAML.

    Raises:
        BadInput: a key is unknown, or a value is out of bounds.
    """
    values = request.model_dump(mode="json", exclude_unset=True)
    for setting in settings:
        _apply(values, setting)
    return read_request(values, "the request")


def left_to_the_small_model(request: RunRequest, *parts: str) -> list[str]:
    """Return a line for each part that nobody named a model for, so that the embedded one takes it.

    Args:
        request: as it was read; one from the store names every model.
        *parts: the models that will be asked: ``generator``, ``judge``.
    """
    named = request.models.model_fields_set if "models" in request.model_fields_set else set()
    does = {"generator": "writes the instructions", "judge": "judges the answers"}
    asked = [part for part in parts if part != "generator" or request.generation.target]
    return [
        f"models.{part} is not set, so the embedded model of 135M parameters {does[part]}, and does so poorly; "
        "name a model, or set base_url: embedded to mean it ('corral init' writes a config)"
        for part in asked
        if part not in named
    ]


def _read(path: Path) -> dict[str, Any]:
    path = find_file(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"there is no config file {path}; 'corral init' writes one") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"the config file {path} cannot be read: it is no text; a config is YAML") from error
    except OSError as error:
        raise BadInput(f"the config file {path} cannot be read: {error}") from error
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        deep = "nested too deeply" if isinstance(error, RecursionError) else ""
        problem = deep or getattr(error, "problem", None) or str(error).split("\n")[0]
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
    except (yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"--set {key}: {text!r} is not a YAML value") from error
    parts = key.strip().split(".")
    for part in reversed(parts):
        value = {part: value}
    _put(values, _renamed(value, RunRequest), len(parts), f"--set {key}")


def _put(place: dict[str, Any], setting: dict[str, Any], depth: int, where: str) -> None:
    """Put the one value that stands ``depth`` keys down in ``setting`` into its place."""
    for name, value in setting.items():
        if depth == 1:
            place[name] = value
            continue
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise BadInput(f"{where}: {name!r} is a value, not a section")
        _put(inner, value, depth - 1, where)


def _renamed(values: dict[str, Any], model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Return a section's values under their present names, and tell the person of each former one."""
    for name in values:
        present = present_name(model.__name__, name)
        if present != name:
            _tell(f"{prefix}{name}", present and f"{prefix}{present}")
    return {
        name: _renamed(value, section, f"{prefix}{name}.")
        if isinstance(value, dict) and (section := _section(model, name))
        else value
        for name, value in with_present_names(model.__name__, values).items()
        if value is not None or _section(model, name) is None  # a section whose lines are all comments
    }


@cache
def _tell(former: str, present: str | None) -> None:
    """Warn of a former name, once a process."""
    logger.warning(
        f"{former} is called {present} now" if present else f"{former} is no setting any more, and is passed over"
    )


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


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
            raise BadInput(f"{where}: unknown key {one_line(f'{prefix}{key}')}; {hint}")
        if isinstance(value, dict) and (section := _section(model, key)):
            _known_keys(value, section, f"{prefix}{key}.", where)
