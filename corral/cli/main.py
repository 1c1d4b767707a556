"""The command line: all commands in one app, and each error's exit code."""

from __future__ import annotations

import sys

import typer

from corral.cli.backup import backup
from corral.cli.doctor import doctor
from corral.cli.evaluating import evaluate
from corral.cli.gating import gate
from corral.cli.judging import calibrate, compare, judge
from corral.cli.people import approve, review
from corral.cli.results import export, rollback, write_page
from corral.cli.runs import list_runs, resume, run, show
from corral.cli.shared import errors
from corral.cli.signals import ended_at_once
from corral.cli.terminal import make_visible
from state.errors import CorralError
from tools.visible import one_line

HELP = """From seed tasks to a preference-tuned LoRA adapter, measured against its base.

Exit codes: 0 done, 1 failed, 2 bad input, 3 waiting for a human, 4 another process took the run over,
130 and 143 stopped by SIGINT (Ctrl-C) and SIGTERM.

Each run keeps a log, log.jsonl in its folder. To see it on standard error too, set CORRAL_LOG_LEVEL=INFO."""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

RUNS, FILES, MACHINE = "A run and what it makes", "Files, without a run", "This machine"
app.command(rich_help_panel=RUNS)(run)
app.command(rich_help_panel=RUNS)(resume)
app.command("runs", rich_help_panel=RUNS)(list_runs)
app.command(rich_help_panel=RUNS)(show)
app.command(rich_help_panel=RUNS)(review)
app.command(rich_help_panel=RUNS)(approve)
app.command(rich_help_panel=RUNS)(export)
app.command("report", rich_help_panel=RUNS)(write_page)
app.command(rich_help_panel=RUNS)(rollback)
app.command(rich_help_panel=FILES)(gate)
app.command(rich_help_panel=FILES)(judge)
app.command(rich_help_panel=FILES)(compare)
app.command(rich_help_panel=FILES)(calibrate)
app.command(rich_help_panel=FILES)(evaluate)
app.command(rich_help_panel=MACHINE)(doctor)
app.command(rich_help_panel=MACHINE)(backup)


def main() -> None:
    """Run the command line; an error of ours is one line and its exit code."""
    make_visible()
    try:
        with ended_at_once():
            app(standalone_mode=True)
    except CorralError as error:
        errors.print(f"corral: {one_line(str(error))}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
