"""The error tree is as its docstring draws it, and errors of the database enter it at the boundary."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

import state.errors
from state.database import Database
from state.errors import BadInput, BudgetExceeded, CorralError, StorageError
from state.store import RecordStore
from tests.builders import sample

LINE = re.compile(r"^    ([│├└─ ]*)([A-Z]\w+) +(?:exit (\d))? *(.*)$")


def drawn() -> dict[str, tuple[str, int]]:
    """Return (parent, exit code) of each error in the drawing; a code that is not drawn is the parent's."""
    found: dict[str, tuple[str, int]] = {}
    above: list[str] = []
    for line in (state.errors.__doc__ or "").split("\n"):
        if match := LINE.match(line):
            branch, name, code, _ = match.groups()
            above = [*above[: len(branch) // 4], name]
            parent = above[-2] if len(above) > 1 else "RuntimeError"
            found[name] = (parent, int(code) if code else found[parent][1])
    return found


def tree(error: type[CorralError]) -> dict[str, tuple[str, int]]:
    """Return (parent, exit code) of an error and of all below it."""
    below = {name: entry for child in error.__subclasses__() for name, entry in tree(child).items()}
    return {error.__name__: (error.__bases__[0].__name__, error.exit_code)} | below


def test_the_drawing_is_the_tree() -> None:
    assert tree(CorralError) == drawn()
    assert len(drawn()) > 10


def test_a_used_up_budget_says_what_is_spent_and_what_to_do() -> None:
    error = BudgetExceeded(1.25, 2.0)
    assert (error.spent, error.cap, error.exit_code) == (1.25, 2.0, 3)
    assert "$1.2500 of $2.0000" in str(error) and "corral approve RUN --budget" in str(error)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no url at all", "is not a URL; use sqlite:///FILE"),
        ("mysql://host/name", "database 'mysql' is not supported; use sqlite:///FILE or postgresql://HOST/NAME"),
        ("user:secret@host", "is not a URL"),
        ("postgresql://user:secret@host:port/name", "is not a URL"),
    ],
)
def test_a_url_that_cannot_be_is_bad_input_without_its_password(url: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        Database(url)
    assert said in str(caught.value) and "secret" not in str(caught.value)


async def test_a_postgres_url_of_either_spelling_is_taken_and_its_password_hidden() -> None:
    for scheme in ("postgres", "postgresql"):
        database = Database(f"{scheme}://ada:secret@127.0.0.1:1/corral")
        assert database.url.drivername == "postgresql+psycopg"
        with pytest.raises(StorageError, match="Connection refused") as caught:
            await database.create()
        assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
        await database.close()


async def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite:///{tmp_path / 'file' / 'below' / 'corral.db'}")
    with pytest.raises(StorageError, match=r"the folder .* cannot be made: Not a directory. Set CORRAL_HOME elsewhere"):
        await database.create()


async def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "corral.db"
    path.write_bytes(b"this is not a database, but a text of some length" * 40)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=rf"the database {path} cannot be used: file is not a database. Check"):
        await database.create()
    await database.close()


async def test_a_full_disk_is_a_storage_error_and_what_was_written_stays(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    await store.add("run", [sample("Kept.")])
    await database.close()
    with sqlite3.connect(tmp_path / "corral.db") as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    _limit(database, pages)
    with pytest.raises(StorageError, match=r"database or disk is full\. Check the disk's space"):
        await store.add("run", [sample(f"Task {number} " * 500) for number in range(50)])
    assert [row.instruction for row in await store.find("run", type(sample()))] == ["Kept."]
    await database.close()


def _limit(database: Database, pages: int) -> None:
    """Make SQLite refuse to grow, as a full disk does."""

    def connected(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(database.engine.sync_engine, "connect", connected)
