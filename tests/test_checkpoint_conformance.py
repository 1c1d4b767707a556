"""LangGraph's own suite over both of our checkpointers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate

from state.checkpoints import Saver, open_checkpointer
from state.database import Database


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_a_checkpointer_is_what_langgraph_expects(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if backend == "postgresql":
        fresh: Callable[[], str] = request.getfixturevalue("postgres")
        url = fresh()
    else:
        url = f"sqlite:///{tmp_path / 'corral.db'}"
    database = Database(url)
    await database.create()

    @checkpointer_test(name=backend)
    async def saver() -> AsyncIterator[Saver]:
        async with open_checkpointer(database) as opened:
            yield opened

    report = await validate(saver)
    assert report.passed_all_base(), report.to_dict()
    await database.close()
