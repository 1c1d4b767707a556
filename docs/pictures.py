"""Take the pictures of the pages in this folder: ``python docs/pictures.py``, with Chromium at /usr/bin/chromium."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from state.database import Database  # noqa: E402  # found from a checkout, too
from state.records import CheckResult, DimensionScore, Outcome, Record, ReviewTask, Sample  # noqa: E402
from state.request import RunRequest  # noqa: E402  # found from a checkout, too
from state.reviewing import ReviewStore  # noqa: E402  # found from a checkout, too
from state.store import RecordStore  # noqa: E402  # found from a checkout, too
from tests.browsing import chromium, served  # noqa: E402  # found from a checkout, too
from tests.builders import NOON, candidate, judgement, sample  # noqa: E402  # found from a checkout, too

RUN = "shop-assistant"
PROMPT = (
    "A customer asks whether she may return opened headphones. Answer in at most 40 words, and name the time limit."
)
ANSWERS = (
    "Yes. You may return opened headphones within 30 days of delivery if the ear pads are unworn. Send us the order "
    "number and we will mail you a label.",
    "Yes. You may return opened headphones at any time if the ear pads are unworn. Send us the order number and we "
    "will mail you a label, and refund the price within 5 days.",
)
SCORES = {
    "accuracy": (62.0, "The limit is named, but not what happens to worn pads."),
    "compliance": (70.0, "It keeps to the length that was asked."),
    "brand_alignment": (74.0, "Friendly, and says what comes next."),
    "clarity": (81.0, "Short sentences."),
    "actionability": (58.0, "It does not say where to send the order number."),
}


async def fill(home: Path) -> None:
    """Put some answers and a pair before people."""
    database = Database(f"sqlite:///{home / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    await store.open_run(RUN, RunRequest(name=RUN))
    asked = sample(PROMPT, checks=[{"kind": "max_words", "value": 40}])
    other = sample("Write a subject line for a mail about a late parcel.")
    made = [candidate(asked, text, draw=number, outcome=Outcome.WAITING) for number, text in enumerate(ANSWERS)]
    made += [candidate(other, f"Your parcel is late {number}", outcome=Outcome.WAITING) for number in range(5)]
    checks = (CheckResult(kind="max_words", passed=True, evidence="28 words, at most 40 asked"),)
    scores = tuple(DimensionScore(dimension=name, score=score, reason=why) for name, (score, why) in SCORES.items())
    said = "State the limit once more at the end, and say where the order number goes."
    await store.add(RUN, [asked, other])
    await store.add(RUN, made)
    await store.add(RUN, [judgement(one, 3, 68.0, scores=scores, checks=checks, feedback=said) for one in made])
    await ReviewStore(database).open_tasks(RUN, [*completions(asked, other, made), pair(asked, made)])
    await database.close()


def completions(asked: Sample, other: Sample, made: list[Record]) -> list[ReviewTask]:
    """Return the tasks of the answers."""
    return [
        ReviewTask(
            id=one.id,  # type: ignore[attr-defined]  # a candidate has one
            kind="completion",
            sample_id=(asked if place < len(ANSWERS) else other).id,
            why=("between_thresholds",) if place != 1 else ("between_thresholds", "checks_disagree"),
            position=place,
            disagreement=0.4,
            machine=Outcome.WAITING,
            head=(asked if place < len(ANSWERS) else other).instruction[:120],
            opened_at=NOON,
        )
        for place, one in enumerate(made)
    ]


def pair(asked: Sample, made: list[Record]) -> ReviewTask:
    """Return the task of comparing the two answers."""
    return ReviewTask(
        id="pair",
        kind="pair",
        candidates=(made[0].id, made[1].id),  # type: ignore[attr-defined]  # a candidate has one
        sample_id=asked.id,
        why=("human_share",),
        position=len(made),
        disagreement=0.0,
        machine=Outcome.WAITING,
        head=asked.instruction[:120],
        opened_at=NOON,
    )


def main() -> None:
    """Take them."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder)))
        with served(Path(folder)) as (url, _), chromium() as browser:
            page = browser.new_page()
            for name, place, scheme, size in (
                ("review-desktop", "/review/next", "light", {"width": 1100, "height": 1250}),
                ("review-dark", f"/review/{RUN}/pair", "dark", {"width": 1100, "height": 800}),
                ("review-phone", "/review/next", "light", {"width": 390, "height": 844}),
            ):
                page.set_viewport_size(size)  # type: ignore[arg-type]  # a dictionary of two numbers
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its words
                page.goto(url + place)
                page.screenshot(path=HERE / f"{name}.png")


if __name__ == "__main__":
    main()
