"""``corral review --export`` and ``--import``: what goes to people as a file for other tools, and back."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from corral.cli.shared import console, errors, look_at, may_replace
from state.wording import number_of

if TYPE_CHECKING:
    from graph.services import Services
    from tools.people.formats import Format

CONFIG = ".labelling.xml"
"""Beside a file for Label Studio: what its project needs."""


def export_to(name: str, format_: Format, out: Path, yes: bool) -> None:
    """Write all that goes to people in a run, and what they sent about it.

    Raises:
        BadInput: the file exists, and nobody agrees to overwrite it.
    """

    async def write(services: Services, run_id: str) -> int:
        from graph.review_files import export_lines
        from tools.files import copy_out, write_out
        from tools.people.formats.label_studio import labelling_config

        with tempfile.TemporaryFile() as lines:
            async for line in export_lines(services, run_id, format_):
                await asyncio.to_thread(lines.write, line.encode("utf-8", "replace"))
            size = lines.tell()
            lines.seek(0)
            await asyncio.to_thread(copy_out, out, lines)
        console.print(f"{out}: {size:,} bytes", highlight=False, markup=False, soft_wrap=True)
        if format_ == "label-studio":
            config = out.with_name(out.name + CONFIG)
            await asyncio.to_thread(write_out, config, labelling_config().encode())
            said = f"{config}: the labelling config of the project that they are imported to"
            console.print(said, highlight=False, markup=False, soft_wrap=True)
        return 0

    may_replace(out, yes)
    if format_ == "label-studio":
        may_replace(out.with_name(out.name + CONFIG), yes)
    look_at(name, write)


def import_from(name: str, format_: Format, file: Path) -> None:
    """Send the ratings of a file; exit with 2 where some did not fit, after the others were taken.

    Raises:
        BadInput: the file cannot be read, or is of another format.
    """

    async def take(services: Services, run_id: str) -> int:
        from graph.review_files import import_ratings

        taken = await import_ratings(services, run_id, format_, file)
        for line in taken.told:
            errors.print(f"{file}, {line}", highlight=False, markup=False, soft_wrap=True)
        said = (
            f"{number_of(taken.sent, 'rating')} taken, {number_of(taken.settled, 'item')} decided by them, "
            f"{number_of(len(taken.told), 'line')} did not fit"
        )
        console.print(said, highlight=False, markup=False)
        return 2 if taken.told else 0

    look_at(name, take)
