"""The scoreboard as read from its JSON: comparisons and slices are found by their fields, whatever else is there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from state.records import Record
from tools.evaluation.comparing import Comparison
from tools.evaluation.scoreboard import Claim
from tools.evaluation.scoring import MEANINGS, NATS
from tools.report.comparison_plots import DifferenceRow, DumbbellRow
from tools.report.scales import number
from tools.statistics.bootstrap import Estimate

COUNTS = frozenset({"words", "words_sampled", NATS})
"""Metrics that are not shares, though their values may lie below 1."""


class Metric(Record):
    """One metric of the scoreboard."""

    name: str
    meaning: str
    prompts: int
    base: float
    adapter: float
    difference: Estimate
    """Adapter less base."""
    p: float | None
    """The deciding metric's own; of the others after the correction over them, where there is one."""
    word: str = ""
    """What the test says at 5%, such as better or not shown; empty where the file does not tell enough."""
    detectable: float | None = None
    """The least true difference that so many prompts show in 80% of the cases."""
    decides: bool
    share: bool
    """Whether it is a share of 1, which is shown in points of 100."""

    @property
    def shown(self) -> Estimate:
        """The difference as a person reads it: shares in points."""
        factor = 100 if self.share else 1
        one = self.difference
        return Estimate(value=factor * one.value, low=factor * one.low, high=factor * one.high)

    @property
    def row(self) -> DifferenceRow:
        """The metric's row of an interval plot."""
        return DifferenceRow(name=self.name, difference=self.shown, strong=self.decides)


class MetricGroup(Record):
    """Comparisons that stand together in the file, such as those of greedy answers."""

    title: str
    metrics: tuple[Metric, ...]

    @property
    def parts(self) -> tuple[tuple[Metric, ...], ...]:
        """The metrics as they are tabled: what decides alone, then the others."""
        deciding = tuple(one for one in self.metrics if one.decides)
        return tuple(part for part in (deciding, tuple(one for one in self.metrics if not one.decides)) if part)


class SliceGroup(Record):
    """Base against adapter in parts of the prompts."""

    title: str
    slices: tuple[DumbbellRow, ...]


class Board(Record):
    """Base against adapter on held-out prompts."""

    verdict: Claim
    words: str
    primary: str
    prompts: int
    groups: tuple[MetricGroup, ...]
    slices: tuple[SliceGroup, ...]
    perplexity: Estimate | None
    """Adapter over base, where it was measured: above 1 the adapter is worse."""
    win_rates: tuple[DifferenceRow, ...]
    """Share of pairs that the adapter won, in points of 100: of all, and among pairs of balanced lengths."""
    facts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """What else the file says, such as on perplexity and the win rate: a title, and figures by name."""
    notes: tuple[str, ...]

    @property
    def deciding(self) -> Metric | None:
        """The metric that decides the verdict."""
        found = (metric for group in self.groups for metric in group.metrics if metric.decides)
        return next(found, None)


def read_board(raw: Mapping[str, Any]) -> Board | None:
    """Return the scoreboard, or ``None`` if the JSON is not a scoreboard.

    Args:
        raw: the JSON of ``Scoreboard``, of this version or another: lists of comparisons and slices are found by
            their fields, at any depth.
    """
    if raw.get("verdict") not in get_args(Claim):
        return None
    primary = str(raw.get("primary", ""))
    groups = [
        MetricGroup(title=_title(path), metrics=tuple(_metric(row, primary, path) for row in rows))
        for path, rows in _lists(raw)
        if all(_is_comparison(row) for row in rows)
    ]
    public = _public(raw.get("ifeval"))
    slices = [
        SliceGroup(title=_title(path), slices=tuple(_slice(row) for row in rows))
        for path, rows in _lists({key: value for key, value in raw.items() if key != "ifeval"})
        if all(_is_slice(row) for row in rows)
    ]
    return Board(
        verdict=raw["verdict"],
        words=str(raw.get("words", "")),
        primary=primary,
        prompts=int(raw.get("prompts", 0)),
        groups=tuple(groups + public),
        slices=tuple(slices),
        perplexity=_estimate(raw.get("perplexity"), "ratio"),
        win_rates=tuple(_win_rates(raw.get("win_rate"))),
        facts=tuple(_facts(raw)),
        notes=tuple(map(str, raw.get("notes") or ())),
    )


def _lists(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Yield every list of objects with the keys that lead to it."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _lists(inner, (*path, key))
        elif isinstance(inner, list) and inner and all(isinstance(row, Mapping) for row in inner):
            yield (*path, key), inner


def _facts(raw: Mapping[str, Any]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Yield every number and word that no other part shows, in the groups of the file."""
    shown = ("verdict", "words", "primary", "prompts")
    alone = {key: value for key, value in raw.items() if not isinstance(value, Mapping) and key not in shown}
    groups = {key: value for key, value in raw.items() if isinstance(value, Mapping)}
    for key, group in [*groups.items(), ("measured with", alone)]:
        if figures := tuple(_figures(group)):
            yield "IFEval" if key == "ifeval" else key.replace("_", " "), figures


def _figures(group: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, str]]:
    for key, value in group.items():
        name = f"{head} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping) and not _is_comparison(value):
            yield from _figures(value, name)
        elif isinstance(value, int | float | str) and value != "":
            yield name, number(value) if isinstance(value, float) else str(value)


def _estimate(raw: Any, value: str = "value") -> Estimate | None:
    figures = [raw.get(key) for key in (value, "low", "high")] if isinstance(raw, Mapping) else [None]
    if not all(map(_is_figure, figures)):
        return None
    return Estimate(value=figures[0], low=figures[1], high=figures[2])


def _win_rates(raw: Any) -> Iterator[DifferenceRow]:
    names = {"rate": "win rate", "controlled": "at equal length"}
    for key, name in names.items() if isinstance(raw, Mapping) else ():
        if (one := _estimate(raw.get(key))) is not None:
            points = Estimate(value=100 * one.value, low=100 * one.low, high=100 * one.high)
            yield DifferenceRow(name=name, difference=points, strong=key == "rate")


def _public(raw: Any) -> list[MetricGroup]:
    """Return IFEval's four accuracies as a group of their own; none where they were not measured."""
    rows = raw.get("accuracies") if isinstance(raw, Mapping) else None
    known = [row for row in rows or () if isinstance(row, Mapping) and "loose" in row and _is_slice(row)]
    found = [
        Metric(
            name=f"{row['name']}-level, {'loose' if row['loose'] else 'strict'}",
            meaning=f"share of the {row.get('count', '')} {row['name']}s that pass",
            prompts=int(raw.get("prompts", 0)),
            base=row["base"],
            adapter=row["adapter"],
            difference=difference,
            p=None,
            decides=False,
            share=True,
        )
        for row in known
        if (difference := _estimate(row.get("interval"))) is not None
    ]
    return [MetricGroup(title="IFEval", metrics=tuple(found))] if found else []


def _title(path: tuple[str, ...]) -> str:
    words = [key.replace("_", " ") for key in path if key != "comparisons"]
    return ", ".join(words)


def _is_comparison(row: Mapping[str, Any]) -> bool:
    figures = (row.get("base"), row.get("adapter"), *_interval(row))
    return "metric" in row and all(map(_is_figure, figures))


def _interval(row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return a comparison's difference and its interval, whatever they are; Corral 0.1 wrote ``difference``."""
    raw = row.get("interval")
    found = raw if isinstance(raw, Mapping) else {}
    return found.get("value", found.get("difference")), found.get("low"), found.get("high")


def _is_slice(row: Mapping[str, Any]) -> bool:
    shares = [row.get("base"), row.get("adapter")]
    return "name" in row and all(_is_figure(share) and 0 <= share <= 1 for share in shares)  # type: ignore[operator]  # a figure compares


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _metric(row: Mapping[str, Any], primary: str, path: tuple[str, ...]) -> Metric:
    name, (value, low, high) = str(row["metric"]), _interval(row)
    share = name not in COUNTS and 0 <= min(row["base"], row["adapter"]) and max(row["base"], row["adapter"]) <= 1
    p = row.get("p_corrected", row.get("p"))
    return Metric(
        name=name,
        meaning=MEANINGS.get(name, str(row.get("meaning", ""))),
        prompts=int(row.get("prompts", 0)),
        base=row["base"],
        adapter=row["adapter"],
        difference=Estimate(value=value, low=low, high=high),
        p=p if _is_figure(p) else None,
        word=_word(row),
        detectable=row.get("detectable") if _is_figure(row.get("detectable")) else None,
        decides=name == primary and path == ("comparisons",),
        share=share and max(map(abs, (value, low, high))) <= 1,
    )


def _word(row: Mapping[str, Any]) -> str:
    """Return what a comparison says in a word, where the file says which of two values is the better one."""
    try:
        return Comparison.model_validate(row).in_a_word if "better" in row else ""
    except ValueError:
        return ""


def _slice(row: Mapping[str, Any]) -> DumbbellRow:
    count = row.get("count", row.get("prompts", 0))
    difference, low, high = _interval(row)
    interval = None
    if all(map(_is_figure, (difference, low, high))):
        interval = Estimate(value=difference, low=low, high=high)
    return DumbbellRow(
        name=str(row["name"]), count=int(count), base=row["base"], adapter=row["adapter"], interval=interval
    )
