"""Which version a client means by the name that it gives."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from state.errors import UnknownModel
from tools.engine.asked import BASE, CURRENT
from tools.registry import current, versions


class View(NamedTuple):
    """A registry at one instant."""

    current: str | None
    versions: tuple[str, ...]
    """Oldest first."""


def look(registry: Path) -> View:
    """Return what a registry holds now; it reads the disk."""
    return View(current(registry), tuple(versions(registry)))


def meant(model: str, view: View) -> str:
    """Return ``base`` or the version that a client means.

    Raises:
        UnknownModel: there is none of that name; the nearest one is named.
    """
    if model == BASE or model in view.versions:
        return model
    if model != CURRENT:
        raise UnknownModel(f"there is no model {model!r}; did you mean {nearest(model, view)!r}?")
    if view.current is None:
        raise UnknownModel(
            f"the registry points at no current version; it has {_listed(view)}. 'corral rollback VERSION' points at "
            f"one; {BASE!r} answers without an adapter"
        )
    if view.current not in view.versions:
        raise UnknownModel(f"the registry's current version {view.current} is not there; it has {_listed(view)}")
    return view.current


def nearest(model: str, view: View) -> str:
    """Return the name that is most like a given one."""
    names = [*reversed(view.versions), *([CURRENT] if view.current else []), BASE]
    return difflib.get_close_matches(model, names, n=1, cutoff=0.0)[0]


def kept(wanted: Sequence[str | None], recent: Sequence[str], view: View, most: int) -> tuple[str, ...]:
    """Return the versions to hold in memory: those wanted, then the last ones asked for, then the newest."""
    order = [*wanted, *recent, *reversed(view.versions)]
    return tuple(dict.fromkeys(name for name in order if name in view.versions))[:most]


def _listed(view: View) -> str:
    return ", ".join(view.versions) or "none"
