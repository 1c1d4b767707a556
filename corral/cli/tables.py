"""What ``corral show`` and the end of a run print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from graph.accounts import Accounts
from graph.reporting import REPORT
from graph.runs import RunStatus
from state.pipeline import PipelineState
from tools.evaluation.scoreboard import Scoreboard
from tools.evaluation.winning import in_words as win_rate_in_words
from tools.generation.costing import CostEstimate, StageComparison
from tools.people.decisions import in_words
from tools.statistics.bootstrap import Estimate

OUTCOMES = ("accepted", "rejected", "waiting", "pending", "failed")


def print_runs(console: Console, statuses: list[RunStatus]) -> None:
    """Print a table of runs."""
    table = Table("run", "made", "stands", "step", "detail", box=None)
    for status in statuses:
        row = (status.run_id, status.created_at, status.standing, status.step, status.detail.split("\n")[0][:80])
        table.add_row(*row)
    console.print(table if statuses else "there are no runs yet; 'corral run' starts one")


def print_accounts(console: Console, accounts: Accounts) -> None:
    """Print the sum of rows and calls."""
    table = Table(
        "rows", "all", *OUTCOMES, "why not", box=None, title="Every row is accounted for", title_justify="left"
    )
    for row in accounts.rows:
        reasons = ", ".join(f"{reason} {count}" for reason, count in row.reasons.items())
        table.add_row(row.kind, str(row.total), *(str(getattr(row, name)) for name in OUTCOMES), reasons)
    console.print(table)
    calls = Table("calls", "answered", "failed", "from the ledger", "tokens in", "tokens out", "dollars", box=None)
    for used in accounts.calls:
        figures = (used.answered, used.failed, used.from_ledger, used.prompt_tokens, used.completion_tokens)
        calls.add_row(used.purpose, *(f"{figure:,}" for figure in figures), f"{used.cost:.4f}")
    console.print(calls)
    if accounts.costs:
        print_costs(console, accounts.costs)
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
        console.print(f"borderline rows decided: {who}", highlight=False, markup=False)
    cap = "no cap" if accounts.cap is None else f"cap ${accounts.cap:.4f}"
    console.print(f"spent ${accounts.spent:.4f}, {cap}", highlight=False)


def print_costs(console: Console, costs: Sequence[StageComparison]) -> None:
    """Print the estimate of each stage, with the actual figures beside it."""
    table = Table("stage", "calls expected", "made", "tokens expected", "used", "$ expected", "paid", box=None)
    for cost in costs:
        expected, actual = cost.estimated, cost.actual
        table.add_row(
            cost.stage,
            f"{expected.calls:,}",
            f"{actual.calls:,}",
            f"{expected.prompt_tokens + expected.completion_tokens:,}",
            f"{actual.prompt_tokens + actual.completion_tokens:,}",
            f"{expected.dollars:.4f}",
            f"{actual.dollars:.4f}",
        )
    console.print(table)


def print_estimate(console: Console, expected: CostEstimate) -> None:
    """Print what a run is expected to cost at most, in one line."""
    total = expected.total
    stages = ", ".join(f"{stage.stage} {stage.calls:,}" for stage in expected.stages)
    console.print(
        f"estimate: at most about {total.calls:,} calls ({stages}), {total.prompt_tokens:,} tokens in, "
        f"{total.completion_tokens:,} out, ${total.dollars:.4f}",
        highlight=False,
    )


def print_scoreboard(console: Console, path: Path) -> None:
    """Print base against adapter, with intervals, and the verdict in words."""
    board = Scoreboard.model_validate_json(path.read_text(encoding="utf-8"))
    console.print(f"Base against adapter on {board.prompts} held-out prompts", style="bold", highlight=False)
    table = Table("metric", "prompts", "base", "adapter", "difference", "95% interval", "p (Holm)", box=None)
    for one in board.comparisons:
        name = f"{one.metric} (decides)" if one.metric == board.primary else one.metric
        name = f"{name} (lower is better)" if one.better == "lower" else name
        table.add_row(name, str(one.prompts), *_against(one.base, one.adapter, one.interval), f"{one.p_corrected:.3f}")
    for part in board.by_category:
        table.add_row(f"guarded, {part.name}", str(part.count), *_against(part.base, part.adapter, part.interval), "")
    console.print(table)
    for line in board_lines(board):
        console.print(line, highlight=False, markup=False)


def board_lines(board: Scoreboard) -> list[str]:
    """Return what a scoreboard says in sentences, the verdict last."""
    lines = [board.perplexity.note] if board.perplexity else []
    lines += [win_rate_in_words(board.win_rate)] if board.win_rate else []
    if board.length_ratio is not None:
        lines.append(f"The adapter's answers have {board.length_ratio:.2f} times as many words as the base's.")
    return [*lines, board.words]


def _against(base: float, adapter: float, interval: Estimate | None) -> tuple[str, str, str, str]:
    spread = f"[{interval.low:+.3f}, {interval.high:+.3f}]" if interval else ""
    return f"{base:.3f}", f"{adapter:.3f}", f"{adapter - base:+.3f}", spread


def print_paths(console: Console, state: PipelineState, run_folder: Path, registry: Path) -> None:
    """Print where a run's results lie."""
    rows = {"run folder": str(run_folder)}
    if dataset := state.get("dataset"):
        counts = f"{dataset.alpaca_rows} Alpaca rows, {dataset.sft_rows} SFT rows, {dataset.dpo_rows} DPO pairs"
        rows["dataset"] = f"{dataset.folder} ({counts})"
    if decision := state.get("training_decision"):
        took = "" if decision.actual_seconds is None else f", took {decision.actual_seconds:.0f} s"
        rows["training"] = f"{decision.action}: estimated {decision.estimated_seconds:.0f} s{took} ({decision.reason})"
    if adapter := state.get("adapter"):
        rows["adapter"] = adapter.folder
    if verdict := state.get("verdict"):
        rows["scoreboard"] = verdict.scoreboard
    if (run_folder / REPORT).exists():
        rows["report"] = str(run_folder / REPORT)
    if deployed := state.get("deployed"):
        rows["deployed"] = str(Path(state["request"].deploy.registry or registry) / deployed)
    for what, where in rows.items():
        console.print(f"{what:11} {where}", highlight=False, markup=False, soft_wrap=True)
    if approval := state.get("approval"):
        said = "signed" if approval.approved else "not deployed"
        console.print(f"{said} by {in_words(approval.reviewer)}", highlight=False, markup=False)
    for warning in state.get("warnings", []):
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
