"""Names of those who decide: a person's, which no policy can be taken for, and a policy's."""

from __future__ import annotations

from typing import Literal

POLICY = "policy:"
"""What a policy's name begins with where a reviewer's stands; no person's name may."""
NAME_LENGTH = 80
"""Characters of a person's name at most."""


def demand_persons_name(name: str) -> str:
    """Return a person's name without the spaces around it.

    Raises:
        ValueError: it is empty, too long, holds a character that cannot be seen, or is a policy's.
    """
    name = name.strip()
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise ValueError(f"a person's name has 1 to {NAME_LENGTH} visible characters")
    if name.startswith(POLICY):
        raise ValueError(f"a person's name cannot begin with {POLICY!r}, which is a policy's")
    return name


Split = Literal["all", "tune", "report"]
"""Of a set of labels: half of the prompts, drawn by a hash, are there to tune a judge on, the others to report on."""
