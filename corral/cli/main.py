"""The command line: one function a command. Parse, call, print."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from corral.cli.ask import ask
from corral.cli.evaluating import evaluate
from corral.cli.files import gate
from corral.cli.judging import calibrate, compare, judge
from corral.cli.reporting import report
from corral.cli.tables import print_accounts, print_estimate, print_paths, print_runs, print_scoreboard
from corral.cli.watch import watch
from corral.doctor import examine
from graph.accounts import account, expected_cost
from graph.inputs import request_to_show
from graph.runs import Runs, how_to_answer, open_runs
from state.errors import BadInput, CorralError, RunBusy
from tools.config import load_request
from tools.dataset.files import ALPACA, DPO, SFT
from tools.registry import point
from tools.settings import Settings, load_settings

WAITING = 3
EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 bad input, 3 waiting for a human."

app = typer.Typer(
    help=f"From seed tasks to a preference-tuned LoRA adapter, measured against its base.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console(width=None if sys.stdout.isatty() else 140)
errors = Console(stderr=True)

Config = Annotated[Path | None, typer.Argument(metavar="[CONFIG.yaml]", help="The request; defaults if left out.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting over the file's, such as train.epochs=3. Repeatable."),
]
Unattended = Annotated[bool, typer.Option("--unattended", help="Never wait for a person: a named policy decides.")]
RunId = Annotated[str | None, typer.Option("--run-id", help="Name the run yourself.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as 'corral runs' lists it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
All = Annotated[Literal["approve", "reject"] | None, typer.Option("--all", help="Decide all items of all pages alike.")]
Answers = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help='The answers of one page: {"decisions": [...]}.')
]
Reject = Annotated[bool, typer.Option("--reject", help="Decline instead.")]
Comment = Annotated[str, typer.Option(help="Why; kept with the decision.")]
Dollars = Annotated[
    float | None, typer.Option("--budget", metavar="DOLLARS", min=0, help="Answer a used-up budget with a new cap.")
]
Format = Annotated[Literal["alpaca", "sft", "dpo"], typer.Option("--format", help="Which file.")]
Out = Annotated[Path | None, typer.Option(help="Where to write it; standard output if left out.")]
Version = Annotated[str, typer.Argument(help="A version in the registry.")]
Registry = Annotated[Path | None, typer.Option(help="The registry, where the run named one of its own.")]
RESULTS = ("dataset", "training_decision", "adapter", "verdict", "approval", "deployed", "warnings")


@app.command()
def run(config: Config = None, set_: Set = None, unattended: Unattended = False, run_id: RunId = None) -> None:
    """Start a run and work on it until it is done or waits for a person.

    Everything it makes lies in a folder of its own, and a killed run goes on with 'corral resume'.
    """
    given = [*(set_ or []), *(["unattended=true"] if unattended else [])]
    request = load_request(config, given, openai_base_url=_settings().openai_base_url)

    async def start(runs: Runs) -> int:
        name = await runs.create(request, run_id)
        console.print(f"run {name}", highlight=False)
        print_estimate(console, await asyncio.to_thread(expected_cost, await request_to_show(runs.services, name)))
        return await _advance(runs, name)

    _with_runs(start)


@app.command()
def resume(name: RunName) -> None:
    """Go on with a run that was killed or failed. What was answered before is not asked again."""
    _with_runs(lambda runs: _advance(runs, name))


@app.command(name="runs")
def list_runs(as_json: AsJson = False) -> None:
    """List all runs, newest first, and where they stand."""

    async def show_all(runs: Runs) -> int:
        statuses = await runs.statuses()
        if as_json:
            _print_json([status.model_dump(mode="json") for status in statuses])
        else:
            print_runs(console, statuses)
        return 0

    _with_runs(show_all)


@app.command()
def show(name: RunName, as_json: AsJson = False) -> None:
    """Show where a run stands, the sum of its rows and calls, and its scoreboard."""

    async def show_one(runs: Runs) -> int:
        status, state = await runs.status(name), await runs.state(name)
        accounts = await account(runs.services, name)
        if as_json:
            kept = {key: state.get(key) for key in RESULTS}
            _print_json({"status": status, "accounts": accounts, **kept})
            return 0
        print_runs(console, [status])
        print_accounts(console, accounts)
        await _print_results(runs, name)
        return 0

    _with_runs(show_one)


@app.command()
def review(name: RunName, all_: All = None, answers: Answers = None) -> None:
    """Decide the borderline items a run waits with: approve, edit or reject, each with a comment."""
    given = _read_answers(answers) if answers else None
    _with_runs(lambda runs: _answer(runs, name, "review", all_ or given, repeat=all_ is not None))


@app.command()
def approve(name: RunName, reject: Reject = False, comment: Comment = "", budget: Dollars = None) -> None:
    """Sign the adapter that a run waits with, on its scoreboard; or raise a used-up budget, or settle a training.

    A training that has to change to fit asks first: approve its changes, or --reject to train as requested. One that
    waits for resources looks again when approved, and begins at once when rejected.
    """
    decision: dict[str, Any] = {"type": "reject" if reject else "approve", "message": comment}
    if budget is not None:
        decision = {"type": "edit", "edited_action": {"name": "raise_budget", "args": {"dollars": budget}}}
    asked = not reject and not comment and budget is None and console.is_terminal
    _with_runs(lambda runs: _answer(runs, name, "approve", None if asked else {"decisions": [decision]}))


@app.command()
def export(name: RunName, format_: Format, out: Out = None) -> None:
    """Write a run's dataset: Alpaca JSON, SFT JSONL or DPO JSONL."""

    async def write(runs: Runs) -> int:
        status, state = await runs.status(name), await runs.state(name)
        dataset = state.get("dataset")
        if dataset is None:
            raise BadInput(f"run {name} has no dataset yet; it is {status.standing} at {status.step or 'its start'}")
        try:
            data = (Path(dataset.folder) / {"alpaca": ALPACA, "sft": SFT, "dpo": DPO}[format_]).read_bytes()
            if out is not None:
                out.write_bytes(data)
        except OSError as error:
            raise BadInput(f"{error.filename}: {error.strerror}; name another place with --out") from error
        if out is None:
            sys.stdout.buffer.write(data)
        else:
            console.print(f"{out}: {len(data):,} bytes", highlight=False)
        return 0

    _with_runs(write)


@app.command()
def rollback(version: Version, registry: Registry = None) -> None:
    """Point the registry's current adapter at another version."""
    registry = registry or _settings().home / "registry"
    point(registry, version)
    console.print(f"{registry / 'current'} -> {version}", highlight=False)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look at the endpoint, model file, database, GPU and disk, and say what to do about each."""
    findings = asyncio.run(examine(_settings()))
    if as_json:
        _print_json([finding.model_dump() for finding in findings])
    else:
        table = Table("", "what", "found", "what to do", box=None)
        for finding in findings:
            table.add_row("ok" if finding.ok else "FAIL", finding.what, finding.found, finding.advice)
        console.print(table)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


for command in (gate, judge, compare, calibrate, evaluate, report):
    app.command()(command)


def main() -> None:
    """Run the command line; an error of ours is one line and its exit code."""
    try:
        app(standalone_mode=True)
    except CorralError as error:
        errors.print(f"corral: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("corral: stopped; 'corral resume RUN' goes on", highlight=False)
        sys.exit(130)


def _settings() -> Settings:
    return load_settings()


def _with_runs(work: Callable[[Runs], Coroutine[Any, Any, int]]) -> None:
    async def opened() -> int:
        async with open_runs(_settings()) as runs:
            return await work(runs)

    code = asyncio.run(opened())
    if code:
        raise typer.Exit(code)


async def _advance(runs: Runs, name: str, answer: Any = None) -> int:
    """Work on a run; in a terminal, ask the person in front of it what the run asks."""
    await watch(runs, name, runs.advance(name, answer), console)
    status = await runs.status(name)
    if status.standing == "waiting" and sys.stdin.isatty() and console.is_terminal:
        return await _answer(runs, name, status.step, None)
    await _print_results(runs, name)
    if status.standing == "waiting":
        console.print(f"waiting for a person: {how_to_answer(status)}", style="bold", highlight=False)
        return WAITING
    if "dataset" not in await runs.state(name):
        errors.print("stopped: no prompt was accepted, so there is nothing to answer", style="red", highlight=False)
        return 1
    return 0


async def _answer(runs: Runs, name: str, command: str, given: Any, repeat: bool = False) -> int:
    status = await runs.status(name)
    if status.standing == "running":
        raise RunBusy(f"run {name} is being worked on {status.detail}; wait for it to end or to ask")
    if status.standing != "waiting":
        raise BadInput(f"run {name} does not wait for a person; it is {status.standing}")
    if (command == "review") != (status.step == "review"):
        raise BadInput(f"run {name} waits at {status.step}; answer it with {how_to_answer(status)}")
    question = (await runs.interrupts(name))[0].value
    if given is None and not sys.stdin.isatty():
        raise BadInput("there is no terminal to ask on; give the answer as an option (see --help)")
    reviewer = runs.services.settings.reviewer
    answer = ask(console, question, reviewer) if given is None else given
    if isinstance(answer, str):
        answer = {"decisions": [{"type": answer}] * len(question["action_requests"])}
    code = await _advance(runs, name, {"reviewer": reviewer} | answer)
    if repeat and code == WAITING and (await runs.status(name)).step == "review":
        return await _answer(runs, name, command, given, repeat)
    return code


async def _print_results(runs: Runs, name: str) -> None:
    state = await runs.state(name)
    if verdict := state.get("verdict"):
        print_scoreboard(console, Path(verdict.scoreboard))
    print_paths(console, state, runs.services.runs_folder / name, runs.services.registry)


def _read_answers(path: Path) -> dict[str, Any]:
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"the answers in {path} cannot be read: {error}") from error
    return answers if isinstance(answers, dict) else {"decisions": answers}


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=lambda record: record.model_dump(mode="json"), indent=1))


if __name__ == "__main__":
    main()
