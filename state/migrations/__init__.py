"""The tables' versions: an alembic revision for each change, and what opens a database of any earlier one.

A record's shape and the tables' are one thing here: a change of either that the version before cannot read is a new
file in ``versions``, and ``HEAD`` names it. Requests have a format of their own beside it, ``runs.format``.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, MetaData, inspect, text

from state.errors import StorageError

HEAD = "0011"
"""The revision of this version's tables. Revisions are numbered, so that a greater one is a newer one."""
VERSION_TABLE = "alembic_version"


def migrate(connection: Connection, metadata: MetaData, place: str, unwritable: str = "") -> None:
    """Bring a database up to this version, in one transaction; an empty one gets its tables.

    Tables that alembic has never seen are those of the first revision: they were made before there were migrations.

    Args:
        connection: not yet in a transaction.
        metadata: the tables of this version.
        place: the database, as a person knows it.
        unwritable: why nothing can be written; empty where it can.

    Raises:
        StorageError: a newer version has been at work there, or an older one where nothing can be written.
    """
    if _up_to_date(connection, metadata, place):
        return
    if unwritable:
        raise StorageError(
            f"{unwritable}, and the database {place} is of an earlier version of Corral: bring it up to date where it "
            "can be written, with 'corral runs'"
        )
    if connection.dialect.name == "sqlite":
        # Python's sqlite3 begins no transaction before DDL, so a migration that is killed would be half done. Another
        # process may have been faster meanwhile.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    there = inspect(connection).get_table_names()
    if _found(connection, there) != HEAD:
        if "runs" in there:
            _upgrade(connection)
        else:
            _stamp(connection)
    metadata.create_all(connection)
    connection.commit()


def _up_to_date(connection: Connection, metadata: MetaData, place: str) -> bool:
    there = inspect(connection).get_table_names()
    found = _found(connection, there)
    connection.rollback()
    if found > HEAD:
        raise StorageError(
            f"a newer version of Corral has written the database {place} (revision {found}, here {HEAD}): install "
            "that version, or set CORRAL_HOME or CORRAL_DATABASE_URL to another place"
        )
    return found == HEAD and metadata.tables.keys() <= set(there)


def _found(connection: Connection, there: list[str]) -> str:
    return _revision(connection) if VERSION_TABLE in there else ""


def _revision(connection: Connection) -> str:
    return str(connection.execute(text(f"SELECT max(version_num) FROM {VERSION_TABLE}")).scalar() or "")


def _stamp(connection: Connection) -> None:
    """Note the revision of tables that are made as they are now. The columns are alembic's own."""
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num VARCHAR(32) PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES ('{HEAD}') ON CONFLICT DO NOTHING"))


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    command.upgrade(config, HEAD)
