"""Who holds a lease: a name that no other process has, and by which a dead process of this kernel is known."""

from __future__ import annotations

import os
import secrets
import socket
from functools import cache
from pathlib import Path

import psutil

CLOCK_SECONDS = 2.0
"""How far the reported start time of one process may move: Linux derives it from the clock, which may be set."""


@cache
def process_owner() -> str:
    """Return this process's name as a lease owner: host, process id, start time, where that id counts, token.

    The token makes it unlike any other: two containers may have one host name, one process id and one start time.
    """
    started = psutil.Process().create_time()
    return f"{socket.gethostname()}:{os.getpid()}:{started:.2f}:{process_space()}:{secrets.token_hex(8)}"


def shown(owner: str) -> str:
    """Return an owner as a person is told it: host and process id."""
    return ":".join(owner.split(":")[:2])


def is_dead(owner: str) -> bool:
    """Tell whether ``owner`` was a process that this one could see, and has ended.

    Nothing is known of the processes of another machine, container or boot: their leases run out.
    """
    try:
        _, pid, started, space, _ = owner.split(":")
        number, began = int(pid), float(started)
    except ValueError:  # of an earlier version, which did not tell containers apart
        return False
    if space != process_space():
        return False
    try:
        process = psutil.Process(number)
        # A killed process stays a zombie until its parent waits for it, which in a container may never happen.
        ended = process.status() == psutil.STATUS_ZOMBIE
        return ended or abs(process.create_time() - began) > CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True


@cache
def process_space() -> str:
    """Return what processes have in common that see each other by their ids.

    On Linux that is the boot and the namespace of process ids: containers of one host have different ones, and so has
    every machine. Elsewhere it is the host's name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"host/{socket.gethostname()}"
