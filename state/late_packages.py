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
    if not any(isinstance(finder, _LateFinder) for finder in sys.meta_path):
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

    def __getattr__(self, name: str) -> Any:
        """Return what the real loader has, such as its way to the package's files."""
        return getattr(self.real, name)


class _LatePackage(ModuleType):
    """Runs its code when it is asked for a name that neither it nor one of its modules has, or is given one."""

    def __getattr__(self, name: str) -> Any:
        module = f"{self.__name__}.{name}"
        if PathFinder.find_spec(module, self.__path__) is not None:
            return import_module(module)
        _run(self)
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("__") and not isinstance(value, ModuleType):  # Python sets a package's modules itself
            _run(self)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        _run(self)
        return sorted(super().__dir__())


def _run(package: _LatePackage) -> None:
    """Run a package's code, once; what fails is run again by the next who asks, as an import is."""
    with _lock:
        spec = package.__spec__
        if spec is None or not isinstance(late := spec.loader, _LateLoader):
            return
        # First, since the code may itself look for a name that the package has not.
        spec.loader = package.__loader__ = late.real
        try:
            late.real.exec_module(package)
        except BaseException:
            spec.loader = package.__loader__ = late
            raise
