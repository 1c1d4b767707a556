"""What ``endpoint=`` may be: an ``Endpoint``, a URL, a chat model, a Runnable, a function, or an open endpoint."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from weakref import WeakKeyDictionary

from corral.arguments import refuse_mapping
from corral.standalone import JUDGING, open_ledger, open_standalone
from state.errors import BadInput
from state.request import EMBEDDED, Endpoint
from tools.endpoint import demand_price, price_of, probe
from tools.endpoint.chat import ChatEndpoint
from tools.endpoint.environment import ANY, model_at_hand, with_server
from tools.endpoint.kind import LANGCHAIN, PROGRAM
from tools.endpoint.prices import Price, stated
from tools.endpoint.spending import CappedLedger, Spending
from tools.endpoint.transport import Transport
from tools.settings import Settings, load_settings

if TYPE_CHECKING:
    from tools.endpoint.plugged import Brought

Model: TypeAlias = "Endpoint | ChatEndpoint | str | Brought | None"
"""``None`` for the model that the environment names, or else the embedded one."""


class OpenModel:
    """The model of an object of the Python API: found at once, opened when it is asked, with a purse of its own.

    Args:
        given: as ``Model`` says.
        budget: dollars that may be spent on it in all; ``None`` for no cap.

    Attributes:
        spending: what was spent.

    Raises:
        BadInput: it is nothing that can be asked, or the budget cannot be kept: the price of its tokens is not known,
            or the endpoint is open already.
    """

    def __init__(self, given: Model, budget: float | None = None) -> None:
        settings = load_settings()
        self._open: ChatEndpoint | None = None
        self._brought: Brought | None = None
        self._transports: WeakKeyDictionary[asyncio.AbstractEventLoop, Transport] = WeakKeyDictionary()
        self.spec = Endpoint()
        refuse_mapping(given, "endpoint")
        if given is None:
            self.spec = model_at_hand(settings) or Endpoint()
        elif isinstance(given, str):
            self.spec = named_endpoint(given)
        elif isinstance(given, Endpoint):
            self.spec = with_server(given, settings.openai_base_url)
        elif _is_open(given):
            self._open = cast(ChatEndpoint, given)
        else:
            self._bring(cast("Brought", given))
        self.spending = Spending(cap=self._cap(budget))

    @property
    def brought(self) -> Brought | None:
        """What the program brought itself; ``None`` where it named an endpoint."""
        return self._brought

    async def named(self) -> Endpoint:
        """Return the endpoint as a request names it.

        Raises:
            BadInput: it is open already, or its server does not say which models it has.
            EndpointError: the server is out of reach, or refuses the key.
        """
        if self._open is not None:
            raise BadInput("endpoint: an open endpoint has a ledger of its own; a run needs an Endpoint or a model")
        if self.spec.model == ANY:
            self.spec = await _first_listed(self.spec, await asyncio.to_thread(load_settings))
        return self.spec

    async def opened(self) -> ChatEndpoint:
        """Return the endpoint over the ledger of the settings' database.

        Raises:
            BadInput: the model is not installed, or has another name.
            EndpointError: a server that shall name its model does not.
            StorageError: the database cannot be used.
        """
        if self._open is not None:
            return self._open
        settings = await asyncio.to_thread(load_settings)
        if self._brought is not None:
            return await self._opened_brought(self._brought, settings)
        return await open_standalone(await self.named(), settings, JUDGING, self.spending, where="endpoint")

    async def _opened_brought(self, given: Brought, settings: Settings) -> ChatEndpoint:
        from tools.endpoint.client import LedgeredEndpoint
        from tools.endpoint.plugged import brought_transport

        loop = asyncio.get_running_loop()
        if loop not in self._transports:
            self._transports[loop] = brought_transport(given)
        ledger = CappedLedger(await open_ledger(settings), self.spending)
        tracing, now = settings.langsmith_tracing, datetime.now(UTC)
        return LedgeredEndpoint(self._transports[loop], ledger, self.spec, JUDGING, tracing=tracing, since=now)

    def _bring(self, given: Brought) -> None:
        from tools.endpoint.plugged import brought_name, brought_transport

        brought_transport(given)  # what cannot be asked is refused here
        self._brought = given
        self.spec = Endpoint(base_url=PROGRAM, model=brought_name(given))
        if (price := _price_of_brought(given)) is not None:
            self.spec = self.spec.model_copy(update={"input_price": price.input, "output_price": price.output})

    def _cap(self, budget: float | None) -> float | None:
        if budget is None:
            return None
        if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 <= budget < math.inf:
            raise BadInput(f"budget must be a number of dollars, at least 0, not {budget!r}")
        if self._open is not None:
            raise BadInput("budget: an open endpoint has the cap of its own ledger; give an Endpoint, or no budget")
        if self._brought is not None and stated(self.spec, None) is None:
            raise BadInput(
                f"budget: what {self.spec.model!r} costs is not known, so no budget can be kept; give an Endpoint with "
                "input_price and output_price, or no budget"
            )
        if self._brought is None:
            demand_price(self.spec, price_of(self.spec), "endpoint")
        return float(budget)


def named_endpoint(name: str) -> Endpoint:
    """Return the endpoint that a word or a URL means: ``embedded``, or a server, whose first listed model is taken.

    Raises:
        BadInput: it is neither.
    """
    if name == EMBEDDED:
        return Endpoint()
    if not name.startswith(("http://", "https://")):
        raise BadInput(f"endpoint {name!r} is neither a URL nor {EMBEDDED!r}; a model's name stands in an Endpoint")
    return Endpoint(base_url=name, model=ANY)


def _is_open(given: Any) -> bool:
    return all(callable(getattr(given, method, None)) for method in ("complete", "complete_as", "likelihood"))


async def _first_listed(spec: Endpoint, settings: Settings) -> Endpoint:
    models = (await probe(spec, settings, any_model=True)).models
    if not models:
        raise BadInput(f"{spec.base_url} does not say which models it has; name one: Endpoint(base_url=..., model=...)")
    return spec.model_copy(update={"model": models[0]})


def _price_of_brought(given: Any) -> Price | None:
    """Return what a chat model's tokens cost, where its provider and name are known; ``None`` for anything else."""
    tell = getattr(given, "_get_ls_params", None)
    told = tell() if callable(tell) else {}
    provider, name = told.get("ls_provider"), told.get("ls_model_name")
    return price_of(Endpoint(base_url=LANGCHAIN, model=f"{provider}:{name}")) if provider and name else None
