"""``corral init``: which endpoint is at hand, and a first config for it."""

from __future__ import annotations

import asyncio
from typing import Literal, assert_never
from urllib.parse import urlsplit

import yaml

from state.errors import BadInput, CorralError
from state.extras import demand_extra, missing_modules
from state.records import Record
from state.request import EMBEDDED, Endpoint
from tools.endpoint import probe
from tools.endpoint.environment import OLLAMA, OPENAI, OPENAI_MODEL, ollama_url
from tools.settings import Settings

EndpointKind = Literal["embedded", "openai", "ollama", "url", "langchain"]

VLLM = "http://127.0.0.1:8000/v1"
"""Where it listens unless it was told otherwise."""
SECONDS = 2.0
"""How long a server on this machine may take to say which models it has."""


class AtHand(Record):
    """An endpoint that this machine can use now, as far as can be seen for nothing."""

    kind: EndpointKind
    url: str
    model: str
    """The first that the server has; empty where it is not known."""
    found: str
    """Why it is thought to be there, in words."""


async def look_around(settings: Settings) -> list[AtHand]:
    """Return the endpoints at hand, the best first. Nothing is spent.

    The embedded model is the last of them; the base install has none.
    """
    ollama = ollama_url(settings) if settings.ollama_base_url else OLLAMA
    servers = await asyncio.gather(_server("ollama", ollama, settings), _server("url", VLLM, settings))
    found = [one for one in servers if one is not None]
    if settings.openai_api_key is not None:
        url = settings.openai_base_url
        at_openai = OPENAI_MODEL if urlsplit(url).hostname == urlsplit(OPENAI).hostname else ""
        model = settings.openai_model or at_openai
        found.insert(0, AtHand(kind="openai", url=url, model=model, found="OPENAI_API_KEY is set"))
    small = "the small model that comes with Corral: free, and writes and judges poorly"
    embedded = AtHand(kind="embedded", url=EMBEDDED, model="", found=small)
    return found if missing_modules("train") else [*found, embedded]


async def _server(kind: EndpointKind, url: str, settings: Settings) -> AtHand | None:
    spec = Endpoint(base_url=url, model="any", timeout=SECONDS, attempts=1)
    try:
        async with asyncio.timeout(SECONDS):
            models = (await probe(spec, settings, any_model=True)).models
    except (CorralError, TimeoutError):
        return None
    named = settings.ollama_model if kind == "ollama" else ""
    return AtHand(kind=kind, url=url, model=named or next(iter(models), ""), found=f"a server answers at {url}")


def endpoint_of(kind: EndpointKind, url: str | None, model: str | None, around: list[AtHand]) -> Endpoint:
    """Return the endpoint that a person named, completed by what is at hand.

    Args:
        kind: what was chosen.
        url: its URL, if given.
        model: its model, if given.
        around: what ``look_around`` found.

    Raises:
        BadInput: a URL or a model is needed and not known, or does not fit.
    """
    match kind:
        case "embedded":
            if url or model:
                raise BadInput("the embedded endpoint is one model: it takes neither --url nor --model")
            demand_extra("train", "the embedded model")
            return Endpoint()
        case "openai" | "ollama" | "url":
            usual = {"openai": (OPENAI, OPENAI_MODEL), "ollama": (OLLAMA, ""), "url": ("", "")}[kind]
            here = next(((one.url, one.model) for one in around if one.kind == kind), usual)
            url, model = (url, model) if url else (here[0], model or here[1])
            if not url or not url.startswith(("http://", "https://")):
                raise BadInput(f"--url takes a server's URL such as {VLLM}" + (f", not {url!r}" if url else ""))
        case "langchain":
            if url:
                raise BadInput("a model of LangChain has no --url; name it with --model, such as anthropic:NAME")
            url = "langchain"
        case _:
            assert_never(kind)
    if not model:
        example = "anthropic:NAME" if kind == "langchain" else "the name that the server knows it by"
        raise BadInput(f"--endpoint {kind} needs --model: {example}")
    return Endpoint(base_url=url, model=model)


def config_text(kind: EndpointKind, spec: Endpoint, *, trains: bool = True) -> str:
    """Return a commented config whose generator and judge are this endpoint.

    It says which model does each part, so that none falls to the embedded one in silence.

    Args:
        kind: of the endpoint.
        spec: the endpoint.
        trains: whether this installation can train and sample from weights; without, the endpoint answers, too.
    """
    named: dict[str, str | float] = {"base_url": spec.base_url}
    if kind != "embedded":
        named["model"] = spec.model
    if kind == "openai" and spec.model == OPENAI_MODEL:
        named |= {"input_price": 0.15, "output_price": 0.60}
    paid = kind in ("openai", "langchain")
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
{"" if trains else POLICY.format(flow=flow)}\
{SMALL if kind == "embedded" else PRICES if paid else ""}\
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


POLICY = """\
  policy: {flow}   # answers: without the extra 'train' there are no weights here, and a run ends with its dataset
"""
SMALL = """\
  # The embedded model of 135M parameters is free and needs no key, but writes and judges poorly. A better one:
  #   generator: {base_url: "https://api.openai.com/v1", model: gpt-4o-mini}
"""
PRICES = """\
  # input_price and output_price, in dollars for a million tokens, are what the cap is reckoned with.
"""
