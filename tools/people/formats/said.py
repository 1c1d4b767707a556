"""What a foreign file says that people decided, and what of it fits the run: the rest is told, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

from state.names import POLICY
from state.records import Criterion, Draft, ItemKind, Rating, Ratings, Record
from tools.people.decisions import allowed_for, consequences
from tools.visible import one_line

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
_SHOWN = 80


@dataclass(frozen=True)
class Said:
    """What a file says that one person decided on one item; nothing of it is checked yet."""

    item_id: Any
    rater: Any
    decision: Any
    text: Any = ""
    comment: Any = ""
    ratings: Mapping[str, Any] = field(default_factory=dict)
    decided_at: Any = None


class Imported(Record):
    """What of a file fits the run."""

    drafts: tuple[Draft, ...]
    told: tuple[str, ...]
    """A line for each thing that does not fit: where it stands, what it is and what to do."""


def checked(
    said: Iterable[tuple[str, Said]], known: Mapping[str, ItemKind], now: datetime, earlier: Sequence[Rating] = ()
) -> Imported:
    """Return what can be taken of what a file says; two of one name never overwrite each other.

    Args:
        said: the place in the file, such as ``line 3``, and what stands there.
        known: the kind of each item of the run that goes to people.
        now: when what bears no time was decided.
        earlier: what people have sent about these items already.
    """
    drafts: dict[str, tuple[str, Draft]] = {}
    sent = {rating.id: rating for rating in earlier}
    told = []
    for place, one in said:
        try:
            draft = _draft(one, known, now)
        except ValueError as fault:
            told.append(f"{place}: {one_line(str(fault))}")
            continue
        first = drafts.setdefault(draft.id, (place, draft))
        if _differ(first[1], draft):
            where = f"{first[0]} says otherwise of item {draft.item_id}, and counts"
            told.append(f"{place}: {one_line(draft.rater)} on {where}; give two people two names")
        elif first[0] == place and draft.id in sent and _differ(sent[draft.id], draft):
            where = f"item {draft.item_id}, which counts; another person takes another name"
            told.append(f"{place}: {one_line(draft.rater)} has sent another decision on {where}")
    new = (draft for _, draft in drafts.values() if draft.id not in sent)
    return Imported(drafts=tuple(new), told=tuple(told))


def _differ(one: Draft, other: Draft) -> bool:
    fields = {"decision", "text", "comment", "ratings"}
    return one.model_dump(include=fields) != other.model_dump(include=fields)


def _draft(said: Said, known: Mapping[str, ItemKind], now: datetime) -> Draft:
    """Return the draft.

    Raises:
        ValueError: it fits no item of the run.
    """
    kind = known.get(said.item_id) if isinstance(said.item_id, str) else None
    if kind is None:
        raise ValueError(f"no item {_shown(said.item_id)} of this run goes to people")
    if not isinstance(said.rater, str) or not said.rater.strip() or said.rater.startswith(POLICY):
        raise ValueError(f"{_shown(said.rater)} is no person's name; say who decided as 'rater'")
    if said.decision not in (allowed := allowed_for(kind)):
        raise ValueError(f"a decision on this {kind} is one of {', '.join(allowed)}, not {_shown(said.decision)}")
    rewrites, text, comment = consequences(said.decision).rewrites, said.text or "", said.comment or ""
    if not isinstance(text, str) or not isinstance(comment, str):
        raise ValueError("its text and its comment are words")
    if rewrites and not text.strip():
        raise ValueError("an edit carries the new text, and not a blank one")
    return Draft(
        item_id=said.item_id,
        rater=said.rater.strip(),
        decision=said.decision,
        text=text.strip() if rewrites else "",
        comment=comment,
        ratings=_stars(said.ratings),
        decided_at=_time(said.decided_at, now),
    )


def _stars(ratings: Mapping[str, Any]) -> Ratings:
    if unknown := sorted(set(ratings) - set(CRITERIA)):
        raise ValueError(f"{_shown(unknown[0])} is no criterion; they are {', '.join(CRITERIA)}")
    for criterion, stars in ratings.items():
        if isinstance(stars, bool) or stars not in range(1, 6):
            raise ValueError(f"{criterion} is {_shown(stars)}, and stars go from 1 to 5")
    return {criterion: int(ratings[criterion]) for criterion in CRITERIA if criterion in ratings}


def _time(said: Any, now: datetime) -> datetime:
    if not said:
        return now
    try:
        found = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        raise ValueError(f"{_shown(said)} is no time, such as {now.isoformat(timespec='seconds')}") from None
    return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
