"""Nothing that a command prints is cut off, whatever the width of the terminal and the length of a name."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress as Bars

from corral.cli.tables import print_accounts, print_runs, print_table
from corral.cli.watch import TerminalView, bar_columns
from graph.accounts import Accounts, Tally
from graph.standing import RunStatus
from state.calls import PurposeTally
from tools.generation.costing import StageComparison, StageCost, StageEstimate
from tools.generation.spans import Span
from tools.progress import StepProgress

LONG = "a-run-of-which-the-name-is-as-long-as-a-name-may-be-and-then-some-" + "x" * 30
BIG = 123_456_789_012
WORDS = st.text(alphabet="abc [](){}/\\:é漢", max_size=90)


def printed(width: int, show: Callable[[Console], None], **options: Any) -> str:
    """Return what is printed on a console of that width; no line is wider."""
    console = Console(file=io.StringIO(), width=width, legacy_windows=False, **options)
    show(console)
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).replace("\r", "\n")
    assert [line for line in text.split("\n") if cell_len(line) > width] == []
    return text


def marks(text: str) -> Counter[str]:
    return Counter(text.replace("\n", "").replace(" ", ""))


@given(
    rows=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4),
    wrapped=st.sets(st.sampled_from(["one", "two", "three"])),
    width=st.integers(30, 160),
)
def test_every_mark_of_every_cell_is_printed(rows: list[tuple[str, str, str]], wrapped: set[str], width: int) -> None:
    text = printed(width, lambda console: print_table(console, ("one", "two", "three"), rows, words=wrapped))
    assert marks("".join(map("".join, rows))) <= marks(text)
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_bar_of_a_step_has_all_its_words(width: int) -> None:
    note, spent, pace = "sft: loss 1.234, learning rate 0.0001", "12,345 calls, 1,234,567 tokens, $12.3456", "12/min"

    def show(console: Console) -> None:
        with Bars(*bar_columns(width), console=console, auto_refresh=False) as bars:
            view = TerminalView(bars)
            at = StepProgress(
                step="evaluate", done=1234, total=5678, seconds=3, rate=0.2, left=(4000.0, 9000.0), note=note
            )
            view.show(at)
            view.spent(spent)

    text = printed(width, show, force_terminal=True)
    assert marks(note + spent + pace + "1.1 to 2.5 h left" + "1234/5678" + "evaluate") <= marks(text)
    assert "…" not in text


def test_on_80_columns_runs_and_accounts_are_tables() -> None:
    def status(name: str, standing: Any, step: str, detail: str = "") -> RunStatus:
        made = "2026-11-26T12:34:56.789012+00:00"
        return RunStatus(run_id=name, created_at=made, standing=standing, step=step, detail=detail)

    lost = "the seed tasks /home/somebody/projects/brand/seed_tasks.jsonl are not there; name another file"
    statuses = [
        status("brand-20261126-123456-a1b2", "running", "evaluate", "by process 12345 on workstation until 12:35:56"),
        status("brand-20261126-113456-a1b3", "failed", "generate", lost),
        status("brand-20261126-103456-a1b4", "done", ""),
    ]
    tokens: dict[str, Any] = {"prompt_tokens": 1_234_567, "completion_tokens": 1_234_567, "cost": 12.3456}
    calls = [PurposeTally(purpose="judge.actionability", answered=12345, failed=12, from_ledger=12345, **tokens)]
    reasons = {"repeats_a_held_out_prompt": 12, "too_short": 3}
    outcomes: dict[str, Any] = {
        "total": 12345,
        "accepted": 10000,
        "rejected": 2345,
        "waiting": 0,
        "pending": 0,
        "failed": 0,
    }
    row = Tally(kind="generated instructions", reasons=reasons, **outcomes)
    accounts = Accounts(rows=[row], calls=calls, rounds=[], costs=[], spent=1, cap=2, decided={})
    runs, accounted = printed(80, lambda c: print_runs(c, statuses)), printed(80, lambda c: print_accounts(c, accounts))
    assert re.search(r"^run +made \(UTC\) +stands +step *$", runs, re.M)
    assert re.search(r"^brand-20261126-103456-a1b4  2026-11-26 12:34  done *$", runs, re.M)
    assert f"  detail: {lost}" in runs.replace("\n", "").replace("  detail:", "\n  detail:")
    assert re.search(r"^generated instructions +12345 +10000 +2345 +0 +0 +0 *$", accounted, re.M)
    assert re.search(r"^judge.actionability +12,345 +12 +12,345 +1,234,567 +1,234,567 +12.3456 *$", accounted, re.M)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_runs_and_accounts_at_any_width(width: int) -> None:
    status = RunStatus(
        run_id=LONG, created_at="2026-01-01T00:00:00+00:00", standing="failed", step="evaluate", detail=LONG
    )
    cost = StageCost(stage="respond", calls=BIG, prompt_tokens=BIG, completion_tokens=BIG, dollars=BIG)
    span = Span(low=BIG, expected=BIG, high=BIG, most=BIG)
    estimate = StageEstimate(stage="respond", calls=span, prompt_tokens=span, completion_tokens=span, dollars=span)
    accounts = Accounts(
        rows=[
            Tally(
                kind="generated instructions", total=BIG, accepted=BIG, rejected=BIG, waiting=BIG, pending=BIG,
                failed=BIG,
                reasons={LONG: BIG},
            )
        ],
        calls=[
            PurposeTally(
                purpose="judge.actionability", answered=BIG, failed=BIG, from_ledger=BIG, prompt_tokens=BIG,
                completion_tokens=BIG, cost=BIG,
            )
        ],
        rounds=[], costs=[StageComparison(stage="respond", estimated=estimate, actual=cost)], spent=BIG, cap=BIG,
        decided={},
    )  # fmt: skip

    def show(console: Console) -> None:
        print_runs(console, [status])
        print_accounts(console, accounts)

    text = printed(width, show)
    whole = text.replace("\n", "").replace(" ", "")
    assert "…" not in text and whole.count(LONG[:20]) >= 3
    assert text.count(str(BIG)) + text.count(f"{BIG:,}") + text.count(f"{BIG}.0000") >= 6 + 5 + 4, "figures stay whole"
