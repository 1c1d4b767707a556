"""Commands that judge files: judge (outputs), compare (two sets of outputs), calibrate (the judge against people)."""

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
from tools.visible import one_line

if TYPE_CHECKING:
    from tools.judging import ABComparison, Calibration, QualityReport

T = TypeVar("T")
OF_A_PAIR = 3
"""Judgements of a pair: each answer alone, and both side by side."""


def judge(
    file: Annotated[Path, typer.Argument(help='Outputs, one JSON object a line: {"prompt": ..., "output": ...}.')],
    fail_under: Annotated[float | None, typer.Option(min=0, max=100, help="Exit 1 if a score is under this.")] = None,
    config: JudgeConfig = None,
    budget: JudgeBudget = None,
    as_json: AsJson = False,
) -> None:
    """Judge any outputs: scores, stars, failed checks, and what falls short."""
    from corral.cli.counting import counted
    from corral.standalone import in_words, open_judge
    from tools.judging import find_calibration, judge_quality
    from tools.sources.items import read_items

    request, items, settings = read_request(config), read_items(file), open_settings()
    spending = spending_of(budget, request)

    note_small_model(request, "judge")

    async def work() -> QualityReport:
        opening = open_judge(request.models.judge, request.judge, settings, spending, seed=request.seed)
        return await counted(len(items), opening, lambda judge: judge_quality(judge, items))

    judged = _wait(work())
    known = find_calibration(judged.judge, settings.home)
    if known is not None and known.recalibration is not None:
        judged = judged.recalibrated(known.recalibration.curve)
    if as_json:
        print_json(with_cost(judged, spending))
    else:
        _print_judged(judged)
        console.print(in_words(spending, request.models.judge), highlight=False, markup=False)
    _demand_judged(judged)
    if fail_under is not None and (short := judged.short(fail_under)):
        errors.print(f"{len(short)} of {len(judged.rows)} rows fall short of {fail_under:g}")
        raise typer.Exit(1)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.jsonl", help="Outputs of one model.")],
    b: Annotated[Path, typer.Argument(metavar="B.jsonl", help="Outputs of the other, to the same prompts.")],
    config: JudgeConfig = None,
    budget: JudgeBudget = None,
    as_json: AsJson = False,
) -> None:
    """Compare two sets of outputs to the same prompts, each pair in both orders."""
    from corral.cli.counting import counted
    from corral.standalone import in_words, open_judge
    from tools.judging import compare as compare_items
    from tools.sources.items import read_items

    request, items_a, items_b, settings = read_request(config), read_items(a), read_items(b), open_settings()
    spending = spending_of(budget, request)

    note_small_model(request, "judge")

    async def work() -> ABComparison:
        opening = open_judge(request.models.judge, request.judge, settings, spending, seed=request.seed)
        total = OF_A_PAIR * min(len(items_a), len(items_b))
        return await counted(total, opening, lambda judge: compare_items(judge, items_a, items_b, seed=request.seed))

    found = _wait(work())
    if as_json:
        print_json(with_cost(found, spending))
    else:
        _print_comparison(found)
        console.print(in_words(spending, request.models.judge), highlight=False, markup=False)


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
    config: JudgeConfig = None,
    budget: JudgeBudget = None,
    as_json: AsJson = False,
) -> None:
    """Measure the judge against people, and keep the figures under the judge's identity.

    With --decisions nobody is asked anything: the labels are the decisions of reviews, and the judge has spoken.
    """
    if (labels is None) == (decisions is None):
        raise BadInput("give a file of labels, or --decisions RUN (or 'all'): one of the two")
    if decisions is not None:
        if mapping is not None:
            raise BadInput("--mapping says what a file's labels mean; decisions of a review have one meaning")
        from corral.cli.teaching import calibrate_by_decisions

        calibrate_by_decisions(decisions, config, as_json)
    elif labels is not None:
        _calibrate_by_labels(labels, mapping, config, budget, as_json)


def _calibrate_by_labels(
    labels: Path, mapping: str | None, config: Path | None, budget: float | None, as_json: bool
) -> None:
    from corral.cli.counting import counted
    from corral.standalone import in_words, open_judge
    from tools.judging import calibrate as measure
    from tools.judging import save_calibration
    from tools.sources.labels import ChosenPair, read_labels, read_mapping

    meanings = None if mapping is None else read_mapping(mapping)
    request, rows, settings = read_request(config), read_labels(labels, meanings), open_settings()
    spending = spending_of(budget, request)

    note_small_model(request, "judge")

    async def work() -> Calibration:
        opening = open_judge(request.models.judge, request.judge, settings, spending, seed=request.seed)
        total = sum(OF_A_PAIR if isinstance(row, ChosenPair) else 1 for row in rows)
        return await counted(total, opening, lambda judge: measure(judge, rows, seed=request.seed))

    found = _wait(work())
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
        line = f"corral: none of the {len(judged.rows)} rows could be judged; the next time they are asked again. {why}"
        errors.print(one_line(line), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)


def _print_judged(judged: QualityReport) -> None:
    from corral.cli.tables import print_table

    known = any(row.taken is not None for row in judged.rows)
    rows = []
    for row in judged.rows:
        found = row.judgement
        why = "; ".join(found.reasons)
        figures = (f"{found.overall:.0f}", str(found.stars), f"{found.confidence:.2f}", found.outcome.value)
        chance = ("" if row.taken is None else f"{row.taken:.0%}",) if known else ()
        rows.append((str(row.row), *figures, *chance, why))
    headers = ("row", "overall", "stars", "confidence", "outcome", *(("people take",) if known else ()), "why")
    print_table(console, headers, rows, words=("why",))
    console.print(
        f"{len(judged.rows)} rows = {judged.accepted} accepted + {judged.waiting} for a person + {judged.rejected} "
        f"rejected + {judged.failed} failed; judged by {judged.judge}",
        highlight=False,
    )


def _print_comparison(found: ABComparison) -> None:
    from corral.cli.tables import print_table

    headers = ("pairs", "A wins", "B wins", "ties", "flips", "failed", "unmatched", "mean A", "mean B")
    counts = (found.pairs, found.wins_a, found.wins_b, found.ties, found.flips, found.failed, found.unmatched)
    print_table(console, headers, [(*map(str, counts), f"{found.overall_a:.1f}", f"{found.overall_b:.1f}")])
    console.print(f"{found.summary} Judged by {found.judge}.", highlight=False, markup=False)


def print_calibration(found: Calibration, path: Path) -> None:
    """Print a calibration's figures, and where it is kept."""
    from corral.cli.tables import print_table

    rows = []
    estimates = {
        "agreement": found.agreement,
        "Cohen's kappa": found.kappa,
        "Krippendorff's alpha": found.alpha,
        "agreement when asked for the better": found.asked_agreement,
        "flips when the order is swapped": found.flips,
    }
    for name, figure in estimates.items():
        if figure is not None:
            rows.append((name, f"{figure.value:.3f}", f"[{figure.low:.3f}, {figure.high:.3f}]"))
    for name, share in (("prefers longer", found.prefers_longer), ("people prefer longer", found.people_prefer_longer)):
        if share is not None:
            rows.append((name, f"{share:.3f}", ""))
    print_table(console, ("figure", "value", "95% interval"), rows)
    for part in found.curve:
        console.print(f"confidence {part.confidence:.2f}: right {part.accuracy:.2f} of {part.rows}", highlight=False)
    console.print(
        f"{found.labels} {found.kind}, {found.failed} failed, {found.seconds:.0f} s, judged by {found.judge}; "
        f"kept in {path}",
        highlight=False,
        soft_wrap=True,
    )


def _wait(work: Coroutine[Any, Any, T]) -> T:
    from corral.standalone import at_the_cap

    with at_the_cap("the same command with a higher --budget goes on."):
        return run_orderly(work, AGAIN)
