"""What LLaMA-Factory's ``dataset_info.json`` says of a file beside it: what its columns and speakers are called.

{"shop": {"file_name": "shop.json", "columns": {"prompt": "question", "query": "context", "response": "answer"}},
 "talks": {"file_name": "talks.json", "formatting": "sharegpt", "columns": {"messages": "dialog"},
           "tags": {"role_tag": "who", "content_tag": "said", "user_tag": "me", "assistant_tag": "you"}}}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from state.errors import BadInput
from tools.shipped import find_file

INFO = "dataset_info.json"
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "messages"}
"""Corral's names of LLaMA-Factory's columns; ``system``, ``history``, ``chosen`` and ``rejected`` are called alike."""
SPEAKERS = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
Fields = dict[str, Any]


def described(path: Path) -> Callable[[Fields], Fields] | None:
    """Return what gives a file's rows the names of Corral; ``None`` where nothing beside it describes the file.

    It raises a LookupError for a row that lacks the column of its question.

    Raises:
        BadInput: it is the description itself; the message names the files that can be given. Or what stands beside it
            is no JSON.
    """
    file = find_file(path)
    entries = _entries(file.parent / INFO)
    if file.name == INFO and entries:
        raise BadInput(f"{path}: describes data sets; name one of their files: {', '.join(sorted(entries))[:200]}")
    entry = entries.get(file.name)
    if entry is None:
        return None
    columns, tags = _texts(entry.get("columns")), _texts(entry.get("tags"))
    names = {theirs: COLUMNS.get(name, name) for name, theirs in columns.items()}
    speakers = {theirs: SPEAKERS[tag] for tag, theirs in tags.items() if tag in SPEAKERS}
    role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")

    asked = columns.get("prompt") or columns.get("messages")

    def renamed(fields: Fields) -> Fields:
        if asked is not None and asked not in fields:
            raise LookupError(f"no {asked!r}, which {INFO} beside it names for the question")
        row = {names.get(name, name): value for name, value in fields.items()}
        if speakers and isinstance(row.get("messages"), list):
            row["messages"] = [_turn(turn, role, content, speakers) for turn in row["messages"]]
        return row

    return renamed


def _turn(turn: Any, role: str, content: str, speakers: Mapping[str, str]) -> Any:
    if not isinstance(turn, dict) or not isinstance(turn.get(role), str):
        return turn
    return {"role": speakers.get(turn[role], turn[role]), "content": turn.get(content)}


def _entries(info: Path) -> dict[str, Mapping[str, Any]]:
    """Return the descriptions of local files, by the file's name.

    Raises:
        BadInput: there are some, and they are no JSON: what the columns are called is not guessed then.
    """
    try:
        found = json.loads(info.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise BadInput(f"{info}: no JSON ({why}); it says what columns are called: mend it, or move it away") from error
    entries = found.values() if isinstance(found, dict) else ()
    return {
        entry["file_name"]: entry
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
    }


def _texts(value: Any) -> dict[str, str]:
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}
