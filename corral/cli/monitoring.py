"""Commands over what people and judges say: monitor, forget."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from corral.cli.shared import AsJson, console, errors, look, print_json

if TYPE_CHECKING:
    from graph.services import Services
    from tools.improvement.quality import Alert, DayQuality, Drift
    from tools.settings import Settings

FailBelow = Annotated[
    float | None,
    typer.Option(min=1, max=5, metavar="STARS", help="Exit with code 1 where a mean of the last 7 days is below this."),
]
Forgotten = Annotated[str, typer.Argument(metavar="ID", help="The id of a served answer, or of feedback on one.")]
SHOWN = 60
"""Days at most that are printed, the last ones."""


def monitor(fail_below: FailBelow = None, as_json: AsJson = False) -> None:
    """Show ratings by day, judge and version, and how far they drifted since the first week.

    A mean below 3.5 over the last 7 days, or below --fail-below, is an alert: it is printed, and sent to
    CORRAL_ALERT_WEBHOOK where that is set.
    """

    async def show(services: Services) -> int:
        from graph.quality import quality_history
        from tools.improvement.quality import ALERT_BELOW, alerts, drifts

        days = await quality_history(services)
        moved = drifts(days)
        below = ALERT_BELOW if fail_below is None else fail_below
        raised = alerts(days, datetime.now(UTC).date(), below)
        if as_json:
            print_json({"days": [_told(one) for one in days], "drift": moved, "alerts": raised})
        else:
            _print(days, moved)
        for alert in raised:
            errors.print(f"alert: {alert.line}", style="red", highlight=False, markup=False, soft_wrap=True)
        if raised:
            await _send(services.settings, raised)
        return 1 if raised and fail_below is not None else 0

    look(show)


def forget(forgotten: Forgotten) -> None:
    """Remove a text that a person withdraws: a served answer with its prompt, and what was said of it.

    It is removed from the store, from runs that took it up, and so from the next datasets. What it reached before is
    listed: datasets on disk and adapters, which only a new training makes free of it.
    """

    async def remove(services: Services) -> int:
        from graph.forgetting import forget_text

        for line in await forget_text(services, forgotten):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return 0

    look(remove)


def _told(one: DayQuality) -> dict[str, object]:
    figures = {"mean": round(one.mean, 4), "spread": round(one.spread, 4), "chosen_share": round(one.chosen_share, 4)}
    return one.model_dump(mode="json") | figures


def _print(days: list[DayQuality], moved: list[Drift]) -> None:
    from rich.table import Table

    if not days:
        console.print("nobody has rated anything yet", highlight=False)
        return
    table = Table("day", "judge", "version", "ratings", "mean", "spread", "chosen", box=None, pad_edge=False)
    for one in days[-SHOWN:]:
        figures = (f"{len(one.stars):,}", f"{one.mean:.2f}", f"{one.spread:.2f}", f"{one.chosen_share:.0%}")
        table.add_row(str(one.day), one.judge, one.version, *figures)
    console.print(table)
    for drift in moved:
        found = drift.difference
        console.print(
            f"{drift.judge}: {found.value:+.2f} stars [{found.low:+.2f}, {found.high:+.2f}] in the last week against "
            f"the first, from {drift.first} on",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


async def _send(settings: Settings, raised: list[Alert]) -> None:
    """Send alerts to the webhook; that it cannot be reached is told, and changes nothing else."""
    import asyncio

    if settings.alert_webhook is None:
        return
    text = "\n".join(alert.line for alert in raised)
    try:
        await asyncio.to_thread(_post, settings.alert_webhook.get_secret_value(), text)
    except Exception as error:  # requests and urllib3 raise many kinds; none of them ends the command
        # The URL is a secret, and the library's message may hold it.
        said = f"the webhook of CORRAL_ALERT_WEBHOOK could not be told: {type(error).__name__}"
        errors.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _post(url: str, text: str) -> None:
    import requests

    requests.post(url, json={"text": f"Corral: {text}"}, timeout=10).raise_for_status()
