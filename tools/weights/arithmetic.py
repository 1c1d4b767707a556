"""What decides in which order this process adds up a matrix product, apart from the product's own shape."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import torch

from tools.weights.processes import library_variables

CPU_FACTS = Path("/proc/cpuinfo")
CPU_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
"""Libraries cut products into blocks that fit the caches."""
DRIVER = Path("/proc/driver/nvidia/version")
UNSTEADY = ("cpu mhz", "bogomips")
"""Lines of the kernel's facts that differ from one moment, or one start of the machine, to the next."""


def arithmetic(device: torch.device) -> dict[str, Any] | None:
    """Return what decides how this process computes on a device; ``None`` where the system does not tell all of it.

    The libraries are named by the folders of all installed packages, which have their versions: a product is computed
    by torch, on a GPU by libraries that are packages of their own, and called by the model's code.
    """
    try:
        facts = CPU_FACTS.read_text(errors="replace").splitlines()
        gpu = _gpu(device) if device.type == "cuda" else None
    except OSError:
        return None
    folders = [Path(folder or ".") for folder in sys.path]
    return {
        "system": [platform.platform(), platform.python_version()],
        "packages": sorted({path.name for folder in folders for path in folder.glob("*.dist-info")}),
        "torch": [torch.__version__, torch.__config__.show(), torch.__config__.parallel_info()],
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "variables": library_variables(),
        "cpu": sorted({line for line in facts if not line.lower().startswith(UNSTEADY)}),
        "caches": [path.read_text(errors="replace") for path in sorted(CPU_CACHES.glob("index*/size"))],
        "device": device.type,
        "gpu": gpu,
    }


def _gpu(device: torch.device) -> list[Any]:
    """Return what tells GPUs, and parts of them, apart by how they compute.

    Raises:
        OSError: the driver's version is not told.
    """
    found = torch.cuda.get_device_properties(device)
    kind = [found.name, found.major, found.minor, found.multi_processor_count, found.total_memory, found.L2_cache_size]
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]  # torch has no types for it
    return [*kind, torch.version.cuda, cudnn, DRIVER.read_text(errors="replace")]
