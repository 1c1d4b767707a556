"""``corral init``: which endpoint is at hand, and a first config for it."""

from __future__ import annotations

import asyncio
from typing import Literal, assert_never

import yaml

from state.errors import BadInput, CorralError
from state.records import Record
from state.request import EMBEDDED, Endpoint
from tools.endpoint import probe
from tools.settings import Settings

EndpointKind = Literal["embedded", "openai", "ollama", "url", "langchain"]

OLLAMA, VLLM = "http://127.0.0.1:11434/v1", "http://127.0.0.1:8000/v1"
"""Where each listens unless it was told otherwise."""
OPENAI_MODEL = "gpt-4o-mini"
SECONDS = 2.0
"""How long a server on this machine may take to say which models it has."""


class AtHand(Record):
    """An endpoint that this machine can use now, as far as can be seen for nothing."""

    kind: EndpointKind
    base_url: str
    model: str
    """The first that the server has; empty where it is not known."""
    found: str
    """Why it is thought to be there, in words."""


async def look_around(settings: Settings) -> list[AtHand]:
    """Return the endpoints at hand, the best first; the embedded model is always there. Nothing is spent."""
    servers = await asyncio.gather(_server("ollama", OLLAMA, settings), _server("url", VLLM, settings))
    found = [one for one in servers if one is not None]
    if settings.openai_api_key is not None:
        url = settings.openai_base_url
        model = OPENAI_MODEL if "api.openai.com" in url else ""
        found.insert(0, AtHand(kind="openai", base_url=url, model=model, found="OPENAI_API_KEY is set"))
    small = "the small model that comes with Corral: free, and writes and judges poorly"
    return [*found, AtHand(kind="embedded", base_url=EMBEDDED, model="", found=small)]


async def _server(kind: EndpointKind, url: str, settings: Settings) -> AtHand | None:
    spec = Endpoint(base_url=url, model="any", timeout=SECONDS, attempts=1)
    try:
        async with asyncio.timeout(SECONDS):
            models = (await probe(spec, settings, any_model=True)).models
    except (CorralError, TimeoutError):
        return None
    return AtHand(kind=kind, base_url=url, model=next(iter(models), ""), found=f"a server answers at {url}")


def endpoint_of(kind: EndpointKind, base_url: str | None, model: str | None, around: list[AtHand]) -> Endpoint:
    """Return the endpoint that a person named, completed by what is at hand.

    Args:
        kind: what was chosen.
        base_url: its URL, if given.
        model: its model, if given.
        around: what ``look_around`` found.

    Raises:
        BadInput: a URL or a model is needed and not known, or does not fit.
    """
    here = next((one for one in around if one.kind == kind), None)
    match kind:
        case "embedded":
            if base_url or model:
                raise BadInput("the embedded endpoint is one model: it takes neither --url nor --model")
            return Endpoint()
        case "openai" | "ollama" | "url":
            usual = {"openai": "https://api.openai.com/v1", "ollama": OLLAMA}.get(kind)
            base_url = base_url or (here.base_url if here else usual)
            model = model or (here.model if here and here.base_url == base_url else "")
            model = model or (OPENAI_MODEL if kind == "openai" and base_url == usual else "")
        case "langchain":
            if base_url:
                raise BadInput("a model of LangChain has no --url; name it with --model, such as anthropic:NAME")
            base_url = "langchain"
        case _:
            assert_never(kind)
    if not base_url or not base_url.startswith(("http://", "https://", "langchain")):
        raise BadInput(f"--url is a server's URL such as {VLLM}, not {base_url!r}")
    if not model:
        example = "anthropic:NAME" if kind == "langchain" else "the name that the server knows it by"
        raise BadInput(f"--endpoint {kind} needs --model: {example}")
    return Endpoint(base_url=base_url, model=model)


def config_text(spec: Endpoint) -> str:
    """Return a commented config whose generator and judge are this endpoint.

    It says which model does each part, so that none falls to the embedded one in silence.
    """
    small = spec == Endpoint()
    paid = not small and "127.0.0.1" not in spec.base_url and "localhost" not in spec.base_url
    named = {"base_url": spec.base_url} if small else {"base_url": spec.base_url, "model": spec.model}
    if spec.model == OPENAI_MODEL and "api.openai.com" in spec.base_url:
        named |= {"input_price": 0.15, "output_price": 0.60}  # type: ignore[dict-item]  # a number among texts
    flow = yaml.safe_dump(named, default_flow_style=True, sort_keys=False, width=1000).strip()
    return f"""\
# A run of Corral. 'corral settings' lists every setting; what is not set here has its default.
#   corral doctor THIS.yaml            are the servers, files and weights there?
#   corral run THIS.yaml --preview 5   a few rows, before anything is trained
#   corral run THIS.yaml
name: run

models:
  generator: {flow}   # writes instructions
  judge: {flow}   # judges answers
{SMALL if small else PRICES if paid else ""}\
  base: embedded   # the model to train, which answers, too: 'embedded', a folder of weights, or a name on the hub

budget:
  dollars: {5.0 if paid else "null"}   # a call that would pass it is not made: the run asks for more. null: no cap

generation:
  target: 24   # instructions to write, beside the prompts given below; 0 for none

sources:
  # prompt_limit: 100                  # take only the first so many of the prompts
  # prompts: my_prompts.jsonl          # yours: {{"prompt": "...", "checks": [...]}}, one a line
  # seeds: my_seed_tasks.jsonl         # yours: examples for the instructions that are written

# unattended: true                     # never wait for a person: a named policy decides
"""


SMALL = """\
  # The embedded model of 135M parameters is free and needs no key, but writes and judges poorly. A better one:
  #   generator: {base_url: "https://api.openai.com/v1", model: gpt-4o-mini}
"""
PRICES = """\
  # input_price and output_price, in dollars for a million tokens, are what the cap is reckoned with.
"""
