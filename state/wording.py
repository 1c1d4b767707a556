"""Counts as a person writes them."""

from __future__ import annotations


def number_of(number: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: ``1 row``, ``1,200 rows``, ``2 people``.

    Args:
        number: the count.
        noun: in the singular.
        plural: where it is not the singular with an ``s``.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
