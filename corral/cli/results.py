"""Commands over what a run made: export, report, rollback."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, assert_never

import typer

from corral.cli.shared import RunName, Yes, console, demand_ending, look_at, may_replace, open_settings
from state.errors import BadInput

if TYPE_CHECKING:
    from graph.services import Services
    from graph.standing import RunStatus

Format = Annotated[
    Literal["alpaca", "sft", "dpo", "sharegpt", "messages", "llama-factory", "axolotl", "argilla"] | None,
    typer.Option("--format", help="Which file of the dataset, or the form of which other tool."),
]
Adapter = Annotated[
    Literal["peft", "merged", "gguf"] | None,
    typer.Option(help="The adapter: a PEFT folder, a folder with it merged into the base, or llama.cpp's file."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where to write it; without it, to standard output. NAME.parquet writes Parquet; llama-factory and "
        "axolotl write a folder."
    ),
]
Page = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where to write it; without it, report.html in the run's folder."),
]
JSON_LINES = (".jsonl", ".ndjson", ".json")
"""How a file of JSON lines may end, the usual ending first."""
ENDINGS = {
    "alpaca": (".json", ".parquet"),
    **dict.fromkeys(("sft", "dpo"), (*JSON_LINES, ".parquet")),
    **dict.fromkeys(("sharegpt", "messages", "argilla"), JSON_LINES),
}
"""By format, how the file may end; the others are folders."""
Other = Annotated[str | None, typer.Argument(metavar="[OTHER]", help="Another run, to compare the first one with.")]
Version = Annotated[str, typer.Argument(help="A version in the registry.")]
Registry = Annotated[Path | None, typer.Option(help="The registry, where the run named one of its own.")]


def export(name: RunName, format_: Format = None, adapter: Adapter = None, out: Out = None, yes: Yes = False) -> None:
    """Write a run's dataset (Alpaca JSON, SFT JSONL, DPO JSONL, or rows as other tools read them), or its adapter.

    It asks before it overwrites a file. An adapter's folder stands alone: tokenizer, base, card and licence are in it.
    """
    if (format_ is None) == (adapter is None):
        raise BadInput("name what to export: --format for the dataset, or --adapter")
    if format_ in ENDINGS:
        demand_ending(out, *ENDINGS[format_])

    async def write(services: Services, name: str) -> int:
        from corral.cli.adapters import export_adapter

        if adapter is not None:
            return await export_adapter(services, name, adapter, out, yes)
        assert format_ is not None
        return await _write_dataset(services, name, format_, out, yes)

    look_at(name, write)


def _write_form(folder: Path, form: str, out: Path | None, yes: bool) -> None:
    """Write a dataset in another tool's form: to a file, or to a folder where the form has several files."""
    from tools.dataset.exporting import FORMS, write_form

    names = list(FORMS[form](folder))
    if out is None:
        if len(names) > 1:
            raise BadInput(f"--format {form} writes {', '.join(names)}: name a folder with --out")
        for piece in FORMS[form](folder)[names[0]]:
            sys.stdout.write(piece)
        return
    for place in [out] if len(names) == 1 else [out / name for name in names]:
        may_replace(place, yes)
    for written in write_form(folder, form, out):
        console.print(f"{written}: {written.stat().st_size:,} bytes", highlight=False, soft_wrap=True)


async def _write_dataset(services: Services, name: str, format_: str, out: Path | None, yes: bool) -> int:
    from graph.standing import state_of, status_of
    from tools.dataset.files import ALPACA, DPO, SFT
    from tools.dataset.parquet import write_parquet
    from tools.files import copy_out

    status, state = await status_of(services, name), await state_of(services, name)
    dataset = state.get("dataset")
    if dataset is None:
        raise BadInput(f"run {name} has no dataset yet; it is {status.standing} at {status.step or 'its start'}")
    if format_ not in ("alpaca", "sft", "dpo"):
        _write_form(Path(dataset.folder), format_, out, yes)
        return 0
    source = Path(dataset.folder) / {"alpaca": ALPACA, "sft": SFT, "dpo": DPO}[format_]
    if out is not None and out.exists() and out.samefile(source):
        raise BadInput(f"{out} is the dataset's own file; name another place with --out")
    if out is not None:
        may_replace(out, yes)
    if out is not None and out.suffix.lower() == ".parquet":
        write_parquet(source, out)
        console.print(f"{out}: {out.stat().st_size:,} bytes", highlight=False, soft_wrap=True)
        return 0
    try:
        with source.open("rb") as data:
            if out is None:
                shutil.copyfileobj(data, sys.stdout.buffer)
            else:
                copy_out(out, data)
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}; the run's dataset cannot be read") from error
    if out is not None:
        console.print(f"{out}: {source.stat().st_size:,} bytes", highlight=False, soft_wrap=True)
    return 0


def write_page(name: RunName, other: Other = None, out: Page = None, yes: Yes = False) -> None:
    """Write a run's report: one HTML file with scoreboard, curves, funnel, costs, examples and lineage.

    Beside it lies a browser of all rows. A run that was evaluated has both already. A run that stopped earlier gets one
    of what there is. With a second run, the two are compared.
    """
    demand_ending(out, ".html", ".htm")
    if other is not None:
        _compare_runs(name, other, out, yes)
        return

    async def write(services: Services, name: str) -> int:
        from graph.standing import state_of, status_of
        from tools.report import REPORT, rows_beside

        status, state = await status_of(services, name), await state_of(services, name)
        from graph.reporting import write_report
        from graph.row_browser import write_rows

        place = out or services.runs_folder / name / REPORT
        # A device or a pipe has no place for a second file beside it.
        alone = place.exists() and not place.is_file()
        if out is not None:
            may_replace(out, yes)
            if not alone:
                may_replace(rows_beside(out), yes)
        rows = [] if alone else [await write_rows(services, name, state, place)]
        path = await write_report(services, name, state, out=out, standing=standing_in_words(status))
        for written in (path, *rows):
            console.print(written, highlight=False, markup=False, soft_wrap=True)
        return 0

    look_at(name, write)


def _compare_runs(name: str, other: str, out: Path | None, yes: bool) -> None:
    async def write(services: Services, name: str) -> int:
        from graph.run_comparison import write_comparison
        from graph.standing import named_run

        second = await named_run(services, other)
        place = out or Path(f"{name}-against-{second}.html")
        may_replace(place, yes)
        for line in await write_comparison(services, name, second, place):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(place, highlight=False, markup=False, soft_wrap=True)
        return 0

    look_at(name, write)


def rollback(version: Version, registry: Registry = None) -> None:
    """Point the registry's current adapter at another version, and say what changed."""
    from tools.registry import current, point

    registry = registry or open_settings().home / "registry"
    before = current(registry)
    point(registry, version)
    changed = f"was {before or 'none'}" if before != version else "as before: nothing changed"
    console.print(f"{registry / 'current'} -> {version} ({changed})", highlight=False, markup=False, soft_wrap=True)


def standing_in_words(status: RunStatus) -> str:
    """Return how far a run is; empty for one that is done, whose state says more."""
    where = status.step or "its start"
    match status.standing:
        case "done":
            return ""
        case "new":
            return "not begun"
        case "waiting":
            return f"waits for a person at {where}"
        case "batched":
            return f"waits for a batch at {where}"
        case "running" | "stopped" | "failed":
            return f"{status.standing} at {where}"
        case "unreadable" | "damaged":
            return f"{status.standing}: {status.detail}"
        case never:
            assert_never(never)
