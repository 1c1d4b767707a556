"""``corral backup``: a consistent copy of the home, while runs are at work in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corral.cli.shared import AsJson, Yes, console, errors, may_replace, open_settings, print_json
from state.errors import BadInput
from state.wording import number_of

if TYPE_CHECKING:
    from tools.backup import Backup


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE.tar[.gz]", help="Where to write it.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Copy database, runs, registry and the judges' calibrations into one archive, as they are at one instant.

    Runs may go on meanwhile.

    To restore it: mkdir HOME, tar -xf FILE.tar -C HOME, and set CORRAL_HOME to that folder.
    """
    from state.database import Database
    from tools.backup import back_up

    settings = open_settings()
    may_replace(file, yes)

    async def work() -> Backup:
        database = Database(settings.database_url)
        if database.file and not database.file.path.exists():
            raise BadInput(f"there is no database {database.place} to back up")
        try:
            if database.file:
                await database.create()
            return await asyncio.to_thread(back_up, database, settings.home, file.absolute())
        finally:
            await database.close()

    with errors.status(f"backing up {settings.home} ..."):
        made = asyncio.run(work())
    if as_json:
        print_json(made)
        return
    console.print(
        f"{file}: {number_of(made.runs, 'run')}, {number_of(made.answers, 'answer')}, {number_of(made.files, 'file')}, "
        f"{made.size:,} bytes",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
