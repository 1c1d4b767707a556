"""Conversations as rows: ShareGPT's and OpenAI's lists of turns, read as an instruction with what was said before it.

    {"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}
    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
    {"prompt": [{"role": "user", ...}], "completion": [{"role": "assistant", ...}]}
    {"prompt": "...", "completion": "..."}, also below Argilla's "fields"

The last question is the instruction and the last answer its output; earlier ones are the ``history``, in pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from state.errors import BadInput

LISTS = ("conversations", "conversation", "messages")
ROLES: Mapping[str, str] = {
    **dict.fromkeys(("user", "human", "prompter", "instruction"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
"""Who speaks, by the words of the formats."""


def flattened(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose conversation, if it has one, stands in ``instruction``, ``output``, ``system``, ``history``.

    Other keys stay. A row that has an instruction of its own is returned as it is.

    Raises:
        BadInput: the conversation is no list of turns, somebody unknown speaks, or questions and answers do not
            alternate; the message begins with the key.
    """
    if isinstance(fields := row.get("fields"), dict):  # Argilla's records
        row = {key: value for key, value in row.items() if key != "fields"} | fields
    name = next((one for one in LISTS if row.get(one) is not None), None)
    if row.get("instruction") is not None:
        return dict(row)
    if name is not None:
        rest = {key: value for key, value in row.items() if key != name}
        return rest | _parts(name, row[name])
    if isinstance(row.get("prompt"), list):
        rest = {key: value for key, value in row.items() if key not in ("prompt", "completion")}
        answer = row.get("completion")
        return rest | _parts("prompt", [*row["prompt"], *(answer if isinstance(answer, list) else [])])
    if isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str) and "output" not in row:
        return {("output" if key == "completion" else key): value for key, value in row.items()}
    return dict(row)


def _parts(name: str, turns: Any) -> dict[str, Any]:
    if not isinstance(turns, list) or not turns:
        raise BadInput(f"{name!r} must be a list of turns")
    spoken = [_turn(name, number, turn) for number, turn in enumerate(turns, 1)]
    system = "\n\n".join(text for role, text in spoken if role == "system")
    said = [(role, text) for role, text in spoken if role != "system"]
    if [role for role, _ in said] != [("user", "assistant")[at % 2] for at in range(len(said))]:
        raise BadInput(f"{name!r} must go from question to answer by turns, from the user on")
    if not said:
        raise BadInput(f"{name!r} has no question")
    texts = [text for _, text in said]
    last = len(texts) - 1 - (len(texts) + 1) % 2
    parts: dict[str, Any] = {"instruction": texts[last]}
    if len(texts) > last + 1:
        parts["output"] = texts[last + 1]
    if system:
        parts["system"] = system
    if last:
        parts["history"] = [[texts[at], texts[at + 1]] for at in range(0, last, 2)]
    return parts


def _turn(name: str, number: int, turn: Any) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise BadInput(f"{name!r}, turn {number}, is no object with a role and a content")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    known = ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        raise BadInput(f"{name!r}, turn {number}: {role!r} is nobody known; {', '.join(ROLES)} are")
    if not isinstance(content, str):
        raise BadInput(f"{name!r}, turn {number}: its content must be a string")
    return known, content
