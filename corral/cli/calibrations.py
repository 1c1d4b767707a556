"""What judges were measured to be: one calibration, and the scorecard over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corral.cli.shared import AsJson, console, demand_ending, open_settings, print_json

if TYPE_CHECKING:
    from tools.judging.calibration import Calibration
    from tools.judging.figures import ModeFigures
    from tools.judging.scorecard import Entry
    from tools.statistics.bootstrap import Estimate


def judges(
    picture: Annotated[Path | None, typer.Option(help="Draw the scorecard into this SVG file, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show all judges that were measured against people, beside what costs nothing, by set of labels and mode."""
    from corral.cli.tables import print_table
    from tools.files import write_file
    from tools.judging.scorecard import scorecard
    from tools.judging.trust import all_calibrations
    from tools.report.judges import drawn

    demand_ending(picture, ".svg")
    found = scorecard(all_calibrations(open_settings().home))
    if picture is not None and found:
        write_file(picture, drawn(found).encode())
    if as_json:
        print_json({"judges": [entry.model_dump(mode="json") for entry in found]})
        return
    if not found:
        console.print("no judge was measured yet: corral calibrate LABELS", highlight=False)
        return
    free = "best that costs nothing"
    headers = ("judge", "labels judged", "mode", "agreement", "kappa", free, "people", "flips", "per 100")
    print_table(console, headers, [_line(entry) for entry in found], words=("judge", free))
    if picture is not None:
        console.print(f"drawn in {picture}", highlight=False, markup=False, soft_wrap=True)


def _line(entry: Entry) -> tuple[str, ...]:
    said = "" if entry.better is None else ", beaten" if entry.better else ", not shown beaten"
    spent = f"${entry.cost:.2f}, {entry.seconds:.0f} s" if entry.calls else "from the ledger"
    return (
        entry.judge,
        f"{entry.source}, {entry.split}: {entry.labels}" + (f", {entry.unjudged} not" if entry.unjudged else ""),
        entry.mode,
        _interval(entry.agreement),
        _interval(entry.kappa),
        f"{entry.baseline} {entry.baseline_agreement:.2f}{said}" if entry.baseline else "not measured",
        "" if entry.people is None else f"{entry.people.value:.2f}",
        "" if entry.flips is None else f"{entry.flips.value:.0%}",
        spent,
    )


def _interval(one: Estimate) -> str:
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"


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
    if found.ceiling is not None:
        figure = found.ceiling.agreement
        rows.append(("a person with the others", f"{figure.value:.3f}", f"[{figure.low:.3f}, {figure.high:.3f}]"))
    print_table(console, ("figure", "value", "95% interval"), rows)
    for mode in found.modes:
        _print_mode(mode)
    for note in found.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    for part in found.curve:
        console.print(f"confidence {part.confidence:.2f}: right {part.accuracy:.2f} of {part.rows}", highlight=False)
    console.print(
        f"{found.labels} {found.kind}, {found.failed} failed, {found.seconds:.0f} s, judged by {found.judge}; "
        f"kept in {path}",
        highlight=False,
        soft_wrap=True,
    )


def _print_mode(mode: ModeFigures) -> None:
    """Print what costs nothing beside the judge, and its agreement by part."""
    from corral.cli.tables import print_table

    def points(one: Estimate) -> str:
        return f"{100 * one.value:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"

    beside = [
        (b.name, f"{b.agreement:.3f}", points(b.gain), "yes" if b.gain.low > 0 else "not shown") for b in mode.baselines
    ]
    headers = (f"{mode.mode}: beside", "agrees with people", "the judge has more by points", "better")
    print_table(console, headers, beside)
    parts = [(p.name, str(p.labels), _interval(p.agreement), f"{p.kappa.value:.2f}") for p in mode.parts]
    if parts:
        print_table(console, (f"{mode.mode}: part", "labels", "agreement", "kappa"), parts)
