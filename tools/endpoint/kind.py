"""Kind: what an endpoint's ``base_url`` means, a word or a URL. Each transport's file defines one."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from pydantic import Field

from state.records import Record
from state.request import Endpoint
from tools.endpoint.chat import Capabilities
from tools.endpoint.prices import ListedPrice, free
from tools.endpoint.transport import Transport
from tools.settings import Settings

if TYPE_CHECKING:
    from tools.endpoint.batch_api import BatchApi

LANGCHAIN = "langchain"
"""The word, in place of a URL, for a model that LangChain makes from its provider and name."""

PROGRAM = "program"
"""The word for a model that a Python program brings itself."""

Places = TypeVarTuple("Places")
T = TypeVar("T")


class ProbeResult(Record):
    """An endpoint that is up, takes the key and has the model."""

    url: str
    """Its URL; for the embedded server the one on loopback."""
    models: tuple[str, ...]
    """The models that it lists; empty if it has no list."""
    seconds: float = Field(ge=0)
    """How long the answer took."""
    note: str = ""
    """What is odd about it, though it can be used; empty where nothing is."""

    @property
    def detail(self) -> str:
        """One line for a person."""
        names = f"{len(self.models)} models" if len(self.models) > 1 else "".join(self.models) or "no list of models"
        told = f"; {self.note}" if self.note else ""
        return f"{names}, answered in {self.seconds * 1000:.0f} ms{told}"


def _as_named(spec: Endpoint, settings: Settings) -> str:
    return spec.model


def _not_here(model: str) -> str | None:
    return None


@dataclass(frozen=True)
class Kind:
    """One kind of endpoint.

    Attributes:
        can: what it can do.
        open: returns the transport of an endpoint; nothing is asked of it yet.
        probe: asks an endpoint for its models, which costs nothing; with ``True`` any model will do. It raises what
            ``tools.endpoint.probe`` says.
        ledger_model: returns the name under which the ledger keeps a model's calls; it may read the model's files.
        likelihood_model: returns that name for the weights that tell likelihoods, where they are not those that answer.
        weights_here: returns the name of the weights on this machine that answer for a model, as ``models.base`` names
            them; ``None`` where the weights are elsewhere.
        listed_price: returns what an endpoint's tokens cost where its owner does not say.
        batches: returns the Batch API of an endpoint, whether its server has one or not; ``None`` where there cannot
            be one.
    """

    can: Capabilities
    open: Callable[[Endpoint, Settings], Awaitable[Transport]]
    probe: Callable[[Endpoint, Settings, bool], Awaitable[ProbeResult]]
    ledger_model: Callable[[Endpoint, Settings], str] = _as_named
    likelihood_model: Callable[[Endpoint], str] | None = None
    weights_here: Callable[[str], str | None] = _not_here
    listed_price: ListedPrice = free
    batches: Callable[[Endpoint, Settings], Awaitable[BatchApi]] | None = None


def one_for_each(make: Callable[[*Places], T]) -> Callable[[*Places], T]:
    """Return a function that makes one transport for each place, even if several tasks ask at the same time.

    A transport must be shared, since it takes its keys and servers in turn.
    """
    made: dict[Any, T] = {}
    making = threading.Lock()

    @wraps(make)
    def one(*place: *Places) -> T:
        with making:
            if place not in made:
                made[place] = make(*place)
            return made[place]

    return one
