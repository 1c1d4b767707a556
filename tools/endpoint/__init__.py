"""The one way to a model: endpoints behind the ledger. Each kind of transport says what it can do, in its ``Kind``."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from state.errors import BadInput
from state.request import EMBEDDED, WEIGHTS, Endpoint
from tools.endpoint.chat import Capabilities
from tools.endpoint.kind import LANGCHAIN, PROGRAM, Kind, ProbeResult
from tools.endpoint.ledger import CallLedger
from tools.endpoint.prices import Price, stated
from tools.settings import Settings

if TYPE_CHECKING:
    from tools.endpoint.batch_api import BatchApi
    from tools.endpoint.client import LedgeredEndpoint
    from tools.endpoint.deferring import Deferring

__all__ = [
    "Price",
    "ProbeResult",
    "capabilities",
    "demand_batches",
    "demand_price",
    "has_batches",
    "open_batches",
    "open_endpoint",
    "price_of",
    "probe",
    "weights_here",
]


# Each transport is imported for those who use it: with all of them, looking at a run takes a third of a second more.
def _server() -> Kind:
    from tools.endpoint import http_transport

    return http_transport.KIND


def _embedded() -> Kind:
    from tools.endpoint import embedded

    return embedded.KIND


def _weights() -> Kind:
    from tools.endpoint import weights

    return weights.KIND


def _langchain() -> Kind:
    from tools.endpoint import chat_model

    return chat_model.KIND


def _program() -> Kind:
    from tools.endpoint import plugged

    return plugged.KIND


KINDS: Mapping[str, Callable[[], Kind]] = MappingProxyType(
    {EMBEDDED: _embedded, WEIGHTS: _weights, LANGCHAIN: _langchain, PROGRAM: _program}
)
"""The words that ``base_url`` may be; anything else is the URL of an OpenAI-compatible server."""


def kind_of(spec: Endpoint) -> Kind:
    """Return the kind of an endpoint.

    Raises:
        BadInput: ``base_url`` is neither a URL nor a known word.
    """
    if spec.base_url.startswith(("http://", "https://")):
        return _server()
    if spec.base_url not in KINDS:
        near = difflib.get_close_matches(spec.base_url, KINDS, n=1, cutoff=0.0)[0]
        raise BadInput(
            f"base_url {spec.base_url!r} is neither a URL nor one of {', '.join(KINDS)}; did you mean {near!r}?"
        )
    return KINDS[spec.base_url]()


def capabilities(spec: Endpoint) -> Capabilities:
    """Return what an endpoint can do; nothing is opened.

    Raises:
        BadInput: as for ``kind_of``.
    """
    return kind_of(spec).can


def weights_here(spec: Endpoint) -> str | None:
    """Return the name of the weights on this machine that answer for an endpoint; ``None`` where they are elsewhere."""
    return kind_of(spec).weights_here(spec.model)


def price_of(spec: Endpoint) -> Price | None:
    """Return what an endpoint's tokens cost, and where the figures come from; ``None`` where that is not known.

    Raises:
        BadInput: as for ``kind_of``.
    """
    return stated(spec, kind_of(spec).listed_price(spec))


def demand_price(spec: Endpoint, price: Price | None, where: str) -> None:
    """Refuse a cap over an endpoint whose price is not known: it could not be kept.

    Args:
        spec: the endpoint.
        price: what is known of its price.
        where: the setting that names it, such as ``models.judge``.

    Raises:
        BadInput: the price is not known.
    """
    if price is None:
        missing = [name for name in ("input_price", "output_price") if getattr(spec, name) is None]
        fields = " and ".join(f"{where}.{name}" for name in missing) or f"{where}.input_price"
        raise BadInput(
            f"the budget cannot be kept: what {spec.model!r} at {spec.base_url} costs is not known; set {fields}, in "
            "dollars for a million tokens (0 if it is free), or set no budget"
        )


def has_batches(spec: Endpoint) -> bool:
    """Return whether an endpoint is of a kind that may have a Batch API; nobody is asked.

    Raises:
        BadInput: as for ``kind_of``.
    """
    return kind_of(spec).batches is not None


async def open_batches(spec: Endpoint, settings: Settings) -> BatchApi:
    """Return an endpoint's Batch API; nothing is asked of it yet.

    Raises:
        BadInput: there is no such kind of endpoint, or it has none.
    """
    kind = kind_of(spec)
    if kind.batches is None:
        raise BadInput(f"base_url {spec.base_url!r} has no batch API: it needs a server's URL; leave batch out")
    return await kind.batches(spec, settings)


async def demand_batches(spec: Endpoint, settings: Settings) -> None:
    """Ask an endpoint's server whether it has a Batch API; nothing is spent.

    Raises:
        BadInput: it has none.
        EndpointError: it is out of reach, or refuses the key.
    """
    from tools.endpoint.failures import TryAgain

    try:
        await (await open_batches(spec, settings)).demand()
    except TryAgain as again:
        raise again.error from again


async def open_endpoint(
    spec: Endpoint,
    ledger: CallLedger,
    run_id: str,
    settings: Settings,
    *,
    since: datetime | None = None,
    deferring: Deferring | None = None,
) -> LedgeredEndpoint:
    """Return a request's endpoint for one run; nothing is asked of it yet.

    Args:
        spec: the endpoint.
        ledger: keeps its calls.
        run_id: the run that pays.
        settings: for its keys.
        since: for work that is no run, but a command: when it began. What an earlier one could not use is asked again.
        deferring: for a step whose calls may wait for a batch: notes them.

    Raises:
        BadInput: there is no such kind of endpoint, or the model is not installed or has another name.
        StorageError: the embedded model cannot be unpacked.
    """
    # The client loads aiohttp and tenacity: a fifth of a second that those who only look at a run do not need.
    from tools.endpoint.client import LedgeredEndpoint

    kind = kind_of(spec)
    transport = await kind.open(spec, settings)
    priced = spec.model_copy(update=await asyncio.to_thread(_known_of, kind, spec, settings))
    tracing = settings.langsmith_tracing
    likelihoods_of = kind.likelihood_model(spec) if kind.likelihood_model else ""
    return LedgeredEndpoint(
        transport,
        ledger,
        priced,
        run_id,
        tracing=tracing,
        since=since,
        deferring=deferring,
        likelihoods_of=likelihoods_of,
    )


def _known_of(kind: Kind, spec: Endpoint, settings: Settings) -> dict[str, str | float]:
    """Return an endpoint's name in the ledger, and its prices where they are known."""
    price = stated(spec, kind.listed_price(spec))
    prices = {"input_price": price.input, "output_price": price.output} if price else {}
    return {"model": kind.ledger_model(spec, settings), **prices}


async def probe(spec: Endpoint, settings: Settings, *, any_model: bool = False) -> ProbeResult:
    """Ask an endpoint for its models; nothing is spent.

    Args:
        spec: the endpoint.
        settings: for its keys.
        any_model: whether to ask for the server alone, whatever models it has.

    Raises:
        BadInput: as for ``open_endpoint``.
        EndpointUnreachable: nothing answers there, or what answers is broken.
        EndpointRefused: it refuses the key, is no OpenAI-compatible server, or has no such model.
        RateLimited: the rate limit is already reached.
    """
    return await kind_of(spec).probe(spec, settings, any_model)
