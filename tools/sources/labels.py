"""People's labels, against which a judge is measured: single ratings or choices between two answers.

    {"prompt": "...", "output": "...", "rating": 4}                         a rating from 1 to 5
    {"prompt": "...", "output_1": "...", "output_2": "...", "label": 1}     which is better: 1, 2, or 0 for a tie

``a``, ``b`` and ``tie`` are read as 1, 2 and 0; ``instruction`` and ``input`` stand for ``prompt`` as everywhere. A
file holds one kind. Other labels are read by a mapping, such as ``0=1,1=2`` where 0 means the first answer. Sets that
others have published are read as they are, see ``tools.sources.gold``.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from state.errors import BadInput
from state.names import Split
from state.records import Record, content_hash
from state.wording import number_of
from tools.sources.gold import GoldPair, gold_pairs
from tools.sources.items import Item, first_of, item_of, prompt_of, valid
from tools.sources.reader import require_rows

LABELS = 'each with "prompt", "output" and "rating", or with "prompt", "output_1", "output_2" and "label"'
"""What each object should be."""
CHOICES: Mapping[str, int] = {"1": 1, "2": 2, "0": 0, "a": 1, "b": 2, "tie": 0}
"""What a label says, by its text in lower case: the first answer, the second, or neither."""
FEW = 50
"""Labels under which a warning is given."""


class RatedItem(Record):
    """An answer with a person's rating."""

    item: Item
    rating: float = Field(ge=1, le=5)


class ChosenPair(Record):
    """Two answers to one prompt, and which a person likes better."""

    first: Item
    second: Item
    label: Literal[0, 1, 2]
    """1 or 2, or 0 for a tie. Of several raters, what most of them chose; 0 where no choice has most."""
    raters: tuple[int, ...] = ()
    """What each of several people chose; empty where one choice is all that is known."""
    source: str = ""
    """The part of its set that the pair belongs to, which figures are told apart by."""


Labels = Sequence[RatedItem] | Sequence[ChosenPair]


class LabelSet(Record):
    """A file's labels, and what a reader of its figures should know of them."""

    name: str
    labels: tuple[RatedItem, ...] | tuple[ChosenPair, ...]
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """A hash of the labels' content; the same for every copy of a file."""
        return content_hash([label.model_dump(mode="json") for label in self.labels])

    def part(self, split: Split) -> Labels:
        """Return the labels of one half, or all of them; all rows of a prompt are in the same half.

        Raises:
            BadInput: nothing can be measured on that half.
        """
        if split == "all":
            return self.labels
        tuned = split == "tune"
        found = [label for label in self.labels if _is_to_tune(label) == tuned]
        return checked_labels(found, f"{self.name}, split {split}")


def _is_to_tune(label: RatedItem | ChosenPair) -> bool:
    prompt = label.item.prompt if isinstance(label, RatedItem) else label.first.prompt
    return int(content_hash("split", prompt)[0], 16) < 8


def read_labels(path: Path, mapping: Mapping[str, int] | None = None) -> Labels:
    """Return a file's labels; arguments and errors as for ``read_label_set``."""
    return read_label_set(path, mapping).labels


def read_label_set(path: Path, mapping: Mapping[str, int] | None = None) -> LabelSet:
    """Return a file's labels with what is odd about them.

    Args:
        path: a file of JSON objects, one a line or in one array.
        mapping: what the file's labels mean, as in ``CHOICES``; see ``read_mapping``. ``None``: they are ``CHOICES``.

    Raises:
        BadInput: the file cannot be read or has no rows, one is broken or has no label (its place is named), both kinds
            are in one file, all labels are the same, so that agreement cannot be measured, or the labels are 0 and 1
            alone, which elsewhere name the two answers, and no mapping says what they mean.
    """
    rows = list(require_rows(path, LABELS))
    own = [row.fields for row in rows if "output_1" in row.fields]
    if mapping is None and {_label_text(fields["label"]) for fields in own if "label" in fields} == {"0", "1"}:
        raise BadInput(
            f"{path}: its labels are 0 and 1 alone, and Corral reads 1 as the first answer, 2 as the second, 0 as tie; "
            "say what they mean: --mapping 0=1,1=2 (0 is the first), 0=2,1=1 (0 is the second) or 0=0,1=1 (0 is a tie)"
        )
    choices = CHOICES if mapping is None else mapping
    found: list[RatedItem | ChosenPair] = []
    votes: list[tuple[str, ChosenPair]] = []
    for row in rows:
        where = f"{path}, {row.place}"
        gold = gold_pairs(row.fields, where) if mapping is None else None
        if gold is not None:
            votes += [vote for pair in gold for vote in _votes(pair, where)]
        elif isinstance(label := _label(row.fields, choices, where), ChosenPair):
            votes.append(("", label))
        else:
            found.append(label)
    pairs, notes = _put_together(votes)
    labels = checked_labels([*found, *pairs], str(path))
    return LabelSet(name=path.name, labels=tuple(labels), notes=(*notes, *_told(labels)))


def _votes(pair: GoldPair, where: str) -> list[tuple[str, ChosenPair]]:
    """Return what each rater said of a pair, by the rater's name."""
    first, second = (item_of({"prompt": pair.prompt, "output": text}, where) for text in pair.outputs)
    made = ((name, {"first": first, "second": second, "label": choice}) for name, choice in pair.choices)
    return [(name, ChosenPair.model_validate(fields | {"source": pair.source})) for name, fields in made]


def _put_together(votes: Sequence[tuple[str, ChosenPair]]) -> tuple[list[ChosenPair], list[str]]:
    """Return one label a pair, and notes on what is odd.

    Named raters of one pair are put together. Rows of one pair without a rater's name are copies of each other, or
    contradict each other, which no judge can please.
    """
    groups: defaultdict[tuple[str, ...], list[tuple[str, ChosenPair]]] = defaultdict(list)
    for name, vote in votes:
        group = groups[(vote.first.prompt, *sorted((vote.first.output, vote.second.output)))]
        group.append((name, _in_order_of(group[0][1] if group else vote, vote)))
    pairs: list[ChosenPair] = []
    copies = contradictory = 0
    for group in groups.values():
        by_rater: defaultdict[str, dict[Literal[0, 1, 2], ChosenPair]] = defaultdict(dict)
        for name, vote in group:
            by_rater[name].setdefault(vote.label, vote)
        copies += len(group) - sum(map(len, by_rater.values()))
        said = [label for votes in by_rater.values() if len(votes) == 1 for label in votes]
        against = [vote for votes in by_rater.values() if len(votes) > 1 for vote in votes.values()]
        contradictory += len(against)
        pairs += against
        if said:
            raters = tuple(said) if len(said) > 1 else ()
            pairs.append(group[0][1].model_copy(update={"label": _most(said), "raters": raters}))
    notes = [f"labels that are copies of others, and count once: {copies}"] if copies else []
    if contradictory:
        notes.append(
            f"labels that contradict each other (one pair, otherwise labelled), each of which counts: {contradictory}"
        )
    return pairs, notes


def _most(said: Sequence[Literal[0, 1, 2]]) -> Literal[0, 1, 2]:
    best = Counter(said).most_common(2)
    return best[0][0] if len(best) == 1 or best[0][1] > best[1][1] else 0


def _in_order_of(other: ChosenPair, vote: ChosenPair) -> ChosenPair:
    """Return a vote with its answers in the order of another vote on the same pair."""
    if vote.first.output == other.first.output:
        return vote
    swapped = {"first": vote.second, "second": vote.first, "label": {0: 0, 1: 2, 2: 1}[vote.label]}
    return vote.model_copy(update=swapped)


def _told(labels: Labels) -> list[str]:
    """Return what a reader of figures over these labels should know."""
    pairs = [label for label in labels if isinstance(label, ChosenPair)]
    prompts = [label.first.prompt if isinstance(label, ChosenPair) else label.item.prompt for label in labels]
    empty = sum(not pair.first.output.strip() or not pair.second.output.strip() for pair in pairs)
    ties, foreign = sum(pair.label == 0 for pair in pairs), sum(map(_is_of_another_script, prompts))
    notes = [f"labels that are ties, on which who never says tie is wrong: {ties} of {len(pairs)}"] if ties else []
    notes += [f"pairs of which an answer is empty: {empty}"] if empty else []
    notes += [f"prompts in another script than Latin: {foreign} of {len(prompts)}"] if foreign else []
    if len(labels) < FEW:
        notes.append(
            f"{number_of(len(labels), 'label')}: under {FEW} intervals are wide, and a licence is hard to show"
        )
    if pairs and not any(pair.raters for pair in pairs):
        notes.append("one choice a pair is known, so that nobody can say how far people agree among themselves")
    return notes


def _is_of_another_script(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and sum(ord(one) > 0x24F for one in letters) > len(letters) / 2


def read_mapping(text: str) -> dict[str, int]:
    """Return a mapping of labels from its text.

    Args:
        text: ``LABEL=MEANING`` with commas between, such as ``0=1,1=2``; the meaning is 1, 2, or 0 for a tie.

    Raises:
        BadInput: it is no such text.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    found = {label.strip().lower(): meaning.strip() for label, _, meaning in pairs}
    if len(found) != len(pairs) or not all(found) or not set(found.values()) <= {"0", "1", "2"}:
        raise BadInput(
            f"--mapping {text!r}: give LABEL=MEANING with commas between, such as 0=1,1=2; a meaning is 1 for "
            "the first answer, 2 for the second, 0 for a tie"
        )
    return {label: int(meaning) for label, meaning in found.items()}


def checked_labels(labels: Sequence[RatedItem | ChosenPair], where: str) -> Labels:
    """Return labels that can be measured on.

    Raises:
        BadInput: none, both kinds, or one-sided.
    """
    ratings = [label for label in labels if isinstance(label, RatedItem)]
    pairs = [label for label in labels if isinstance(label, ChosenPair)]
    if not labels:
        raise BadInput(f"{where} has no labels")
    if ratings and pairs:
        raise BadInput(f"{where} mixes {len(ratings)} ratings with {len(pairs)} pairs; give each a file of its own")
    if len({label.rating for label in ratings} | {pair.label for pair in pairs}) < 2:
        same = f"every rating is {ratings[0].rating:g}" if ratings else f"every label is {pairs[0].label}"
        raise BadInput(f"{where} is one-sided: {same}, so agreement beyond chance cannot be measured")
    return ratings or pairs


def _label(row: Mapping[str, Any], choices: Mapping[str, int], where: str) -> RatedItem | ChosenPair:
    if "output_1" in row or "output_2" in row:
        return _pair(row, choices, where)
    rating = first_of(row, "rating", "overall_rating")
    if rating is None:
        raise BadInput(f"{where}: unrated; a row needs 'rating', or 'output_1', 'output_2' and 'label'")
    if isinstance(rating, bool):
        raise BadInput(f"{where}: 'rating' is a number from 1 to 5, not {json.dumps(rating)}")
    return valid(RatedItem, {"item": item_of(row, where), "rating": rating}, where)


def _pair(row: Mapping[str, Any], choices: Mapping[str, int], where: str) -> ChosenPair:
    label = choices.get(_label_text(row.get("label")))
    if label is None:
        raise BadInput(f"{where}: 'label' is {_meanings(choices)}, not {json.dumps(row.get('label'))[:80]}")
    named = row if first_of(row, "prompt", "instruction") else {"prompt": row.get("input")}
    common = {name: row[name] for name in ("checks", "context") if name in row} | {"prompt": prompt_of(named, where)}
    first, second = (item_of(common | {"output": row.get(f"output_{n}")}, f"{where}, output_{n}") for n in (1, 2))
    return ChosenPair(first=first, second=second, label=label)


def _label_text(label: Any) -> str:
    """Return a label as text: 1 for 1.0, which a table's column with gaps in it makes of 1."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip().lower() if isinstance(label, int | str) and not isinstance(label, bool) else ""


def _meanings(choices: Mapping[str, int]) -> str:
    if choices is CHOICES:
        return "1, 2 or 0 for a tie"
    return f"one of {', '.join(choices)} (the mapping)"
