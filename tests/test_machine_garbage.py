"""A process of ours ends without looking for garbage, and what it registered for its end is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = """
import atexit, gc, sys, weakref
atexit.register(lambda: print(gc.get_freeze_count() > 1000, flush=True))
from tools.machine.garbage import collect_seldom
collect_seldom()
assert gc.get_threshold()[0] > 700 and gc.get_freeze_count() == 0
class Kept: pass
kept = Kept()
weakref.finalize(kept, print, "finalized", flush=True)
sys.exit(3)
"""


def test_all_that_is_left_is_frozen_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (3, ["finalized", "True"]), done.stderr
