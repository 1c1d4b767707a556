"""``corral gate``: any Alpaca-format file through the gates, without a run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corral.cli.shared import Yes, console, may_replace
from state.errors import BadInput
from state.wording import number_of

if TYPE_CHECKING:
    from tools.gates import GateReport


class Preset(StrEnum):
    """``gates.preset``, as the command line takes it."""

    ALPACA = "alpaca"
    MODERN = "modern"
    GUIDE = "guide"


PresetOption = Annotated[
    Preset,
    typer.Option(
        help="The rules on form: alpaca, those of Stanford's generate_instruction.py; modern, which stop fewer good "
        "rows and more bad ones, as benchmarks/gates.py measures; or guide, a decision tree on quality."
    ),
]
DEFAULT_SEEDS = Path("seeds:seed_tasks")
WRITTEN = "accepted.jsonl, review.jsonl, rejected.jsonl, report.json"


def gate(
    file: Annotated[Path, typer.Argument(help="Rows in Alpaca's format; which files are read stands below.")],
    out: Annotated[Path, typer.Option(help=f"Folder for {WRITTEN}.")],
    seeds: Annotated[Path, typer.Option(help="Seed tasks that rows must not repeat.")] = DEFAULT_SEEDS,
    preset: PresetOption = Preset.ALPACA,
    language: Annotated[str, typer.Option(metavar="CODE", help="The rows' language: en, da, zh ..., or any.")] = "en",
    off: Annotated[list[str] | None, typer.Option(metavar="RULE", help="A rule that does not count.")] = None,
    threshold: Annotated[float, typer.Option(min=0.01, max=1, help="ROUGE-L above which a row repeats another.")] = 0.7,
    similarity: Annotated[
        bool, typer.Option(help="Keep the ten most similar instructions of each row and the mean, as Stanford did.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Put any Alpaca-format file through the gates: content, diversity, safety, coherence.

    It asks before it overwrites what an earlier one wrote. Rows are streamed. Every row ends in one of the three files,
    or in report.json as unreadable, with its number.
    """
    from rich.progress import Progress as Bars
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    from state.request import Gates
    from tools.gates import gate_file
    from tools.sources.seeds import load_seed_tasks

    may_replace(out / "report.json", yes)
    kept = [task.instruction for task in load_seed_tasks(seeds)]
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("rows", total=None)
        settings = Gates(
            rouge_threshold=threshold,
            preset=preset.value,
            language=_language(language),
            off=tuple(off or ()),
            record_similarity=similarity,
        )
        gated = gate_file(file, out, settings, kept, on_progress=lambda done: bars.update(task, completed=done))
    _print_gated(gated, out)


def _language(code: str) -> str:
    if code != "any" and not (len(code) == 2 and code.isascii() and code.isalpha() and code.islower()):
        raise BadInput(f"--language takes a code of two letters, such as en or zh, or any; not {code!r}")
    return code


def _print_gated(gated: GateReport, out: Path) -> None:
    """Print the sum, each gate's pass rate, the reasons and the rows that could not be read."""
    from corral.cli.tables import print_table

    rates = [(name, f"{one.met:,}", f"{one.passed:,}", f"{one.rate:.3f}") for name, one in gated.gates.items()]
    print_table(console, ("gate", "met", "passed", "share"), rates)
    counted = {"why not accepted": gated.reasons, "small faults of accepted rows": gated.small_faults}
    for headline, counts in counted.items():
        if counts:
            print_table(console, (headline, "rows"), [(code, f"{count:,}") for code, count in counts.items()])
    for row in gated.unreadable_rows[:10]:
        console.print(f"row {row.row}: {row.fault}", highlight=False, markup=False)
    console.print(
        f"{number_of(gated.rows, 'row')} = {gated.accepted:,} accepted + {gated.waiting:,} for review + "
        f"{gated.rejected:,} rejected + {gated.unreadable:,} unreadable; written to "
        f"{out}: {WRITTEN}",
        highlight=False,
        soft_wrap=True,
    )
