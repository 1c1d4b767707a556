"""``corral serve``: the adapter's API and the pages for people, on this machine or, with tokens, beyond it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from corral.cli.shared import errors, open_settings
from state.errors import BadInput
from state.extras import demand_extra, install_command, missing_modules

Host = Annotated[str, typer.Option(help="The address to listen at; any but loopback needs CORRAL_SERVE_TOKENS.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for a free one.")]


def serve(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve the registry's adapters: /generate, OpenAI's /v1, and the pages for people.

    What the registry comes to point at is served without a restart. SIGTERM and Ctrl-C let answers in flight end; a
    second one ends at once.
    """
    demand_extra("serve", "corral serve")
    from tools.machine.loopback import is_loopback

    settings = open_settings()
    if not (is_loopback(host) or settings.serve_tokens):
        raise BadInput(
            f"{host} is reached from other machines; set CORRAL_SERVE_TOKENS to a JSON object of names and tokens, or "
            "serve 127.0.0.1"
        )
    # Behind the refusal: the application takes two seconds to load.
    from serving.app import create_app
    from serving.server import Server, bound

    pages_alone = settings.serve_engine == "llama.cpp" and bool(missing_modules("train"))
    if pages_alone:
        note = f"note: only the pages are served; to serve adapters: {install_command('train')}"
        errors.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    listening = bound(host, port)
    server = Server(
        create_app(lambda: settings), settings.log_level or "WARNING", load=not pages_alone, drain=settings.serve_drain
    )
    place = listening.getsockname()[:2]
    shown = f"[{place[0]}]" if ":" in place[0] else place[0]
    errors.print(f"http://{shown}:{place[1]} (Ctrl-C ends it)", highlight=False, markup=False, soft_wrap=True)
    asyncio.run(server.serve(sockets=[listening]))
    if server.failed is not None:
        raise server.failed
    raise typer.Exit(128 + server.received[0] if server.received else 0 if server.started else 1)
