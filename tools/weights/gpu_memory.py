"""Whether an error says that the GPU's memory ran out, in one line with who holds it."""

from __future__ import annotations

OUT_OF_MEMORY = ("CUDA error: out of memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What CUDA and its libraries say then, in exceptions of several classes: torch's own and plain ``RuntimeError``."""


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that the GPU's memory ran out."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def in_one_line(error: BaseException) -> str | None:
    """Return one line that says so where the GPU's memory ran out, else ``None``."""
    return f"the GPU's memory ran out{_holders()}" if ran_out(error) else None


def _holders() -> str:
    """Return who holds the memory; empty where so little is left that CUDA does not answer."""
    import torch

    try:
        free, total = torch.cuda.mem_get_info()
    except (RuntimeError, AssertionError):
        return ""
    own = torch.cuda.memory_reserved()
    others = max(0, total - free - own)
    return f": of {total / 1e9:.1f} GB this process held {own / 1e9:.1f} and everything else {others / 1e9:.1f}"
