"""What a model's tokens cost: as the request says, else by the list of genai-prices, else nothing is known.

The list comes with the package, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

from pydantic import Field

from state.records import Record
from state.request import Endpoint

HOME_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa")
"""Ends of names that no public server can have (RFC 6761, 6762, 8375, and ICANN's reservation of ``internal``)."""


class Price(Record):
    """What tokens cost."""

    input: float = Field(ge=0)
    """Dollars for a million prompt tokens."""
    output: float = Field(ge=0)
    """Dollars for a million completion tokens."""
    source: str
    """Where the figures come from, for a person."""


FREE = Price(input=0.0, output=0.0, source="a model on this machine")
NEARBY = Price(input=0.0, output=0.0, source="a server in this network; no price is given")
ListedPrice = Callable[[Endpoint], Price | None]
"""Returns what an endpoint costs where its owner does not say; ``None`` where that is not known."""


def free(spec: Endpoint) -> Price:
    """Return the price of a model on this machine."""
    return FREE


def price_at_url(spec: Endpoint) -> Price | None:
    """Return the price of a model behind a URL: nothing in this network, else what the list has for URL and model."""
    return NEARBY if in_this_network(spec.base_url) else _listed(spec.model, provider_api_url=spec.base_url)


def price_at_provider(spec: Endpoint) -> Price | None:
    """Return the list's price of a model that is named ``provider:model``, as LangChain names it."""
    provider, _, model = spec.model.partition(":")
    known = provider.removesuffix("_openai").removesuffix("_genai").removesuffix("_vertexai").replace("_", "-")
    return _listed(model, provider_id=known)


def stated(spec: Endpoint, listed: Price | None) -> Price | None:
    """Return an endpoint's price with what its owner states in the place of what is listed; ``None`` if one is missing.

    Args:
        spec: the endpoint.
        listed: what it costs otherwise.
    """
    given = (spec.input_price, spec.output_price)
    if given == (None, None):
        return listed
    others = (listed.input, listed.output) if listed else (None, None)
    prompt, completion = (mine if mine is not None else theirs for mine, theirs in zip(given, others, strict=True))
    if prompt is None or completion is None:
        return None
    rest = "" if None not in given or listed is None else f", the other {listed.source}"
    return Price(input=prompt, output=completion, source=f"as the request says{rest}")


def in_this_network(url: str) -> bool:
    """Return whether a URL names this machine or a private network, where nobody sells tokens. Nothing is looked up."""
    from urllib.parse import urlsplit

    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(HOME_NAMES)


def _listed(model: str, **where: str) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot  # a third of a second, for those who pay

    keys = {"provider_id": None, "provider_api_url": None, **where}
    try:
        provider, found = get_snapshot().find_provider_model(model, None, **keys)
    except LookupError:
        return None
    now = datetime.now(UTC)
    # Some prices depend on the hour, and a cap must hold in each: the dearest of the coming day counts.
    days = [found.get_prices(now + timedelta(hours=hour)) for hour in range(24)]
    prompt, completion = (_dearest(getattr(day, unit, None) for day in days) for unit in ("input_mtok", "output_mtok"))
    if prompt is None or completion is None or any(getattr(day, "requests_kcount", None) for day in days):
        return None
    return Price(input=prompt, output=completion, source=f"genai-prices: {provider.id} {found.id}")


def _dearest(prices: Iterable[Any]) -> float | None:
    """Return the highest price; of tiers by length the first, since our calls end long before the second begins."""
    found = [price if isinstance(price, Decimal) else getattr(price, "base", None) for price in prices]
    known = [float(price) for price in found if price is not None]
    return max(known) if len(known) == len(found) else None
