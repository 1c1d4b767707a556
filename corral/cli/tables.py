"""The tables of all commands, and those of ``corral show`` and ``corral runs``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from state.wording import number_of

if TYPE_CHECKING:  # a tenth of a second each, and a list of runs needs none
    from graph.accounts import Accounts
    from graph.standing import RunStatus
    from tools.checklists.items import Checklist
    from tools.checklists.kept import Stage
    from tools.crews.performance import Performance
    from tools.generation.costing import CostEstimate, StageComparison

GAP = 2
"""Columns of the terminal between two columns of a table."""
READABLE = 24
"""Columns of the terminal that running text needs beside other columns; narrower, it would be a word a line."""
OUTCOMES = ("accepted", "rejected", "waiting", "pending", "failed")


def print_table(
    console: Console,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: Collection[str] = (),
    title: str = "",
) -> None:
    """Print a table, and cut nothing off: where the console is narrow, running text stands below its row.

    A table that is wider than the console even so is printed as lines.

    Args:
        console: where to.
        headers: the names of the columns, which may be wrapped.
        rows: plain text, a cell for each column.
        words: the columns of running text, which may be wrapped, too; names and figures stay whole.
        title: stands above it.
    """
    if title:
        console.print(Text(title, style="italic"))
    texts = [n for n, header in enumerate(headers) if n and header in words]
    for below in ([], texts):
        beside = [n for n in range(len(headers)) if n not in below]
        columns = [(headers[n], [row[n] for row in rows], headers[n] in words) for n in beside]
        widths = _widths([_span(*column, room=READABLE if n else 0) for n, column in enumerate(columns)], console.width)
        if widths:
            _print_columns(console, headers, rows, dict(zip(beside, widths, strict=True)))
            return
    for row in rows:
        console.print(Text(row[0], style="bold", overflow="fold"))
        _print_below(console, headers, row, range(1, len(headers)))


def _span(header: str, cells: Sequence[str], wraps: bool, *, room: int) -> tuple[int, int]:
    """Return the columns of the terminal that a column needs at least, and those that it can fill."""
    words = max(map(cell_len, [*header.split(), *(word for cell in cells for word in cell.split())]), default=0)
    longest = max(map(cell_len, cells), default=0)
    whole = longest if not wraps else room if longest > room else 0
    least = max(words, whole)
    return least, max(least, longest, cell_len(header))


def _widths(spans: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Return the widths of columns, each within its span; empty where they have no room beside each other. Pure."""
    room -= GAP * (len(spans) - 1)
    widths = [most for _, most in spans]
    if sum(least for least, _ in spans) > room:
        return []
    while sum(widths) > room:
        widest = max(range(len(spans)), key=lambda n: widths[n] - spans[n][0])
        widths[widest] -= 1
    return widths


def _print_columns(
    console: Console, headers: Sequence[str], rows: Sequence[Sequence[str]], widths: Mapping[int, int]
) -> None:
    """Print the columns that have a width beside each other, and the others below each row."""

    def table(*, header: bool) -> Table:
        columns = (Column(Text(headers[n]), width=width, overflow="fold") for n, width in widths.items())
        return Table(*columns, box=None, pad_edge=False, show_header=header)

    part = table(header=True)
    for row in rows:
        part.add_row(*(Text(row[n]) for n in widths))
        if len(widths) < len(headers):
            console.print(part)
            _print_below(console, headers, row, [n for n in range(len(headers)) if n not in widths])
            part = table(header=False)
    if part.row_count or not rows:
        console.print(part)


def _print_below(console: Console, headers: Sequence[str], row: Sequence[str], which: Iterable[int]) -> None:
    for n in which:
        if row[n]:
            console.print(Text(f"  {headers[n]}: {row[n]}", overflow="fold"))


def print_runs(console: Console, statuses: list[RunStatus]) -> None:
    """Print a table of runs."""
    if not statuses:
        console.print("there are no runs yet; 'corral run' starts one")
        return
    rows = [(s.run_id, to_the_minute(s.created_at), s.standing, s.step, " ".join(s.detail.split())) for s in statuses]
    print_table(console, ("run", "made (UTC)", "stands", "step", "detail"), rows, words=("detail",))


def to_the_minute(moment: str) -> str:
    """Return a time as ISO 8601 has it in a shorter form, in UTC: ``2026-11-26 12:34``. Pure."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M}" if moment else ""


def print_accounts(console: Console, accounts: Accounts) -> None:
    """Print the sum of rows and calls."""
    rows = [
        (row.kind, str(row.total), *(str(getattr(row, name)) for name in OUTCOMES), _reasons(row.reasons))
        for row in accounts.rows
    ]
    title = "Every row is accounted for"
    print_table(console, ("rows", "all", *OUTCOMES, "why not"), rows, words=("rows", "why not"), title=title)
    calls = []
    for used in accounts.calls:
        figures = (used.answered, used.failed, used.from_ledger, used.prompt_tokens, used.completion_tokens)
        calls.append((used.purpose, *(f"{figure:,}" for figure in figures), f"{used.cost:.4f}"))
    headers = ("calls", "answered", "failed", "from the ledger", "tokens in", "tokens out", "dollars")
    print_table(console, headers, calls)
    for line in accounts.batches:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if accounts.costs:
        print_costs(console, accounts.costs)
    for line in accounts.prices:
        console.print(f"price: {line}", highlight=False, markup=False, soft_wrap=True)
    if accounts.costs_note:
        console.print(f"note: {accounts.costs_note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for round_ in accounts.rounds:
        console.print(
            f"round {round_.round}: {round_.accepted} of {round_.offered} accepted, novelty {round_.novelty:.2f}, "
            f"{round_.decision}: {round_.reason}",
            highlight=False,
            markup=False,
        )
    if accounts.decided:
        who = ", ".join(f"{count} {name}" for name, count in accounts.decided.items())
        console.print(f"rows decided at the review: {who}", highlight=False, markup=False)
    for one in accounts.gold:
        console.print(one.in_words, highlight=False, markup=False)
    for error in accounts.audited:
        console.print(error.in_words, highlight=False, markup=False)
    cap = "no cap" if accounts.cap is None else f"cap ${accounts.cap:.4f}"
    console.print(f"spent ${accounts.spent:.4f}, {cap}", highlight=False)


def print_checklists(console: Console, found: Mapping[Stage, Checklist]) -> None:
    """Print the score of each checklist, and every item that failed."""
    for stage, one in found.items():
        passed = sum(item.outcome == "passed" for item in one.items)
        failed = [item for item in one.items if item.outcome == "failed"]
        line = f"checklist of the {stage}: {passed} passed, {len(failed)} failed, score {one.score:.2f} of 1"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        for item in failed:
            word = "critical: " if item.critical else ""
            console.print(f"  {word}{item.name}: {item.evidence}", highlight=False, markup=False, soft_wrap=True)


def print_performance(console: Console, found: Performance) -> None:
    """Print what the agent performance validator found, where anything was measured."""
    measured = [one for one in found.measures if one.value is not None]
    if measured:
        lines = [f"performance: {found.status}", *(f"  {one.in_words}" for one in measured)]
        lines += [f"  advice: {line}" for line in found.recommendations]
        console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def print_costs(console: Console, costs: Sequence[StageComparison]) -> None:
    """Print the estimate of each stage that asks a model, with the actual figures beside it."""
    from tools.generation.spans import in_interval

    rows = []
    for cost in costs:
        expected, actual = cost.estimated, cost.actual
        if cost.stage != "total" and not expected.calls.most and not actual.calls:
            continue
        row = (
            cost.stage,
            in_interval(expected.calls),
            f"{actual.calls:,}",
            in_interval(expected.tokens),
            f"{actual.prompt_tokens + actual.completion_tokens:,}",
            in_interval(expected.dollars, dollars=True),
            f"{expected.dollars.most:.4f}",
            f"{actual.dollars:.4f}",
        )
        rows.append(row)
    ranges = ("calls expected", "tokens expected", "$ expected")
    headers = ("stage", ranges[0], "calls made", ranges[1], "tokens used", ranges[2], "$ at most", "$ paid")
    print_table(console, headers, rows, words=ranges)


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in counts.items())


def print_estimate(console: Console, expected: CostEstimate) -> None:
    """Print what a run is expected to cost, with an interval and a bound, and what that rests on."""
    from tools.generation.spans import in_interval

    total = expected.total
    stages = ", ".join(f"{stage.stage} {stage.calls.expected:,.0f}" for stage in expected.stages if stage.calls.most)
    lines = [
        f"estimate: {in_interval(total.calls)} calls ({stages}), {in_interval(total.prompt_tokens)} tokens in, "
        f"{in_interval(total.completion_tokens)} out, ${in_interval(total.dollars, dollars=True)}; at most "
        f"{total.calls.most:,.0f} calls, ${total.dollars.most:.4f}",
        f"tokens of a call: learned from {number_of(expected.learned, 'earlier call')}" if expected.learned else "",
        *(f"price: {line}" for line in expected.prices),
        f"evaluation: {expected.shows}" if expected.shows else "",
        f"licence: {expected.unlicensed}; as long as it does, the run ends before its training"
        if expected.unlicensed
        else "",
    ]
    for line in filter(None, lines):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
