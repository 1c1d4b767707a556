"""Commands by which a person decides: review, approve."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corral.cli.shared import RunName, Yes, console, with_run
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
Decisions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help='Decisions, one a line: {"item_id": "...", "decision": "approve"}; "-" for standard input.',
    ),
]
Items = Annotated[
    bool, typer.Option("--json", help="Print what waits, one item a line, to fill in decisions for --decisions.")
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
    decisions: Decisions = None,
    as_json: Items = False,
    export: Export = None,
    import_: Import = None,
    format_: FileFormat = "jsonl",
    yes: Yes = False,
) -> None:
    """Decide what a run waits with: approve, edit or reject, one key each; your decisions are kept one by one."""
    ways = {"--all": all_, "--answers": answers, "--decisions": decisions, "--json": as_json or None}
    ways |= {"--export": export, "--import": import_}
    given = [option for option, value in ways.items() if value is not None]
    if len(given) > 1:
        raise BadInput(f"{' and '.join(given)} exclude one another; give one of {', '.join(ways)}")
    if export is not None:
        from corral.cli.review_files import export_to

        export_to(name, format_, export, yes)
    elif import_ is not None:
        from corral.cli.review_files import import_from

        import_from(name, format_, import_)
    elif decisions is not None:
        _decide_by_file(name, decisions)
    elif as_json:
        _print_items(name)
    else:
        page = _read_answers(answers) if answers else None
        _answer(name, "review", all_ or page, repeat=all_ is not None)


def _decide_by_file(name: str, file: Path) -> None:
    async def decide(runs: Runs, name: str) -> int:
        from corral.cli.advancing import after_sending
        from graph.deciding import take_file
        from graph.reviews import Reviews

        with as_file(file) as path:
            sent = await take_file(Reviews(runs), name, path, runs.services.settings.reviewer)
        return await after_sending(runs, name, sent)

    with_run(name, decide)


def _print_items(name: str) -> None:
    async def show(runs: Runs, name: str) -> int:
        from graph.reviews import Reviews

        reviews, rater, after = Reviews(runs), runs.services.settings.reviewer, None
        while True:
            page = await reviews.queue(rater, run=name, after=after)
            for queued in page.items:
                item = await reviews.item(name, queued.item_id, rater)
                line = {"item_id": item.item_id, "decision": ""} | item.model_dump(mode="json")
                print(json.dumps(line, ensure_ascii=True))
            if (after := page.next) is None:
                return 0

    with_run(name, show)


def approve(name: RunName, reject: Reject = False, comment: Comment = "", budget: Dollars = None) -> None:
    """Sign the adapter that a run waits with, raise its budget, or decide on its training.

    A training that must change to fit this machine asks first: approve the changes, or --reject to train as requested.
    A training that waits for resources looks again when approved, and begins at once when rejected.
    """
    decision: dict[str, Any] = {"type": "reject" if reject else "approve", "message": comment}
    action = "" if budget is None else "raise_budget"
    if action:
        decision = {"type": "edit", "edited_action": {"name": action, "args": {"dollars": budget}}}
    asked = not reject and not comment and budget is None and console.is_terminal
    _answer(name, "approve", None if asked else {"decisions": [decision]}, action=action)


def _answer(name: str, command: str, given: Any, *, repeat: bool = False, action: str = "") -> None:
    async def answer(runs: Runs, name: str) -> int:
        from corral.cli.advancing import answer_run

        return await answer_run(runs, name, command, given, repeat, action)

    with_run(name, answer)


@contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """Yield a file, or for ``-`` a temporary one with what comes from standard input.

    Raises:
        BadInput: what the body raises; it names standard input where that is what was read.
    """
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="corral-") as folder:
        file = Path(folder) / "standard input"
        file.write_bytes(sys.stdin.buffer.read())
        try:
            yield file
        except BadInput as error:
            raise BadInput(str(error).replace(str(file), file.name)) from error


def _read_answers(path: Path) -> dict[str, Any]:
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"the answers in {path} cannot be read: {error}") from error
    return answers if isinstance(answers, dict) else {"decisions": answers}
