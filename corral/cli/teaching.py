"""``corral calibrate --decisions``: the judge against what people decided in reviews, which are labels already."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from corral.cli.shared import AsJson, console, look, print_json, read_request
from state.errors import BadInput
from state.wording import number_of

if TYPE_CHECKING:
    from graph.services import Services
    from state.request import Judging
    from tools.judging.decisions import AgainstPeople

ALL = "all"


def calibrate_by_decisions(runs: str, config: Path | None, as_json: AsJson) -> None:
    """Measure a judge on the decisions of one run or of all, print the figures and keep them.

    Args:
        runs: a run's name, ``latest``, or ``all``: then the judge is the config's.
        config: a config file, for ``all``.
        as_json: print JSON.

    Raises:
        BadInput: the decisions are too few or all alike, or both a run and a config say who judges.
    """
    if config is not None and runs != ALL:
        raise BadInput("a run's own config says who judged; give --config with --decisions all")
    settings = read_request(config).judge if runs == ALL else None

    async def work(services: Services) -> int:
        from graph.standing import named_run
        from graph.teaching import decisions_on, judge_of, overalls_of, pairs_on
        from tools.judging import save_calibration
        from tools.judging.decisions import against_people, calibration_by_decisions
        from tools.judging.judge import identity_of

        if settings is not None:
            judge, judging = identity_of(read_request(config).models.judge, settings, services.cache), settings
            names = [run_id for run_id, _ in await services.store.run_ids()]
        else:
            names = [await named_run(services, runs)]
            judge, judging = await judge_of(services, names[0]), (await services.store.request_of(names[0])).judge
        decided = await decisions_on(services.store, judge, names)
        found = await asyncio.to_thread(calibration_by_decisions, decided, judging)
        overalls, pairs = await overalls_of(services.store, judge, names), await pairs_on(services.store, judge, names)
        beside = await asyncio.to_thread(against_people, decided, overalls, judging, pairs)
        path = await asyncio.to_thread(save_calibration, found, services.settings.home)
        if as_json:
            print_json({**found.model_dump(mode="json"), "against_people": beside})
        else:
            from corral.cli.calibrations import print_calibration

            print_calibration(found, path)
            if beside is not None:
                print_against_people(beside, judging)
        return 0

    look(work)


def print_against_people(found: AgainstPeople, settings: Judging) -> None:
    """Print how a judge compares with people by dimension, and the bands with what each sends and lets through."""
    from corral.cli.tables import print_table

    rows = []
    for one in found.dimensions:
        interval = f"[{one.in_order.low:.2f}, {one.in_order.high:.2f}]"
        rows.append((one.dimension, f"{one.in_order.value:.2f}", interval, f"{one.taken:.0f}", f"{one.declined:.0f}"))
    for what, figure in (
        ("kappa of stars with people's overall rating", found.stars),
        (f"share of {number_of(found.pairs, 'pair')} where the judge scores the preferred one higher", found.preferred),
    ):
        if figure is not None:
            told = f"{what}: {figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
            console.print(told, highlight=False, markup=False)
    if rows:
        print_table(console, ("dimension", "in order", "95% interval", "taken", "declined"), rows)
    print_table(
        console,
        ("band", "person from", "accepted from", "sent to people", "error of the rest", "95% interval", "labels"),
        [
            (
                band.name,
                f"{band.review_from:g}",
                f"{band.accept:g}",
                f"{band.sent:.0%}",
                f"{band.error.value:.1%}" if band.error else "not known",
                f"[{band.error.low:.1%}, {band.error.high:.1%}]" if band.error else "",
                str(band.labels),
            )
            for band in found.bands
        ],
    )
    console.print(f"The measured band: {found.note}.", highlight=False, markup=False)
    if settings.band == "fixed" and len(found.bands) > 1:
        console.print("The next run uses it with judge.band=measured.", highlight=False, markup=False)
    if (new := found.recalibration) is not None:
        console.print(
            f"Squared error of the score as a chance that people take a text: {new.before.value:.3f}; recalibrated, on "
            f"texts that the curve had not seen: {new.after.value:.3f} [{new.after.low:.3f}, {new.after.high:.3f}].",
            highlight=False,
            markup=False,
        )
