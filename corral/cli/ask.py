"""Put an interrupt's question to a person on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.prompt import Prompt
from rich.text import Text

from tools.people.decisions import DECISIONS, consequences
from tools.visible import visible

EDITABLE = ("completion", "instruction", "dollars")
"""The arguments that a person may edit: of an action, the first of these that it has."""


def ask(console: Console, question: Mapping[str, Any], reviewer: str) -> dict[str, Any]:
    """Show each action of an interrupt and return the person's answer.

    Args:
        console: a terminal.
        question: the interrupt's value, in LangChain's human-in-the-loop form.
        reviewer: who answers.

    Raises:
        KeyboardInterrupt: the person left; nothing was decided.
    """
    configs = {config["action_name"]: config["allowed_decisions"] for config in question["review_configs"]}
    actions = question["action_requests"]
    decisions = []
    for number, action in enumerate(actions, 1):
        show(console, action, f"{number} of {len(actions)}")
        decisions.append(_ask_decision(console, action, configs[action["name"]]))
    return {"decisions": decisions, "reviewer": reviewer}


def show(console: Console, action: Mapping[str, Any], place: str) -> None:
    """Print one action. What models wrote is printed as it is, but for what would steer the terminal."""
    text = Text(visible(action["description"]))
    for name, value in action["args"].items():
        if value not in ("", None):
            text.append(f"\n\n{visible(name)}\n", style="bold")
            text.append(visible(str(value)))
    console.print(Panel(text, title=Text(visible(f"{action['name']}, {place}")), title_align="left"))


def _ask_decision(console: Console, action: Mapping[str, Any], allowed: list[str]) -> dict[str, Any]:
    keys = {consequences(kind).key: kind for kind in DECISIONS if kind in allowed}
    names = ", ".join(f"{key} = {kind}" for key, kind in keys.items())
    kind = keys[Prompt.ask(names, console=console, choices=list(keys))]
    if consequences(kind).rewrites:
        return {"type": kind, "edited_action": {"name": action["name"], "args": _edited(console, action["args"])}}
    return {"type": kind, "message": Prompt.ask("comment", console=console, default="", show_default=False)}


def _edited(console: Console, args: Mapping[str, Any]) -> dict[str, Any]:
    name = next(name for name in EDITABLE if name in args)
    before = str(args[name])
    after = Prompt.ask(name, console=console, default=before) if name == "dollars" else click.edit(before)
    comment = Prompt.ask("comment", console=console, default="", show_default=False)
    return dict(args) | {name: (after or before).strip(), "comment": comment}
