"""A child process never outlives its parent, whoever is killed, and its errors come back with its last words."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from state.errors import TrainingError
from tools.weights.processes import ROOT, child_environment, stream_child

LEAF = """
import os, sys, time
from tools.weights.processes import JsonLines, die_with_parent
die_with_parent()
lines = JsonLines()
print("noise that must not break a line")
lines.write(pid=os.getpid())
if "fail" in sys.argv: sys.exit("the reason")
if "end" in sys.argv: sys.exit()
time.sleep(60)
"""
LAUNCHER = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
PARENT = """
import asyncio, sys
from pathlib import Path
from tools.weights.processes import stream_child
async def main():
    async for line in stream_child(sys.argv[2:], Path(sys.argv[1]), 1):
        print(line["pid"], flush=True)
asyncio.run(main())
"""


def _gone(pid: int, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.02)
                continue
        return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_folder_of_the_working_directory_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").write_text("raise SystemExit('not ours')")
    command = [sys.executable, "-m", "tools.visible"]
    subprocess.run(command, cwd=tmp_path, env=child_environment(threads=1), check=True)


def test_a_killed_parent_takes_launcher_and_worker_with_it(tmp_path: Path) -> None:
    launched = [sys.executable, "-c", LAUNCHER, "-c", LEAF]
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), *launched]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as parent:
        assert parent.stdout is not None
        leaf = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert _gone(leaf)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_killed_launcher_takes_the_worker_with_it(tmp_path: Path) -> None:
    lines = stream_child([sys.executable, "-c", LAUNCHER, "-c", LEAF], tmp_path / "log", 1)
    leaf = (await anext(lines))["pid"]
    launcher = int(Path(f"/proc/{leaf}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(launcher, signal.SIGKILL)
    with pytest.raises(TrainingError, match="ended with code -9"):
        await anext(lines)
    assert await asyncio.to_thread(_gone, leaf)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def follow() -> None:
        async with contextlib.aclosing(
            stream_child([sys.executable, "-c", LAUNCHER, "-c", LEAF], tmp_path / "log", 1)
        ) as lines:
            async for line in lines:
                started.set_result(line["pid"])

    task = asyncio.create_task(follow())
    leaf = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(_gone, leaf)


async def test_lines_are_clean_and_a_failure_has_its_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEAF]
    assert [list(line) async for line in stream_child([*command, "end"], tmp_path / "log", 1)] == [["pid"]]
    assert "noise" in (tmp_path / "log").read_text()
    with pytest.raises(TrainingError, match=r"code 1.*the reason"):
        [line async for line in stream_child([*command, "fail"], tmp_path / "log", 1)]
