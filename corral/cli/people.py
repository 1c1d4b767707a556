"""Commands by which a person decides: review, approve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corral.cli.shared import RunName, console, with_run
from state.errors import BadInput

if TYPE_CHECKING:
    from graph.runs import Runs

All = Annotated[Literal["approve", "reject"] | None, typer.Option("--all", help="Decide all items of all pages alike.")]
Answers = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help='The answers of one page: {"decisions": [...]}.')
]
Export = Annotated[
    Path | None,
    typer.Option("--export", metavar="FILE", help="Write what goes to people, and what they sent, for other tools."),
]
Import = Annotated[Path | None, typer.Option("--import", metavar="FILE", help="Send the ratings of such a file.")]
FileFormat = Annotated[
    Literal["jsonl", "argilla", "label-studio"], typer.Option("--format", help="Of the file to export or import.")
]
Reject = Annotated[bool, typer.Option("--reject", help="Decline instead.")]
Comment = Annotated[str, typer.Option(help="Why; kept with the decision.")]
Dollars = Annotated[
    float | None,
    typer.Option("--budget", metavar="DOLLARS", min=0, help="The new cap of a run whose budget is used up."),
]


def review(
    name: RunName,
    all_: All = None,
    answers: Answers = None,
    export: Export = None,
    import_: Import = None,
    format_: FileFormat = "jsonl",
) -> None:
    """Decide the borderline items that a run waits with: approve, edit or reject, each with a comment."""
    if export is not None or import_ is not None:
        _exchange(name, export, import_, format_)
        return
    given = _read_answers(answers) if answers else None
    _answer(name, "review", all_ or given, repeat=all_ is not None)


def _exchange(
    name: str, export: Path | None, import_: Path | None, format_: Literal["jsonl", "argilla", "label-studio"]
) -> None:
    from corral.cli.review_files import export_to, import_from

    if export is not None and import_ is not None:
        raise BadInput("give --export or --import, one at a time")
    if export is not None:
        export_to(name, format_, export)
    elif import_ is not None:
        import_from(name, format_, import_)


def approve(name: RunName, reject: Reject = False, comment: Comment = "", budget: Dollars = None) -> None:
    """Sign the adapter that a run waits with, raise its budget, or decide on its training.

    A training that must change to fit this machine asks first: approve the changes, or --reject to train as requested.
    A training that waits for resources looks again when approved, and begins at once when rejected.
    """
    decision: dict[str, Any] = {"type": "reject" if reject else "approve", "message": comment}
    if budget is not None:
        decision = {"type": "edit", "edited_action": {"name": "raise_budget", "args": {"dollars": budget}}}
    asked = not reject and not comment and budget is None and console.is_terminal
    _answer(name, "approve", None if asked else {"decisions": [decision]})


def _answer(name: str, command: str, given: Any, *, repeat: bool = False) -> None:
    async def answer(runs: Runs, name: str) -> int:
        from corral.cli.advancing import answer_run

        return await answer_run(runs, name, command, given, repeat)

    with_run(name, answer)


def _read_answers(path: Path) -> dict[str, Any]:
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"the answers in {path} cannot be read: {error}") from error
    return answers if isinstance(answers, dict) else {"decisions": answers}
