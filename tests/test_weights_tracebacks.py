"""A worker that dies is quoted by its own last exception, whatever stands around it in the log."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from state.errors import TrainingError
from tools.training.configs import config_file, launch_options
from tools.weights.processes import last_words, module_of, stream_child
from tools.weights.tracebacks import what_ended

WORKER = """\
Loading weights: 100%
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/x/tools/training/worker.py", line 69, in <module>
    sys.exit(main(Path(sys.argv[1])))
             ^^^^^^^^^^^^^^^^^^^^^^^
IndexError: index out of range in self
"""
LAUNCHER = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/x/site-packages/accelerate/commands/launch.py", line 1234, in <module>
    main()
subprocess.CalledProcessError: Command '['python', '-m', 'tools.training.worker']' {end}.
"""
FAILED = LAUNCHER.format(end="returned non-zero exit status 1")
KILLED = LAUNCHER.format(end="died with <Signals.SIGKILL: 9>")
OWN = "IndexError: index out of range in self"
SECOND = WORKER.replace(OWN, "KeyError: 'x'")
HANDLED = "\nDuring handling of the above exception, another exception occurred:\n\n"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (WORKER + FAILED, OWN),
        ("".join(f"[rank1]: {line}\n" for line in WORKER.splitlines()) + FAILED, OWN),
        (WORKER + HANDLED + SECOND + FAILED, "KeyError: 'x'"),
        (WORKER.replace(OWN, "RuntimeError: in loading:\n\tsize mismatch"), "RuntimeError: in loading: size mismatch"),
        (KILLED, "it was ended by SIGKILL; the system does that where memory runs out"),
        (FAILED, FAILED.splitlines()[-1]),
        ("no traceback at all\nbut words", None),
        ("", None),
    ],
)
def test_the_workers_own_exception_is_found(log: str, words: str | None) -> None:
    assert what_ended(log) == words


@given(st.text())
def test_any_log_is_read(log: str) -> None:
    found = what_ended(log)
    assert found is None or "\n" not in found


@example(":", "")
@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Zs"]), min_size=1), st.text()
)
def test_what_is_written_before_changes_nothing(message: str, noise: str) -> None:
    log = f"{noise}\n{WORKER.replace('index out of range in self', message)}{FAILED}"
    assert what_ended(log) == f"IndexError: {message}"[:400] + ("..." if len(message) + 12 > 400 else "")


def test_without_an_exception_the_code_or_the_signal_and_the_last_lines_are_told() -> None:
    assert last_words("one\n\ntwo\n", 3) == "it ended with code 3: one / two"
    assert last_words("", 1) == "it ended with code 1: it said nothing"
    assert "SIGSEGV" in last_words("", -11) and "memory runs out" in last_words("", -9)


def test_a_launched_worker_is_named_and_not_its_launcher() -> None:
    assert module_of([sys.executable, "-m", "accelerate.commands.launch", "-m", "tools.training.worker", "x"]) == (
        "tools.training.worker"
    )


async def test_under_the_real_launcher_the_workers_words_are_quoted(tmp_path: Path) -> None:
    """The message was "accelerate.commands.launch ended with code 1" and a piece of the launcher's own traceback."""
    (tmp_path / "worker.py").write_text("raise IndexError('token 50000 is beyond the embeddings')\n")
    options = launch_options(config_file("cpu"), 1)
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, str(tmp_path / "worker.py")]
    (tmp_path / "log").write_text("Traceback (most recent call last):\nValueError: of an earlier attempt\n")
    with pytest.raises(TrainingError) as caught:
        [line async for line in stream_child(command, tmp_path / "log", 1)]
    said = str(caught.value)
    assert "failed: IndexError: token 50000 is beyond the embeddings; see" in said and "CalledProcess" not in said
