"""The number format in which weights answer on this machine, and the names of what they answered in it.

It is known without torch, so that who asks and looks up what was answered before need not load it; the model processes
are told. A text's likelihood, and now and then a token, differ between the formats.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from tools.machine.resources import gpu_count

NumberFormat = Literal["float32", "bfloat16"]
CPU_FACTS = Path("/proc/cpuinfo")
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
"""The kernel's names for a CPU's instructions for bfloat16."""


def answering_format() -> NumberFormat:
    """Return bfloat16 on a GPU, which computes in it, and on a CPU with instructions for it; else float32."""
    return "bfloat16" if gpu_count() or cpu_has_bfloat16() else "float32"


@cache
def cpu_has_bfloat16() -> bool:
    """Return whether the CPU has instructions for bfloat16; without Linux's list of them, it has not."""
    try:
        lines = CPU_FACTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not BFLOAT16.isdisjoint(flags.split())


def named_with_format(model: str, number_format: NumberFormat) -> str:
    """Return the name under which the ledger keeps what a model on this machine answers in a number format.

    What was answered in float32 has the model's own name, so that no ledger is asked again.

    Args:
        model: a name, after whose ``@`` stands what tells its weights from others of the name.
        number_format: in which it answers.
    """
    if number_format == "float32":
        return model
    return f"{model}{'-' if '@' in model else '@'}{number_format}"


def without_format(model: str) -> str:
    """Return a model's own name; the reverse of ``named_with_format``."""
    return re.sub("[@-]bfloat16$", "", model) if "@" in model else model
