"""``corral evaluate``: any PEFT adapter against its base, on any prompts with checks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from corral.cli.shared import AsJson, console, errors, open_settings, print_json, with_cost
from corral.cli.signals import AGAIN, run_orderly
from state.wording import number_of


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="A PEFT adapter's folder.")],
    prompts: Annotated[Path, typer.Option(help="Prompts with checks, or IFEval's own file; see below.")],
    base: Annotated[
        str | None, typer.Option(help="Its base: a folder, 'embedded', or a hub name. Default: as the adapter says.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take only so many prompts: the first, or a fixed sample of IFEval.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, max=32_768, help="The most tokens of an answer. Default: 144; for IFEval 1280.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for answers and results; default: in Corral's home.")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate any PEFT adapter against its base.

    When it was killed, the same command goes on where it was.
    """
    from tools.evaluation.standalone import Evaluated, evaluate_adapter, plan_evaluation

    settings = open_settings()
    with errors.status("looking at prompts, adapter and base ..."):
        plan = plan_evaluation(
            adapter,
            prompts,
            base=base,
            limit=limit,
            max_tokens=max_tokens,
            out=out,
            home=settings.home,
            cache=settings.cache,
        )
    # Behind the plan, since it refuses what is wrong, and needs none of it.
    from corral.cli.outcome import print_accuracies, print_scoreboard
    from corral.cli.watch import open_view
    from corral.standalone import EVALUATION, open_ledger
    from tools.endpoint.spending import CappedLedger, Spending
    from tools.progress import Meter

    meter, spending = Meter(), Spending()
    with open_view(errors) as view:

        def show(step: str, done: int, total: int | None) -> None:
            view.show(meter.reach(step, done, total, time.monotonic()))

        async def work() -> Evaluated:
            ledger = CappedLedger(await open_ledger(settings), spending)
            return await evaluate_adapter(plan, ledger, EVALUATION, show)

        found = run_orderly(work(), AGAIN)
    if as_json:
        print_json(with_cost(found, spending))
        return
    print_scoreboard(console, Path(found.scoreboard_file))
    if found.accuracies:
        print_accuracies(console, found.accuracies)
    for note in found.scoreboard.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    for what, where in (("base", found.base), ("scoreboard", found.scoreboard_file), ("answers", found.answers_file)):
        console.print(f"{what:11} {where}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"spent $0 on {number_of(spending.calls, 'call')}: the weights are on this machine", highlight=False)
