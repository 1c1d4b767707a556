"""What this machine has now: memory, cores, disk and GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
from pydantic import Field

from state.records import Record

CGROUPS = Path("/sys/fs/cgroup")


class Gpu(Record):
    """One GPU."""

    name: str
    total: int = Field(ge=0)
    """Bytes."""
    free: int = Field(ge=0)
    """Bytes that nobody has taken."""


class Resources(Record):
    """A machine as it is now."""

    cores: int = Field(ge=1)
    """Cores that this process may use."""
    memory_total: int = Field(ge=0)
    """Bytes, of the machine or of the container around us."""
    memory_free: int = Field(ge=0)
    """Bytes available without swapping."""
    disk_free: int = Field(ge=0)
    """Bytes, where the training is kept."""
    gpus: tuple[Gpu, ...] = ()
    training_elsewhere: bool = False
    """Another run of the same home is training."""


def measure(folder: Path, gpus: tuple[Gpu, ...] = (), training_elsewhere: bool = False) -> Resources:
    """Return what is there now.

    Args:
        folder: where the training is kept; it exists.
        gpus: as CUDA reports them; asking it needs torch, which only child processes import.
        training_elsewhere: whether another run of the same home is training.
    """
    total, free = _memory()
    return Resources(
        cores=cores(),
        memory_total=total,
        memory_free=free,
        disk_free=shutil.disk_usage(folder).free,
        gpus=gpus,
        training_elsewhere=training_elsewhere,
    )


def memory_share() -> float:
    """Return the share of the machine's memory, or of the container's, that is taken, in [0, 1]."""
    total, free = _memory()
    return 1 - free / total if total else 0.0


def total_memory() -> int:
    """Return the bytes of the machine's memory, or of the container's around us."""
    return _memory()[0]


def _memory() -> tuple[int, int]:
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    if (limits := container_memory(CGROUPS)) is not None:
        total, free = min(total, limits[0]), min(free, limits[1])
    return total, max(0, free)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def gpu_count() -> int:
    """Return how many NVIDIA GPUs the system shows, without loading CUDA."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def gpus_now() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs with their memory as the driver tells it; empty where there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    rows = [line.rsplit(",", 2) for line in answer.stdout.splitlines()] if not answer.returncode else []
    return tuple(
        Gpu(name=name.strip(), total=int(total) * 2**20, free=int(free) * 2**20)
        for name, total, free in rows
        if total.strip().isdigit() and free.strip().isdigit()
    )


def sampling_processes() -> int:
    """Return how many processes sample at the same time: one on a GPU, else one for each core."""
    return 1 if gpu_count() else cores()


def container_memory(groups: Path) -> tuple[int, int] | None:
    """Return limit and free bytes of the container's memory (cgroup v2), or ``None`` where it has no limit.

    The kernel's cache of files that are not in use counts as free: the kernel gives it back when memory runs short.

    Args:
        groups: the root of the control groups, as the process sees it.
    """
    try:
        limit = int((groups / "memory.max").read_text())
        used = int((groups / "memory.current").read_text())
        lines = (line.split() for line in (groups / "memory.stat").read_text().splitlines())
        cached = next((int(value) for name, value in lines if name == "inactive_file"), 0)
    except (OSError, ValueError):  # no control groups, or "max"
        return None
    return limit, limit - used + cached
