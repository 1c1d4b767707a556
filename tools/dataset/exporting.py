"""A dataset in the forms that other tools read: ShareGPT, messages, LLaMA-Factory, Axolotl, Argilla, Parquet.

Each form is made of a dataset's own rows, one by one, so that its size does not matter. LLaMA-Factory and Axolotl read
a folder: the rows, and the entry or the config that describes them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from state.errors import BadInput
from tools.dataset.files import ALPACA, DPO, SFT
from tools.files import copy_out
from tools.sources.reader import BadRow, read_rows

SHAREGPT_ROLES: Mapping[str, str] = MappingProxyType({"user": "human", "assistant": "gpt", "system": "system"})
Written = Mapping[str, Iterator[str]]
"""The files of a form, by name, each as pieces of its text."""


def _turns(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _shared(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"from": SHAREGPT_ROLES[turn["role"]], "value": turn["content"]} for turn in turns]


def _as_messages(row: dict[str, Any]) -> dict[str, Any]:
    return {"messages": _turns(row["prompt"] + row["completion"])}


def _as_sharegpt(row: dict[str, Any]) -> dict[str, Any]:
    return {"conversations": _shared(row["prompt"] + row["completion"])}


def _as_preference(row: dict[str, Any]) -> dict[str, Any]:
    (chosen,), (rejected,) = _shared(row["chosen"]), _shared(row["rejected"])
    return {"conversations": _shared(row["prompt"]), "chosen": chosen, "rejected": rejected}


def _as_chat_preference(row: dict[str, Any]) -> dict[str, Any]:
    (chosen,), (rejected,) = _turns(row["chosen"]), _turns(row["rejected"])
    return {"messages": _turns(row["prompt"]), "chosen": chosen, "rejected": rejected}


def _as_record(row: dict[str, Any]) -> dict[str, Any]:
    prompt, completion = (_text(row[name]) for name in ("prompt", "completion"))
    return {"prompt": prompt, "completion": completion, "messages": _turns(row["prompt"] + row["completion"])}


def _text(turns: list[dict[str, str]]) -> str:
    return "\n\n".join(turn["content"] for turn in turns)


def _converted(path: Path, convert: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a file's rows; none where it has no rows."""
    for row in read_rows(path, "each a row to train on"):
        if isinstance(row, BadRow):
            raise BadInput(f"{path}, {row.place}: {row.fault}")
        yield json.dumps(convert(row.fields)) + "\n"


def _same(row: dict[str, Any]) -> dict[str, Any]:
    return row


LLAMA_FACTORY: dict[str, dict[str, Any]] = {
    "corral_alpaca": {"file_name": "alpaca.jsonl"},
    "corral_sft": {"file_name": "sft.jsonl", "formatting": "sharegpt"},
    "corral_dpo": {
        "file_name": "dpo.jsonl",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
}
"""``dataset_info.json``, as LLaMA-Factory reads it; a dataset is named ``corral_sft`` there."""
AXOLOTL = """\
# What Axolotl needs to know of these rows; copy it into a config. sft.jsonl trains with any chat template.
datasets:
  - path: sft.jsonl
    ds_type: json
    type: chat_template
    field_messages: messages
    message_property_mappings:
      role: role
      content: content
# For preference tuning, with rl: dpo, in the place of the above:
# datasets:
#   - path: dpo.jsonl
#     ds_type: json
#     split: train
#     type: chat_template.default
#     field_messages: messages
#     field_chosen: chosen
#     field_rejected: rejected
"""


def sharegpt(folder: Path) -> Written:
    """Return ShareGPT's ``conversations`` of the SFT rows."""
    return {"sharegpt.jsonl": _converted(folder / SFT, _as_sharegpt)}


def messages(folder: Path) -> Written:
    """Return OpenAI's ``messages`` of the SFT rows."""
    return {"messages.jsonl": _converted(folder / SFT, _as_messages)}


def argilla(folder: Path) -> Written:
    """Return records of text fields for an Argilla dataset with the fields ``prompt``, ``completion``, ``messages``."""
    return {"records.jsonl": _converted(folder / SFT, _as_record)}


def llama_factory(folder: Path) -> Written:
    """Return a data folder of LLaMA-Factory; it names the files that have rows."""
    files = {
        "alpaca.jsonl": (folder / ALPACA, _same),
        "sft.jsonl": (folder / SFT, _as_sharegpt),
        "dpo.jsonl": (folder / DPO, _as_preference),
    }
    full = {name for name, (path, _) in files.items() if next(read_rows(path, "each a row to train on"), None)}
    named = {name: entry for name, entry in LLAMA_FACTORY.items() if entry["file_name"] in full}
    written = {name: _converted(path, convert) for name, (path, convert) in files.items() if name in full}
    return {"dataset_info.json": iter([json.dumps(named, indent=2) + "\n"]), **written}


def axolotl(folder: Path) -> Written:
    """Return rows for Axolotl, and the part of a config that describes them."""
    return {
        "axolotl.yaml": iter([AXOLOTL]),
        "sft.jsonl": _converted(folder / SFT, _as_messages),
        "dpo.jsonl": _converted(folder / DPO, _as_chat_preference),
    }


FORMS: Mapping[str, Callable[[Path], Written]] = MappingProxyType(
    {
        "sharegpt": sharegpt,
        "messages": messages,
        "llama-factory": llama_factory,
        "axolotl": axolotl,
        "argilla": argilla,
    }
)
"""By the name of the form: what makes its files of a dataset's folder."""


def write_form(folder: Path, form: str, out: Path) -> list[Path]:
    """Write a dataset in another tool's form, and return what was written.

    Args:
        folder: the dataset's.
        form: a name of ``FORMS``.
        out: the file; the folder of a form that has several files.

    Raises:
        BadInput: a file of the dataset cannot be read.
        StorageError: ``out`` cannot be written.
    """
    files = FORMS[form](folder)
    places = {name: out if len(files) == 1 else out / name for name in files}
    for name, pieces in files.items():
        with tempfile.TemporaryFile() as text:
            for piece in pieces:
                text.write(piece.encode())
            text.seek(0)
            copy_out(places[name], text)
    return list(places.values())
