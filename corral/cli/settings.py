"""``corral settings``: every setting of a run and of the environment, with default, bounds and what it does."""

from __future__ import annotations

from typing import Annotated

import typer

from corral.cli.shared import AsJson, console, print_json

Key = Annotated[
    str | None, typer.Argument(metavar="KEY", help="A setting such as train.epochs, or a group such as train.")
]


def list_settings(key: Key = None, as_json: AsJson = False) -> None:
    """List every setting with its default, its bounds and what it does; with KEY, one of them or one group.

    Settings of a run stand in its config or in 'corral run --set KEY=VALUE', those in capitals in the environment.
    """
    from tools.catalogue import find_settings

    found = find_settings(key)
    if as_json:
        print_json(found)
        return
    for one in found:
        facts = ", ".join(filter(None, (one.kind, one.bounds, f"default {one.default}")))
        console.print(f"{one.key}  ({facts})", highlight=False, markup=False, soft_wrap=True)
        for line in one.text.split("\n"):
            console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
