"""A person's own words: in the editor that the environment names, or on the terminal itself."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from pathlib import Path

from corral.cli.keys import Keys
from state.errors import BadInput
from tools.visible import visible

ADVICE = "Esc, then Enter, keeps the text; Ctrl-C leaves it as it was"


async def edited(text: str, keys: Keys, editor: str) -> str:
    """Return a text as a person changed it; the same text where the person left it as it was.

    An editor that ends with an error, as ``:cq`` does, has changed nothing; nor has one that is left without saving.

    Args:
        text: what is there.
        keys: of the terminal.
        editor: the command of the editor; where it is empty, the text is changed on the terminal.

    Raises:
        BadInput: the editor cannot be started.
    """
    with keys.left_to_others():
        return await (_in_editor(editor, text) if editor.strip() else _in_line(text))


async def _in_editor(command: str, text: str) -> str:
    with tempfile.TemporaryDirectory(prefix="corral-") as folder:
        file = Path(folder) / "answer.txt"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            process = await asyncio.create_subprocess_exec(*shlex.split(command), str(file))
            code = await process.wait()
        except (OSError, ValueError) as error:
            raise BadInput(f"the editor {command!r} cannot be started: {error}; set EDITOR to another one") from error
        after = file.read_bytes().decode("utf-8", "replace") if file.exists() else text
    # Editors end a file with a line break.
    same = code != 0 or after.strip() == text.strip() or not after.strip()
    return text if same else after.strip()


async def _in_line(text: str) -> str:
    from prompt_toolkit import PromptSession

    # What would steer the terminal or hide is left out of what is edited; unchanged, the text stays as it is.
    offered = "".join(character for character in text if visible(character) == character)
    session: PromptSession[str] = PromptSession(multiline=True)
    print(ADVICE)
    try:
        after = await session.prompt_async("", default=offered, handle_sigint=False)
    except (KeyboardInterrupt, EOFError):
        return text
    return text if after.strip() == offered.strip() or not after.strip() else after.strip()


async def one_line_of(question: str, keys: Keys) -> str | None:
    """Return a line that a person types; ``None`` where the person left it."""
    from prompt_toolkit import PromptSession

    session: PromptSession[str] = PromptSession()
    with keys.left_to_others():
        try:
            return (await session.prompt_async(f"{question}: ", handle_sigint=False)).strip()
        except (KeyboardInterrupt, EOFError):
            return None
