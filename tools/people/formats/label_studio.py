"""Label Studio's tasks, as its import takes them and its JSON export writes them, and the labelling config they need.

An import may not name people that a Label Studio does not have, so who decided stands in the annotation, in the field
``rater``. In an export of Label Studio's that nobody filled in, it is the user's e-mail address or number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from state.records import Rating
from tools.people.decisions import DECISIONS
from tools.people.formats.said import CRITERIA, Said
from tools.people.items import WHY, Item

DECISION, EDIT, COMMENT, RATER, DECIDED_AT = "decision", "edited_text", "comment", "rater", "decided_at"
"""Controls beside the criteria, which are ratings from 1 to 5."""
TEXT = "text"
"""The object that all controls are about."""


def labelling_config() -> str:
    """Return the labelling config of a project that the tasks are imported to."""
    choices = "".join(f'\n      <Choice value="{decision}"/>' for decision in DECISIONS)
    stars = "".join(
        f'\n    <Header value="{name}" size="5"/>\n    <Rating name="{name}" toName="{TEXT}" maxRating="5"/>'
        for name in CRITERIA
    )
    words = "".join(
        f'\n    <TextArea name="{name}" toName="{TEXT}" placeholder="{hint}" maxSubmissions="1" editable="true"/>'
        for name, hint in (
            (EDIT, "Of an edit: the new text"),
            (COMMENT, "Comment"),
            (RATER, "Your name, where several people share a login"),
            (DECIDED_AT, "Filled in by Corral"),
        )
    )
    return f"""<View>
    <Text name="prompt" value="$prompt"/>
    <Header value="The answer; of a pair, answer A" size="5"/>
    <Text name="{TEXT}" value="$text"/>
    <Header value="Of a pair: answer B" size="5"/>
    <Text name="other_text" value="$other_text"/>
    <Choices name="{DECISION}" toName="{TEXT}" choice="single" showInline="true" required="true">{choices}
    </Choices>{stars}{words}
</View>
"""


def task_of(run_id: str, item: Item, ratings: Sequence[Rating]) -> dict[str, Any]:
    """Return an item as a task; arguments as ``exported``."""
    texts = (*item.texts, "")[:2]
    return {
        "data": {
            "run": run_id,
            "item_id": item.id,
            "kind": item.task.kind,
            "prompt": item.sample.prompt,
            TEXT: texts[0],
            "other_text": texts[1],
            "why": [WHY[why] for why in item.task.why],
        },
        "annotations": [{"was_cancelled": False, "result": _regions(rating)} for rating in ratings],
    }


def _regions(rating: Rating) -> list[dict[str, Any]]:
    words = {EDIT: rating.text, COMMENT: rating.comment, RATER: rating.rater, DECIDED_AT: rating.decided_at.isoformat()}
    return [
        _region(DECISION, "choices", [rating.decision]),
        *(_region(criterion, "rating", stars) for criterion, stars in rating.ratings.items()),
        *(_region(name, "textarea", [value]) for name, value in words.items() if value),
    ]


def _region(control: str, kind: str, value: Any) -> dict[str, Any]:
    key = "text" if kind == "textarea" else kind
    return {"id": control, "from_name": control, "to_name": TEXT, "type": kind, "value": {key: value}}


def said_in(row: Mapping[str, Any]) -> list[Said]:
    """Return what a task says, one for each annotation that was not skipped.

    Raises:
        ValueError: it is no task of ours.
    """
    data, annotations = row.get("data"), row.get("annotations") or []
    if not isinstance(data, Mapping) or "item_id" not in data or not isinstance(annotations, list):
        raise ValueError("it is no task of Label Studio's, with 'data.item_id' and 'annotations'")
    if not all(isinstance(one, Mapping) and isinstance(one.get("result", []), list) for one in annotations):
        raise ValueError("an annotation has no 'result' that is a list")
    return [_said(data["item_id"], one) for one in annotations if not one.get("was_cancelled")]


def _said(item_id: Any, annotation: Mapping[str, Any]) -> Said:
    found: dict[str, Any] = {}
    for region in annotation.get("result") or ():
        if not isinstance(region, Mapping) or not isinstance(region.get("value"), Mapping):
            raise ValueError("a region of its result has no 'value'")
        value = next((region["value"][key] for key in ("choices", "rating", "text") if key in region["value"]), None)
        found[str(region.get("from_name"))] = value[0] if isinstance(value, list) and value else value
    words = {name: found.pop(name, "") for name in (DECISION, EDIT, COMMENT, RATER, DECIDED_AT)}
    return Said(
        item_id=item_id,
        rater=words[RATER] or _user(annotation.get("completed_by")),
        decision=words[DECISION],
        text=words[EDIT],
        comment=words[COMMENT],
        ratings=found,
        decided_at=words[DECIDED_AT] or annotation.get("created_at"),
    )


def _user(completed_by: Any) -> str:
    if isinstance(completed_by, Mapping):
        return str(completed_by.get("email") or completed_by.get("id") or "")
    return f"label-studio-{completed_by}" if completed_by is not None else ""
