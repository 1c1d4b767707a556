"""Where in which queue a person is: it stands in the address of every page, so that a tab is a queue."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import Depends, Query
from pydantic import ValidationError
from typing_extensions import TypedDict

from state.errors import BadInput
from state.faults import first_fault
from state.records import Record, Why
from state.reviewing import Order


class Filters(TypedDict):
    """What a queue holds, as ``Reviews.queue`` takes it."""

    run: str | None
    why: Why | None
    order: Order


class Place(Record):
    """Where in which queue a person is; it stands in the address of every page, so that a tab is a queue."""

    run: str = ""
    why: Why | None = None
    order: Order = "oldest"
    after: str = ""

    @property
    def filters(self) -> Filters:
        """What the queue holds, and in which order."""
        return {"run": self.run or None, "why": self.why, "order": self.order}

    def query(self, **changes: str) -> str:
        """Return it as an address's query."""
        fields = {name: value for name, value in (self.model_dump() | changes).items() if value and value != "oldest"}
        return f"?{urlencode(fields)}" if fields else ""


def place_of(
    run: Annotated[str, Query()] = "",
    why: Annotated[str, Query()] = "",
    order: Annotated[str, Query()] = "oldest",
    after: Annotated[str, Query()] = "",
) -> Place:
    """Return the place that a page's address names.

    Raises:
        BadInput: it names a filter or an order that there is not.
    """
    try:
        return Place.model_validate({"run": run, "why": why or None, "order": order, "after": after})
    except ValidationError as error:
        raise BadInput(f"the queue's address: {first_fault(error)}") from error


AtPlace = Annotated[Place, Depends(place_of)]
"""A handler's argument of this type is the place that the page's address names."""


def item_path(run_id: str, item_id: str) -> str:
    """Return the address of an item."""
    return f"/review/{quote(run_id, safe='')}/{quote(item_id, safe='')}"
