"""The crews' own process: kickoffs that interleave, cancellation, errors, and how it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from state.errors import CorralError, CrewFailed
from state.request import Judging
from tools.judging import process
from tools.judging.answers import Draw, ExpertRating, Opinion, PairChoice
from tools.judging.pool import kick_off
from tools.judging.process import CrewProcess, begin_crews, crews_kept, new_kickoff
from tools.judging.protocol import Answer, Ask, KickOff, NewPanel, fields_of, from_crews, line_of, to_crews
from tools.judging.wording import panel_of

ROOT = Path(__file__).parent.parent
PANEL = panel_of(Judging())
OWN_PANEL = panel_of(
    Judging.model_validate({"dimensions": {"warmth": {"weight": 0.5, "rubric": "Is it warm?"}}, "accept": 90})
)
ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""With half surrogate pairs, which a JSON file may hold."""


class Backend:
    """Answers by a function of member and prompt."""

    def __init__(self, answer: Callable[[str, str], Awaitable[BaseModel]]) -> None:
        self.errors: dict[str, CorralError] = {}
        self.asked: list[tuple[str, str]] = []
        self.cancelled = 0
        self._answer = answer

    async def ask(self, member: str, prompt: str) -> BaseModel:
        self.asked.append((member, prompt))
        try:
            return await self._answer(member, prompt)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def calm(member: str, prompt: str) -> BaseModel:
    if member == "pair":
        return PairChoice(better="second", reason="it is right")
    if member == "expert":
        return ExpertRating(stars=4, strength="right", weakness="dry")
    return Opinion(dimension=member, score=40, own=90, reason=f"capped {member}", said=f"said {member}")


async def never(member: str, prompt: str) -> BaseModel:
    await asyncio.Event().wait()
    raise AssertionError


async def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_answers_that_come_in_any_order_go_to_the_members_that_asked() -> None:
    places = {member: place for place, member in enumerate(PANEL.dimensions)}

    async def last_first(member: str, prompt: str) -> BaseModel:
        await asyncio.sleep(0.02 * (5 - places.get(member, 5)))
        return await calm(member, prompt)

    backends = [Backend(last_first) for _ in range(4)]
    made = await kick_off("JudgingCrew", PANEL, [(f"text {n}", backend) for n, backend in enumerate(backends)])
    for number, (draw, backend) in enumerate(zip(made, backends, strict=True)):
        assert isinstance(draw, Draw)
        assert [(o.dimension, o.score, o.own, o.said) for o in draw.opinions] == [
            (d, 40, 90, f"said {d}") for d in PANEL.dimensions
        ], "with what the expert is not shown"
        assert {member for member, _ in backend.asked[:5]} == set(PANEL.dimensions)
        assert backend.asked[5][0] == "expert" and "capped clarity" in backend.asked[5][1]
        assert "said clarity" not in backend.asked[5][1]
        assert all(f"text {number}" in prompt for _, prompt in backend.asked)


async def test_two_panels_and_both_kinds_work_side_by_side() -> None:
    plain, own, pair = (Backend(calm) for _ in range(3))
    (one,), (other,), (choice,) = await asyncio.gather(
        kick_off("JudgingCrew", PANEL, [("one", plain)]),
        kick_off("JudgingCrew", OWN_PANEL, [("other", own)]),
        kick_off("PairCrew", PANEL, [("two answers", pair)]),
    )
    assert [o.dimension for o in one.opinions] == list(PANEL.dimensions)
    assert "warmth" in [o.dimension for o in other.opinions] and "warmth" not in PANEL.dimensions
    assert any("Is it warm?" in prompt for _, prompt in own.asked)
    assert not any("Is it warm?" in prompt for _, prompt in plain.asked)
    assert choice == PairChoice(better="second", reason="it is right") and [m for m, _ in pair.asked] == ["pair"]


async def test_half_a_surrogate_pair_comes_back_as_it_went() -> None:
    backend = Backend(calm)
    await kick_off("PairCrew", PANEL, [("half \ud83d of one", backend)])
    assert "half \ud83d of one" in backend.asked[0][1]


async def test_a_cancelled_kickoff_asks_nothing_more_and_hinders_no_other() -> None:
    stuck, good = Backend(never), Backend(calm)
    task = asyncio.create_task(kick_off("JudgingCrew", PANEL, [("stuck", stuck)]))
    await eventually(lambda: len(stuck.asked) == 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await kick_off("JudgingCrew", PANEL, [("good", good)])
    assert (stuck.cancelled, len(stuck.asked), len(good.asked)) == (5, 5, 6)


async def test_one_kickoff_that_fails_cancels_those_beside_it() -> None:
    async def broken(member: str, prompt: str) -> BaseModel:
        raise ZeroDivisionError("no error of a call")

    stuck = Backend(never)
    with pytest.raises(ZeroDivisionError, match="no error of a call"):
        await kick_off("JudgingCrew", PANEL, [("broken", Backend(broken)), ("stuck", stuck)])
    await eventually(lambda: stuck.cancelled == len(stuck.asked), seconds=5)


async def test_an_error_inside_of_the_crew_is_one_line_and_hinders_no_other() -> None:
    async def wrong(member: str, prompt: str) -> BaseModel:
        return PairChoice(better="tie", reason="not what a judge says")

    good = Backend(calm)
    bad, fine = await asyncio.gather(
        kick_off("JudgingCrew", PANEL, [("wrong", Backend(wrong))]),
        kick_off("JudgingCrew", PANEL, [("good", good)]),
        return_exceptions=True,
    )
    assert isinstance(bad, CrewFailed) and "CrewAI failed in the judging crew: ValidationError" in str(bad)
    assert "\n" not in str(bad) and isinstance(fine, list) and len(good.asked) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_killed_process_is_one_error_and_the_next_kickoff_starts_another() -> None:
    stuck = [Backend(never) for _ in range(2)]
    task = asyncio.gather(*(kick_off("PairCrew", PANEL, [("stuck", b)]) for b in stuck), return_exceptions=True)
    await eventually(lambda: all(backend.asked for backend in stuck))
    killed, number = new_kickoff(lambda said: None)
    killed.end(number)
    assert killed.pid is not None
    assert os.getsid(killed.pid) != os.getsid(0), "Ctrl-C at a terminal does not reach it"
    os.kill(killed.pid, signal.SIGKILL)
    errors = await task
    assert [type(error) for error in errors] == [CrewFailed, CrewFailed]
    assert "the process of the judging crew has ended" in str(errors[0]) and "SIGKILL" in str(errors[0])
    await kick_off("PairCrew", PANEL, [("again", Backend(calm))])
    assert process._newest is not None and process._newest.pid != killed.pid


async def test_a_crewai_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "crewai.py").write_text("raise ImportError('half installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(process, "_newest", None)
    with pytest.raises(CrewFailed, match="has ended: ImportError: half installed; try again"):
        await kick_off("PairCrew", PANEL, [("text", Backend(calm))])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_it_ends_after_a_while_without_work_unless_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_newest", None)
    monkeypatch.setattr(process, "IDLE_SECONDS", 0.1)
    with crews_kept():
        kept = process._newest
        assert isinstance(kept, CrewProcess)
        await eventually(lambda: kept.pid is not None)
        await asyncio.sleep(0.3)
        begin_crews()
        assert process._newest is kept and not kept.ended
    assert kept.pid is not None
    await eventually(lambda: kept.ended and gone(kept.pid or 0))
    monkeypatch.setattr(process, "COMMAND", ("/nowhere/python",))
    with pytest.raises(CrewFailed, match=r"cannot be started: .*nowhere"):
        await kick_off("PairCrew", PANEL, [("text", Backend(calm))])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("last", ["", "os.kill(os.getpid(), 9)"])
def test_it_ends_with_its_parent_and_leaves_nothing_behind(last: str, tmp_path: Path) -> None:
    code = f"""
import os, time
from tools.judging import process
process.begin_crews()
while process._newest.pid is None: time.sleep(0.01)
time.sleep(0.2)
print(process._newest.pid, flush=True)
{last}
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-X", "dev", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-9 if last else 0, "")
    end = time.monotonic() + 10
    while not gone(int(done.stdout)):
        assert last and time.monotonic() < end, "without a kill it is waited for"
        time.sleep(0.02)
    assert list(tmp_path.iterdir()) == []


@given(ANY_TEXT, ANY_TEXT)
def test_a_message_is_one_line_and_is_read_as_it_was_written(member: str, text: str) -> None:
    opinion = Opinion(dimension=member, score=1.5, own=0.1, reason=text, said=text)
    there = [
        NewPanel(key="k", panel=OWN_PANEL),
        KickOff(number=1, kind="PairCrew", panel=member, subject=text),
        Answer(number=2, member=member, fields=fields_of(opinion)),
    ]
    for message in there:
        line = line_of(message)
        assert line.count(b"\n") == 1 and line.endswith(b"\n") and to_crews(line) == message
    answered = to_crews(line_of(there[-1]))
    assert isinstance(answered, Answer) and vars(Opinion.model_validate(answered.fields)) == vars(opinion)
    asked = Ask(number=3, member=member, prompt=text)
    assert from_crews(line_of(asked)) == asked
