"""What earlier versions called things, so that what they wrote can be read: config files, requests, checkpoints, rows.

To rename a field or to drop one takes a line in ``FORMER_NAMES``. Every section and every record reads its former names
when it is validated, wherever it comes from.
"""

from __future__ import annotations

from typing import Any

FORMER_NAMES: dict[str, dict[str, str | None]] = {
    "Evaluation": {"batch_size": None},
    "Gates": {"review": "review_from"},
    "Judging": {"review": "review_from", "min_kappa": "licence"},
}
"""By the name of the section or record: a field's former name, and its present one; ``None`` where it is gone."""

REQUEST_FORMAT = 3
"""Of the requests that this version stores. It is raised with each change of ``RunRequest`` that the version before
cannot read. 1: before formats were counted. 2: a price that nobody gave was 0, where it is ``null`` now; a run that
began with 0 goes on with it."""


def with_present_names(model: str, values: Any) -> Any:
    """Return a model's values under their present names.

    A former name that stands beside the present one is left there: which of the two is meant is not known, and the
    validation refuses it.

    Args:
        model: the name of the section or record.
        values: what is to be validated; anything but a mapping is returned as it is.
    """
    former = FORMER_NAMES.get(model)
    if not former or not isinstance(values, dict) or former.keys().isdisjoint(values):
        return values
    found: dict[str, Any] = {}
    for name, value in values.items():
        present = former.get(name, name)
        if present is not None:
            found[name if present in values else present] = value
    return found


def present_name(model: str, name: str) -> str | None:
    """Return what a model's field is called now; ``None`` where it is gone."""
    return FORMER_NAMES.get(model, {}).get(name, name)
