"""What CrewAI imports and builds, and the judges' own process never uses: half of its import.

``leave_out_unused`` is for that process alone. A crew of an owner may have a memory, and works in another one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic_core import CoreSchema, core_schema

MEMORY = "chromadb"
"""The vector store of CrewAI's memory and knowledge, which no judge has. CrewAI names its classes in annotations."""
SERVER = "fastapi"
"""For agents that serve others; CrewAI has a way without it."""


def leave_out_unused() -> None:
    """Have CrewAI imported without its memory's store and its server, and its models built when they are first used.

    Call it before the first import of CrewAI, in a process that makes no crew but the judges'. What is left out and
    asked for all the same raises ``RuntimeError``, which fails the crew.
    """
    sys.meta_path.insert(0, _LeftOut())
    sys.modules[SERVER] = None  # type: ignore[assignment]  # Python's own way to make an import fail
    # Of the 300 models that are CrewAI's events and settings the judges use a dozen.
    BaseModel.model_config["defer_build"] = True


class _LeftOut(MetaPathFinder, Loader):
    """Finds stand-ins for the modules of ``MEMORY``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that holds stand-ins; ``None`` for all other modules."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] == MEMORY else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module, which needs no more to be done."""
        return _LeftOutModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


class _LeftOutModule(ModuleType):
    """Has a class of any name that is asked for."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _LeftOutClass(name, (), {"__module__": self.__name__, "__get_pydantic_core_schema__": _instances})
        setattr(self, name, made)
        return made


class _LeftOutClass(type):
    """The class of a class that can stand in annotations, with parameters too, and nowhere else."""

    def __getitem__(cls, parameters: Any) -> _LeftOutClass:
        return cls

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{cls.__module__}.{cls.__name__} is left out of the judging process, which never needs it")


@classmethod  # type: ignore[misc]  # it becomes a member of classes that are made above
def _instances(cls: type, source: Any, handler: Any) -> CoreSchema:
    return core_schema.is_instance_schema(cls)
