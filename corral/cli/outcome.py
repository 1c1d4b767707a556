"""What the end of a run prints: its scoreboard, and where its files lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from corral.cli.tables import print_table
from state.wording import number_of
from tools.report import REPORT

if TYPE_CHECKING:  # a tenth of a second each, and a list of runs needs none
    from graph.services import Services
    from state.pipeline import PipelineState
    from tools.evaluation.accuracy import Accuracy
    from tools.evaluation.comparing import Comparison
    from tools.evaluation.scoreboard import Scoreboard
    from tools.statistics.bootstrap import Estimate

SHORT = ("95% interval", "in a word")
"""Columns of a scoreboard that may be wrapped."""


def print_results(console: Console, services: Services, name: str, state: PipelineState) -> None:
    """Print a run's scoreboard, where it has one, and where its files lie."""
    if verdict := state.get("verdict"):
        print_scoreboard(console, Path(verdict.scoreboard))
    print_paths(console, state, services.runs_folder / name, services.registry)


def print_paths(console: Console, state: PipelineState, run_folder: Path, registry: Path) -> None:
    """Print where a run's results lie."""
    rows = {"run folder": str(run_folder)}
    if dataset := state.get("dataset"):
        counted = {"Alpaca row": dataset.alpaca_rows, "SFT row": dataset.sft_rows, "DPO pair": dataset.dpo_rows}
        counts = ", ".join(number_of(number, noun) for noun, number in counted.items())
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
        from tools.people.decisions import in_words

        said = "signed" if approval.approved else "not deployed"
        console.print(f"{said} by {in_words(approval.reviewer)}", highlight=False, markup=False)
    for warning in state.get("warnings", []):
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)


def print_scoreboard(console: Console, path: Path) -> None:
    """Print base against adapter, with intervals, and the verdict in words."""
    from tools.evaluation.scoreboard import Scoreboard

    board = Scoreboard.model_validate_json(path.read_text(encoding="utf-8"))
    console.print(
        f"Base against adapter on {number_of(board.prompts, 'held-out prompt')}", style="bold", highlight=False
    )
    headers = ("what decides", "n", "base", "adapter", "difference", "95% interval", "p", "in a word")
    print_table(console, headers, [_compared(board.comparison(board.primary))], words=("what decides", *SHORT))
    for title, rows in _groups(board):
        named = (title, *headers[1:6], "p (Holm)", "in a word")[: len(rows[0])]
        print_table(console, named, rows, words=(title, *SHORT))
    if board.ifeval:
        print_accuracies(console, board.ifeval.accuracies)
    for line in board_lines(board):
        console.print(line, highlight=False, markup=False)


def print_accuracies(console: Console, found: Sequence[Accuracy]) -> None:
    """Print IFEval's four accuracies of base and adapter, with intervals."""
    rows = [(one.in_words, str(one.count), *_against(one.base, one.adapter, one.interval)) for one in found]
    print_table(console, ("IFEval's accuracy", "of", "base", "adapter", "difference", "95% interval"), rows)


def _groups(board: Scoreboard) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield the secondary metrics in groups: greedy answers, sampled ones, categories."""
    others = [one for one in board.comparisons if one.metric != board.primary]
    sampled = [one for one in others if one.metric.endswith("_sampled")]
    greedy = [one for one in others if one not in sampled]
    parts: list[tuple[str, ...]] = [
        (f"guarded, {part.name}", str(part.count), *_against(part.base, part.adapter, part.interval))
        for part in board.by_category
    ]
    for title, rows in (
        ("beside it", [_compared(one) for one in greedy]),
        ("sampled answers", [_compared(one) for one in sampled]),
        ("by category", parts),
    ):
        if rows:
            yield title, rows


def _compared(one: Comparison) -> tuple[str, ...]:
    name = f"{one.metric} (lower is better)" if one.better == "lower" else one.metric
    figures = _against(one.base, one.adapter, one.interval)
    return (name, str(one.prompts), *figures, f"{one.p_corrected:.3f}", one.in_a_word)


def board_lines(board: Scoreboard) -> list[str]:
    """Return what a scoreboard says in sentences, the verdict last."""
    from tools.evaluation.winning import in_words as win_rate_in_words

    lines = [board.perplexity.note] if board.perplexity else []
    lines += [win_rate_in_words(board.win_rate)] if board.win_rate else []
    lines += [board.ifeval.note] if board.ifeval else []
    if board.length_ratio is not None:
        lines.append(f"The adapter's answers have {board.length_ratio:.2f} times as many words as the base's.")
    return [*lines, board.words]


def _against(base: float, adapter: float, interval: Estimate | None) -> tuple[str, str, str, str]:
    spread = f"[{interval.low:+.3f}, {interval.high:+.3f}]" if interval else ""
    return f"{base:.3f}", f"{adapter:.3f}", f"{adapter - base:+.3f}", spread
