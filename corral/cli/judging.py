"""Commands that judge files: judge (outputs) and calibrate (the judge against people)."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from corral.cli.shared import (
    AsJson,
    JudgeBudget,
    JudgeConfig,
    console,
    errors,
    note_small_model,
    open_settings,
    print_json,
    read_request,
    spending_of,
    with_cost,
)
from corral.cli.signals import AGAIN, run_orderly
from state.errors import BadInput
from state.names import Split
from state.wording import number_of
from tools.visible import one_line

if TYPE_CHECKING:
    from tools.judging import Calibration, QualityReport

T = TypeVar("T")


def judge(
    file: Annotated[
        Path, typer.Argument(help='Outputs: rows of {"prompt": ..., "output": ...}; which files are read stands below.')
    ],
    fail_under: Annotated[float | None, typer.Option(min=0, max=100, help="Exit 1 if a score is under this.")] = None,
    config: JudgeConfig = None,
    budget: JudgeBudget = None,
    as_json: AsJson = False,
) -> None:
    """Judge any outputs: scores, stars, failed checks, and what falls short."""
    from tools.sources.items import read_items

    request, items, settings = read_request(config), read_items(file), open_settings()
    # Behind the reading: what judges takes a second to load, and a file that is wrong needs none of it.
    from corral.cli.counting import counting
    from corral.standalone import in_words, open_judge
    from tools.judging import judge_quality
    from tools.judging.trust import recalibration_of

    spending = spending_of(budget, request)

    note_small_model(request, "judge")

    async def work() -> QualityReport:
        opened = await open_judge(request.models.judge, request.judge, settings, spending, seed=request.seed)
        with counting(len(items)) as counted:
            return await judge_quality(counted(opened), items)

    judged = wait_for(work())
    known = recalibration_of(judged.judge, settings.home)
    if known is not None and known.recalibration is not None:
        judged = judged.recalibrated(known.recalibration.curve)
    if as_json:
        print_json(with_cost(judged, spending))
    else:
        _print_judged(judged)
        console.print(in_words(spending, request.models.judge), highlight=False, markup=False)
    _demand_judged(judged)
    if fail_under is not None and (short := judged.short(fail_under)):
        errors.print(f"rows that fall short of {fail_under:g}: {len(short)} of {len(judged.rows)}")
        raise typer.Exit(1)


def calibrate(
    labels: Annotated[
        Path | None, typer.Argument(metavar="[LABELS.jsonl]", help="Pairs or single ratings by people.")
    ] = None,
    decisions: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="In place of a file: what people decided in this run, or in 'all' runs."),
    ] = None,
    mapping: Annotated[
        str | None, typer.Option(help="What other labels mean, such as 0=1,1=2: 1 the first, 2 the second, 0 a tie.")
    ] = None,
    split: Annotated[
        Split,
        typer.Option(
            help="Half of the prompts to 'tune' a judge on, or the others to 'report' on; neither by default."
        ),
    ] = "all",
    config: JudgeConfig = None,
    budget: JudgeBudget = None,
    as_json: AsJson = False,
) -> None:
    """Measure the judge against people and what costs nothing, and keep the figures under its identity.

    With --decisions nobody is asked anything: the labels are the decisions of reviews, and the judge has spoken.
    """
    if (labels is None) == (decisions is None):
        raise BadInput("give a file of labels, or --decisions RUN (or 'all'): one of the two")
    if decisions is not None:
        if split != "all":
            raise BadInput("--split parts a file's labels; decisions of a review are all reported")
        if mapping is not None:
            raise BadInput("--mapping says what a file's labels mean; decisions of a review have one meaning")
        from corral.cli.teaching import calibrate_by_decisions

        calibrate_by_decisions(decisions, config, as_json)
    elif labels is not None:
        _calibrate_by_labels(labels, mapping, split, config, budget, as_json)


def _calibrate_by_labels(
    labels: Path, mapping: str | None, split: Split, config: Path | None, budget: float | None, as_json: bool
) -> None:
    from tools.sources.labels import ChosenPair, read_label_set, read_mapping

    meanings = None if mapping is None else read_mapping(mapping)
    request, given, settings = read_request(config), read_label_set(labels, meanings), open_settings()
    # Behind the reading, as for ``judge``.
    from corral.cli.calibrations import print_calibration
    from corral.cli.counting import OF_A_PAIR, counting
    from corral.standalone import in_words, measured_judge
    from tools.judging import save_calibration
    from tools.judging.trust import all_calibrations, demand_untouched

    spending, rows = spending_of(budget, request), given.part(split)
    demand_untouched(given.id, split, all_calibrations(settings.home))

    note_small_model(request, "judge")

    async def work() -> Calibration:
        with counting(sum(OF_A_PAIR if isinstance(row, ChosenPair) else 1 for row in rows)) as counted:
            return await measured_judge(request, given, split, settings, spending, counted)

    found = wait_for(work())
    path = save_calibration(found, settings.home)
    if as_json:
        print_json(with_cost(found, spending))
    else:
        print_calibration(found, path)
        console.print(in_words(spending, request.models.judge), highlight=False, markup=False)


def _demand_judged(judged: QualityReport) -> None:
    """Exit 1 where nothing at all was judged: a report of failures is no report."""
    if judged.failed == len(judged.rows):
        why = "; ".join(judged.rows[0].judgement.reasons)
        line = f"corral: no row of {len(judged.rows)} could be judged; the next time they are asked again. {why}"
        errors.print(one_line(line), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)


def _print_judged(judged: QualityReport) -> None:
    from corral.cli.tables import print_table

    known = any(row.taken is not None for row in judged.rows)
    rows = []
    for row in judged.rows:
        found = row.judgement
        why = "; ".join(found.reasons)
        scored = "" if found.overall is None else f"{found.overall:.1f}"
        figures = (scored, str(found.stars or ""), f"{found.confidence:.2f}", found.outcome.value)
        chance = ("" if row.taken is None else f"{row.taken:.0%}",) if known else ()
        rows.append((str(row.row), *figures, *chance, why))
    headers = ("row", "overall", "stars", "confidence", "outcome", *(("people take",) if known else ()), "why")
    print_table(console, headers, rows, words=("why",))
    console.print(
        f"{number_of(len(judged.rows), 'row')} = {judged.accepted} accepted + {judged.waiting} for a person + "
        f"{judged.rejected} rejected + {judged.failed} failed; judged by {judged.judge}",
        highlight=False,
    )


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Do the work of a command that judges, and say how to go on where its budget ends."""
    from corral.standalone import at_the_cap

    with at_the_cap("the same command with a higher --budget goes on."):
        return run_orderly(work, AGAIN)
