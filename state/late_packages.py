"""Packages of other libraries that are imported for one module's sake, and then import all their others.

``import_late`` has such a package's own code, its ``__init__``, run when something is first asked of the package. Its
modules are imported as ever. So a name is found as before, and what nobody asks for is never imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

PACKAGES = frozenset({"langgraph_sdk", "langsmith.types", "sqlalchemy.ext.asyncio"})
"""LangGraph wants one type of its SDK, LangSmith one of its 150, and Corral SQLAlchemy's asynchronous engine without
sessions, which bring the ORM: 0.35 of the 2.4 CPU-seconds that a run imports for."""
_lock = RLock()


def import_late() -> None:
    """Have ``PACKAGES`` run late in this process; call it before their libraries are imported."""
    sys.meta_path.insert(0, _LateFinder())


class _LateFinder(MetaPathFinder):
    """Finds the packages as Python does, with a loader that waits."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a package that runs late; ``None`` for all other modules."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in PACKAGES else None
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader)
        return spec


class _LateLoader(Loader):
    """Makes a package that its own loader, ``real``, runs when something is first asked of it."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return ``None``: Python makes the module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Leave the package's code for later."""
        module.__class__ = _LatePackage


class _LatePackage(ModuleType):
    """Runs its code when it is asked for a name that neither it nor one of its modules has."""

    def __getattr__(self, name: str) -> Any:
        module = f"{self.__name__}.{name}"
        if PathFinder.find_spec(module, self.__path__) is not None:
            return import_module(module)
        with _lock:
            spec = self.__spec__
            if spec is not None and isinstance(spec.loader, _LateLoader):
                # First, since the code may itself look for a name that the package has not.
                spec.loader = self.__loader__ = spec.loader.real
                spec.loader.exec_module(self)
        return super().__getattribute__(name)
