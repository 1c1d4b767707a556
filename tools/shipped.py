"""The files that come with Corral, by name: ``seeds:prompts`` is ``seeds/prompts.jsonl`` of the installation."""

from __future__ import annotations

import difflib
from pathlib import Path

from state.errors import BadInput

SHIPPED = "seeds:"
"""The prefix of such a name."""
FOLDER = Path(__file__).resolve().parents[1] / "seeds"
POLICIES = FOLDER / "policies"


def shipped_files() -> dict[str, Path]:
    """Return the files that come with Corral, by what follows ``seeds:`` in their names.

    Raises:
        BadInput: the installation has none.
    """
    found = {
        path.relative_to(FOLDER).with_suffix("").as_posix(): path
        for pattern in ("*.jsonl", "*.yaml", "policies/*.yaml")
        for path in sorted(FOLDER.glob(pattern))
    }
    if not found:
        raise BadInput(
            f"this installation lacks its data, {FOLDER}; install Corral again: pip install --force-reinstall "
            "--no-deps corral"
        )
    return found


def find_file(name: str | Path) -> Path:
    """Return the file that a person names: one that comes with Corral, as ``seeds:NAME``, or a path.

    Raises:
        BadInput: no file of that name comes with Corral.
    """
    text = str(name)
    if not text.startswith(SHIPPED):
        return Path(name).expanduser()
    files, wanted = shipped_files(), text.removeprefix(SHIPPED)
    if wanted not in files:
        near = difflib.get_close_matches(wanted, files, n=1, cutoff=0.0)[0]
        raise BadInput(
            f"nothing that comes with Corral is called {text}; did you mean {SHIPPED}{near}? "
            f"(there are {', '.join(files)})"
        )
    return files[wanted]
