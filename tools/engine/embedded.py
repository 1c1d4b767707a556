"""The engine in this process: llama.cpp with what the registry holds, exchanged while requests go on.

llama.cpp takes its adapters when it starts. Where another version is to be served, a second server is started beside
the first, takes all new requests, and the first is closed with its last answer: nothing is dropped. Which adapter
answers is chosen with each request, so that pointing ``current`` at a version in memory takes effect at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from state.errors import BadInput, EndpointUnreachable
from tools.engine.asked import BASE, CURRENT, Asked, Entry, Piece
from tools.engine.llama import LlamaServer
from tools.engine.merging import merged
from tools.engine.naming import View, kept, look, meant
from tools.engine.versions import Reader, Readers, ServedBase, base_of, gguf_adapter_of, reader_folder
from tools.weights.gguf_files import gguf_of
from tools.weights.gguf_fit import unfit

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the registry is looked at while nobody asks."""
MOST_ADAPTERS = 8
"""Versions that are held in memory at a time; another one takes the place of the one that was not asked for longest."""
ALONE = 1
"""Answers that are written at the same time where a version is served to be measured: what is written together rounds
in another way from time to time."""


@dataclass(eq=False)
class Live:
    """A started server, and who uses it."""

    server: LlamaServer
    base: ServedBase
    readers: dict[str, Reader]
    """By version, and ``base``."""
    users: int = 0
    retired: bool = False
    """Another one has taken its place."""


@dataclass(frozen=True)
class Held:
    """A version that a request holds; see ``Served``."""

    version: str
    live: Live
    session: aiohttp.ClientSession

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together, at most."""
        return self.live.server.context

    async def tokens(self, asked: Asked) -> list[int]:
        """Return the prompt as token ids; see ``Served.tokens``."""
        reader = self.live.readers[self.version]
        return await asyncio.to_thread(reader.tokens, asked.turns, self.context, asked.max_tokens or 1)

    async def text_of(self, tokens: Sequence[int]) -> str:
        """Return what token ids mean in the file that is served; see ``Served.text_of``."""
        return await self.live.server.text_of(self.session, tokens)

    async def begin(self, asked: Asked) -> AsyncGenerator[Piece]:
        """Return the answers; see ``Served.begin``."""
        tokens = await self.tokens(asked)
        adapter = None if self.version == BASE else self.version
        answers = [
            self.live.server.write(self.session, asked, tokens, adapter=adapter, choice=choice)
            for choice in range(asked.choices)
        ]
        return merged(answers)


@dataclass
class EmbeddedEngine:
    """llama.cpp over a registry; see ``tools.engine.asked.Engine``.

    Attributes:
        registry: the folder of the versions.
        cache: where files are kept that can be made again.
        parallel: answers that are written at the same time.
        context: tokens of prompt and answer together, at most.
    """

    registry: Path
    cache: Path
    parallel: int
    context: int
    load_seconds: float = 0.0
    """How long what is served took to load; 0 before."""
    _live: Live | None = None
    _serves: str | None = None
    """What ``current`` means for requests now: the registry's version as soon as it is in memory."""
    _recent: list[str] = field(default_factory=list)
    _failed: dict[str, str] = field(default_factory=dict)
    """Why a version could not be loaded; it is not tried again until it is asked for by name."""
    _readers: Readers = field(default_factory=Readers)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _session: aiohttp.ClientSession | None = None
    _watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what the registry points at, and follow it from then on; see ``Engine.start``."""
        import aiohttp

        async with self._loading:
            if self._live is not None:
                return
            view = await asyncio.to_thread(look, self.registry)
            first = view.current if view.current in view.versions else None
            # llama.cpp closes a connection after so many requests, even while the next one is on its way.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
            try:
                await self._load(first, view)
            except BaseException:
                await self._session.close()
                raise
            self._serves = first
        self._watch = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Free all of it."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        if self._session is not None:
            await self._session.close()
        if self._live is not None:
            await asyncio.to_thread(self._live.server.close)
        self._watch = self._session = self._live = None

    async def entries(self) -> list[Entry]:
        """Return the base, ``current`` and all versions."""
        view = await asyncio.to_thread(look, self.registry)
        made = await asyncio.to_thread(_times, self.registry, view)
        current = [Entry(name=CURRENT, parent=view.current, created=made[view.current])] if view.current in made else []
        listed = [Entry(name=name, parent=BASE, created=made[name]) for name in reversed(view.versions)]
        return [*current, *listed, Entry(name=BASE)]

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[Held]:
        """Hold a version for a request; see ``Engine.open``."""
        await self.start()
        view = await asyncio.to_thread(look, self.registry)
        name = meant(model, view)
        live = await (self._for_current(name, view) if model == CURRENT else self._for(name, view))
        if model == CURRENT and self._serves is not None:
            name = self._serves
        assert self._session is not None
        live.users += 1
        try:
            yield Held(name, live, self._session)
        finally:
            live.users -= 1
            await self._close_unused(live)

    async def _for_current(self, name: str, view: View) -> Live:
        """Return the server for ``current``: until a new version is in memory, the one before answers."""
        live = self._live
        if live is not None and name in live.readers:
            self._serves = name
            return live
        if live is not None and self._serves in live.readers:
            return live
        live = await self._for(name, view)
        self._serves = name
        return live

    async def _for(self, name: str, view: View) -> Live:
        """Return a server that has a version, loading it if none has."""
        if name in view.versions:
            self._recent = [name, *(other for other in self._recent if other != name)][:MOST_ADAPTERS]
        async with self._loading:
            if self._live is None or name not in self._live.readers:
                await self._load(name, view)
            assert self._live is not None
            return self._live

    async def _follow(self) -> None:
        """Load each version that the registry comes to point at."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                view = await asyncio.to_thread(look, self.registry)
            except OSError as error:
                logger.warning("the registry cannot be read", extra={"error": str(error)})
                continue
            wanted = view.current
            if wanted not in view.versions or wanted == self._serves or wanted in self._failed:
                continue
            try:
                async with self._loading:
                    if self._live is None or wanted not in self._live.readers:
                        await self._load(wanted, view)
                self._serves = wanted
                logger.info("serving another version", extra={"version": wanted})
            except Exception as error:  # one that ends this loop keeps every later version from being served
                self._failed[wanted] = str(error)
                logger.warning("a version cannot be served", extra={"version": wanted, "error": str(error)})

    async def _load(self, wanted: str | None, view: View) -> None:
        """Start a server with a version, and let it take the place of the one before."""
        began = time.monotonic()
        names = kept([wanted, self._serves], self._recent, view, MOST_ADAPTERS)
        # Of what the registry points at; a version of another base has to wait until it does at that.
        bases = [name for name in (view.current, wanted, *reversed(view.versions)) if name in view.versions]
        base = await asyncio.to_thread(base_of, self.registry / bases[0] if bases else None, self.cache)
        folders = [self.registry / name for name in names]
        fresh = await asyncio.to_thread(
            start_live, base, folders, wanted, self._readers, self.cache, self.parallel, self.context
        )
        self.load_seconds = time.monotonic() - began
        before, self._live = self._live, fresh
        self._failed.pop(wanted or "", None)
        if before is not None:
            before.retired = True
            await self._close_unused(before)

    async def _close_unused(self, live: Live) -> None:
        if live.retired and not live.users:
            await asyncio.shield(asyncio.to_thread(live.server.close))


def start_live(
    base: ServedBase,
    folders: Sequence[Path],
    wanted: str | None,
    readers: Readers,
    cache: Path,
    parallel: int,
    context: int,
) -> Live:
    """Start a server with those of some versions that can be served; it blocks.

    Args:
        base: what all of them are put on.
        folders: the versions'.
        wanted: the name of the one that must be among them; ``None`` where the base alone is enough.
        readers: share what versions have in common.
        cache: where files are kept that can be made again.
        parallel: answers that are written at the same time.
        context: tokens of prompt and answer together, at most.

    Raises:
        BadInput: the wanted version, or the base, cannot be served.
        EndpointUnreachable: llama.cpp does not start with them.
    """
    files: dict[str, Path] = {}
    read_by = {BASE: readers.of(base.folder)}
    for folder in folders:
        try:
            file = gguf_adapter_of(folder, base, cache)
            read_by[folder.name] = readers.of(reader_folder(folder, base))
            files[folder.name] = file
        except BadInput as error:
            if folder.name == wanted:
                raise
            logger.warning("a version is not served", extra={"version": folder.name, "error": str(error)})
    gguf = gguf_of(base.folder, cache)
    context = min(context, _positions(base.folder))
    try:
        server = LlamaServer(gguf, files, parallel=parallel, context=context)
    except EndpointUnreachable:
        # One that does not fit keeps none of the others from being served.
        files = _fitting(files, gguf, wanted)
        server = LlamaServer(gguf, files, parallel=parallel, context=context)
    return Live(server, base, {name: reader for name, reader in read_by.items() if name == BASE or name in files})


def _fitting(files: Mapping[str, Path], gguf: Path, wanted: str | None) -> dict[str, Path]:
    """Return those of some adapters that llama.cpp can put on a base: it says neither which it refuses, nor why.

    Raises:
        BadInput: the wanted one is none of them.
    """
    why = unfit(files, gguf)
    if wanted in why:
        raise BadInput(why[wanted])
    for name, words in why.items():
        logger.warning("a version is not served", extra={"version": name, "error": words})
    # Where all of them fit it is something else, such as memory: fewer of them may do.
    return {name: file for name, file in files.items() if (name not in why if why else name == wanted)}


@asynccontextmanager
async def served_alone(version: Path, cache: Path, context: int) -> AsyncIterator[Held]:
    """Serve one version, as a request holds it, for as long as the block lasts.

    Raises:
        BadInput, EndpointUnreachable: as for ``start_live``.
    """
    import aiohttp

    base = await asyncio.to_thread(base_of, version, cache)
    live = await asyncio.to_thread(start_live, base, [version], version.name, Readers(), cache, ALONE, context)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=ALONE, force_close=True)) as session:
            yield Held(version.name, live, session)
    finally:
        await asyncio.shield(asyncio.to_thread(live.server.close))


def _positions(base: Path) -> int:
    return int(json.loads((base / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"])


def _times(registry: Path, view: View) -> dict[str | None, int]:
    return {name: int((registry / name).stat().st_mtime) for name in view.versions}
