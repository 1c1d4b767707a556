"""Which model the environment names: ``OPENAI_*`` and ``OLLAMA_*``, for whoever names none."""

from __future__ import annotations

from urllib.parse import urlsplit

from state.request import Endpoint, RunRequest
from tools.settings import Settings

OPENAI, OPENAI_MODEL = "https://api.openai.com/v1", "gpt-4o-mini"
"""OpenAI's server, and the model there of a key that comes without one."""
OLLAMA = "http://127.0.0.1:11434/v1"
"""Where Ollama listens unless it was told otherwise."""


def named_model(settings: Settings) -> Endpoint | None:
    """Return the model that ``OPENAI_MODEL`` or ``OLLAMA_MODEL`` names; ``None`` where neither is set."""
    if settings.openai_model:
        return Endpoint(base_url=settings.openai_base_url, model=settings.openai_model)
    if settings.ollama_model:
        return Endpoint(base_url=ollama_url(settings), model=settings.ollama_model)
    return None


def model_at_hand(settings: Settings) -> Endpoint | None:
    """Return the model for a program that named none: the environment's, or the one that its key is for.

    A key alone means OpenAI's small model; with another ``OPENAI_BASE_URL`` it names no model, which is then asked for
    there (``ANY``). ``None`` without a key and a name.
    """
    if (named := named_model(settings)) is not None:
        return named
    if settings.openai_api_key is None:
        return None
    url = settings.openai_base_url
    return Endpoint(base_url=url, model=OPENAI_MODEL if urlsplit(url).hostname == urlsplit(OPENAI).hostname else ANY)


ANY = "first-listed"
"""In the place of a model's name: the first that the server lists."""


def ollama_url(settings: Settings) -> str:
    """Return Ollama's OpenAI-compatible URL, which ends in ``/v1``."""
    url = settings.ollama_base_url.rstrip("/") or OLLAMA
    return url if urlsplit(url).path else f"{url}/v1"


def with_server(spec: Endpoint, openai_base_url: str) -> Endpoint:
    """Return an endpoint that was given a model and no server with the environment's server."""
    given = spec.model_fields_set
    alone = "model" in given and not given & {"base_url"}
    return spec.model_copy(update={"base_url": openai_base_url}) if alone else spec


def with_environment(request: RunRequest, settings: Settings) -> RunRequest:
    """Return a request whose models are those that the environment names, as far as it says nothing itself.

    A model without a server is at ``OPENAI_BASE_URL``. Where the generator or the judge is not named at all, it is the
    model of ``OPENAI_MODEL`` or ``OLLAMA_MODEL``, if one is set. A key alone changes no run: who has one for other
    things would pay.
    """
    models, named = request.models, named_model(settings)
    said = models.model_fields_set if "models" in request.model_fields_set else set()
    found = {
        part: named if named is not None and part not in said else with_server(spec, settings.openai_base_url)
        for part, spec in (("generator", models.generator), ("judge", models.judge))
    }
    found["policy"] = with_server(models.policy, settings.openai_base_url)
    changed = {part: spec for part, spec in found.items() if spec is not getattr(models, part)}
    return request.model_copy(update={"models": models.model_copy(update=changed)}) if changed else request
