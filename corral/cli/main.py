"""The command line: all commands in one app, and each error's exit code."""

from __future__ import annotations

import sys
from copy import copy
from typing import Annotated

import typer

from corral.cli import formats
from corral.cli.adapters import push
from corral.cli.backup import backup
from corral.cli.calibrations import judges
from corral.cli.comparing import compare
from corral.cli.crewing import crew
from corral.cli.doctor import doctor
from corral.cli.evaluating import evaluate
from corral.cli.gating import gate
from corral.cli.improving import canary, improve
from corral.cli.init import init
from corral.cli.judging import calibrate, judge
from corral.cli.monitoring import forget, monitor
from corral.cli.people import approve, review
from corral.cli.results import export, rollback, write_page
from corral.cli.runs import delete, list_runs, resume, run, show
from corral.cli.serving import serve
from corral.cli.settings import list_settings
from corral.cli.shared import errors
from corral.cli.signals import ended_at_once
from corral.cli.terminal import make_visible
from state.errors import CorralError
from state.late_packages import import_late
from tools.machine.garbage import collect_seldom
from tools.visible import one_line

HELP = """From seed tasks to a preference-tuned LoRA adapter, measured against its base.

Exit codes: 0 done, 1 failed, 2 bad input, 3 waiting for a human, 4 another process took the run over,
130 and 143 stopped by SIGINT (Ctrl-C) and SIGTERM.

Each run keeps a log, log.jsonl in its folder. To see it on standard error too, set CORRAL_LOG_LEVEL=INFO."""

app = typer.Typer(
    help=HELP,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

RUNS, FILES, MACHINE = "A run and what it makes", "Files, without a run", "This machine"
LOOP = "What is served, and the next version"
app.command(rich_help_panel=RUNS, epilog=formats.CONFIG)(run)
app.command(rich_help_panel=RUNS)(resume)
app.command(rich_help_panel=RUNS, epilog=formats.CONFIG)(crew)
app.command("runs", rich_help_panel=RUNS)(list_runs)
app.command(rich_help_panel=RUNS)(show)
app.command(rich_help_panel=RUNS, epilog=formats.DECISIONS)(review)
app.command(rich_help_panel=RUNS)(approve)
app.command(rich_help_panel=RUNS, epilog=formats.EXPORTED)(export)
app.command(rich_help_panel=RUNS)(push)
app.command("report", rich_help_panel=RUNS)(write_page)
app.command(rich_help_panel=LOOP, epilog=formats.CONFIG)(improve)
app.command(rich_help_panel=LOOP)(canary)
app.command(rich_help_panel=LOOP)(monitor)
app.command(rich_help_panel=LOOP)(forget)
app.command(rich_help_panel=RUNS)(rollback)
app.command(rich_help_panel=RUNS)(serve)
app.command(rich_help_panel=RUNS)(delete)
app.command(rich_help_panel=FILES, epilog=formats.ALPACA)(gate)
app.command(rich_help_panel=FILES, epilog=formats.OUTPUTS)(judge)
app.command(rich_help_panel=FILES, epilog=formats.COMPARED)(compare)
app.command(rich_help_panel=FILES, epilog=formats.LABELS)(calibrate)
app.command(rich_help_panel=FILES)(judges)
app.command(rich_help_panel=FILES, epilog=formats.PROMPTS)(evaluate)
app.command(rich_help_panel=MACHINE)(init)
app.command("settings", rich_help_panel=MACHINE)(list_settings)
app.command(rich_help_panel=MACHINE, epilog=formats.CONFIG)(doctor)
app.command(rich_help_panel=MACHINE)(backup)


VALIDATORS_WORDS = ": Value error, "
"""What Typer's validator puts before its own sentence; it says nothing to a person."""
COMMANDS = {info.name or getattr(info.callback, "__name__", ""): info for info in app.registered_commands}


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"corral {version('corral')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; an error of ours, or one of the arguments, is one line and its exit code."""
    collect_seldom()
    import_late()
    make_visible()
    try:
        with ended_at_once():
            code = _with_what_is_asked(sys.argv[1:2])(sys.argv[1:] or ["--help"], standalone_mode=False)
    except CorralError as error:
        _end(str(error), error.exit_code)
    except typer.TyperException as error:
        command = next((word for word in sys.argv[1:2] if word in COMMANDS), "")
        said = " ".join(error.format_message().split()).replace(VALIDATORS_WORDS, ": ")
        _end(f"{said} (see '{f'corral {command}'.strip()} --help')", error.exit_code)
    except typer.Abort:
        _end("stopped; nothing was changed", 130)
    except KeyboardInterrupt:
        _end("stopped; 'corral resume RUN' goes on", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _with_what_is_asked(first: list[str]) -> typer.Typer:
    """Return the app with the command alone that the first argument names; with all where it names none.

    Typer reads the arguments of every command that an app has, which is a tenth of a second for all of them.
    """
    if not first or first[0] not in COMMANDS:
        return app
    alone = copy(app)
    alone.registered_commands = [COMMANDS[first[0]]]
    return alone


def _end(line: str, code: int) -> None:
    errors.print(f"corral: {one_line(line)}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)
