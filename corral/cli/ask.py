"""Put an interrupt's question to a person on the terminal: one key answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from corral.cli.editing import one_line_of
from corral.cli.keys import CTRL_C, CTRL_D, Keys
from tools.people.decisions import DECISIONS, consequences
from tools.visible import visible

EDITABLE = "dollars"
"""The argument that a person may edit here; the review's items have a screen of their own."""


async def ask(console: Console, question: Mapping[str, Any], reviewer: str, keys: Keys) -> dict[str, Any]:
    """Show each action of an interrupt and return the person's answer.

    Args:
        console: a terminal.
        question: the interrupt's value, in LangChain's human-in-the-loop form.
        reviewer: who answers.
        keys: of the terminal.

    Raises:
        typer.Exit: the person left; nothing was decided.
    """
    configs = {config["action_name"]: config["allowed_decisions"] for config in question["review_configs"]}
    actions = question["action_requests"]
    decisions = []
    for number, action in enumerate(actions, 1):
        show(console, action, f"{number} of {len(actions)}")
        decisions.append(await _ask_decision(console, action, configs[action["name"]], keys))
    return {"decisions": decisions, "reviewer": reviewer}


def show(console: Console, action: Mapping[str, Any], place: str) -> None:
    """Print one action. What models wrote is printed as it is, but for what would steer the terminal."""
    text = Text(visible(action["description"]))
    for name, value in action["args"].items():
        if value not in ("", None):
            text.append(f"\n\n{visible(name)}\n", style="bold")
            text.append(visible(str(value)))
    console.print(Panel(text, title=Text(visible(f"{action['name']}, {place}")), title_align="left"))


async def _ask_decision(console: Console, action: Mapping[str, Any], allowed: list[str], keys: Keys) -> dict[str, Any]:
    kinds = {consequences(kind).key: kind for kind in DECISIONS if kind in allowed}
    shown = "  ".join(f"[{key}] {kind}" for key, kind in kinds.items())
    comment = ""
    while True:
        console.print(f"{shown}  [n] note  [q] leave" + (f"   note: {comment}" if comment else ""), highlight=False)
        key = (await keys.read()).lower()
        if key in (CTRL_C, CTRL_D, "q"):
            raise typer.Exit(130)
        if key == "n":
            comment = await one_line_of("note", keys) or comment
        elif key in kinds and not consequences(kinds[key]).rewrites:
            return {"type": kinds[key], "message": comment}
        elif key in kinds and (given := await one_line_of(EDITABLE, keys)):
            args = dict(action["args"]) | {EDITABLE: given, "comment": comment}
            return {"type": kinds[key], "edited_action": {"name": action["name"], "args": args}}
