"""The review on a terminal: one key a decision, nothing lost, and no text that steers what is shown."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import signal
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from corral.cli.keys import Keys
from corral.cli.review_screen import SIDE_BY_SIDE, item_lines, key_line
from corral.cli.reviewing import Session
from corral.cli.terminal import Terminal
from graph.reviews import ReviewItem, Reviews, Sent
from graph.runs import Runs, open_runs
from state.errors import BadInput
from state.pipeline import AdapterRef
from state.records import CheckResult, DimensionScore, Draft, Rating, Review
from state.request import RunRequest
from tests.builders import NOON, verdict
from tests.pseudo_terminal import PseudoTerminal, environment_of
from tests.waiting import waiting_run
from tools.settings import Settings

HOSTILE = "start\x1b[2J\x1b]0;T\x07\u202eevil\u2066\u200b\x08\r\x9b31m\tend"


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=home)) as runs:  # type: ignore[call-arg]  # by name
        yield runs


class Person:
    """Somebody at a terminal that this process holds both ends of."""

    def __init__(self, runs: Runs, rater: str = "ada") -> None:
        self._master, self._slave = pty.openpty()
        self.shown = io.StringIO()
        console = Terminal(file=self.shown, force_terminal=True, color_system=None, width=80, height=40)
        self.reviews = Reviews(runs)
        self.keys = Keys(self._slave)
        self.session = Session(self.reviews, "mine", rater, self.keys, console)

    async def types(self, keys: str) -> Sent | None:
        """Press these keys, each when it is asked for, and return what the session came to."""
        with self.keys:
            os.write(self._master, keys.encode())
            async with asyncio.timeout(300):  # other tests run at the same time
                return await self.session.run()

    def close(self) -> None:
        os.close(self._master)
        os.close(self._slave)

    def screens(self) -> list[str]:
        return self.shown.getvalue().split("\x1b[H\x1b[2J\x1b[3J")[1:]


async def ratings(runs: Runs, ids: list[str]) -> list[tuple[str, str, str, dict[str, int]]]:
    found = {r.item_id: r for r in await runs.services.store.find("mine", Rating)}
    return [(r.decision, r.text, r.comment, dict(r.ratings)) for id_ in ids if (r := found.get(id_))]


async def test_a_hundred_items_cost_one_key_each_and_two_with_a_rating(tmp_path: Path) -> None:
    async with opened(tmp_path) as runs:
        ids, person = await waiting_run(runs, number=100), Person(runs)
        keys = "".join("a" if n % 4 == 0 else "r" if n % 4 == 1 else f"{n % 5 + 1}a" for n in range(100))
        sent = await person.types(keys + "\r")
        assert sent is not None and (sent.sent, sent.settled, sent.complete) == (100, 100, True)
        plain, rated = 50, 50
        assert len(keys) == plain * 1 + rated * 2
        assert [kind for kind, *_ in await ratings(runs, ids)] == [
            "reject" if n % 4 == 1 else "approve" for n in range(100)
        ]
        assert [stars.get("overall") for *_, stars in await ratings(runs, ids)] == [
            n % 5 + 1 if n % 4 > 1 else None for n in range(100)
        ]
        first, last = person.screens()[0], person.screens()[-1]
        assert "0 of 100 decided" in first and "[a] approve" in first and "accuracy" in first and "\u2588" in first
        assert "100 decided" in last
        person.close()


async def test_undo_skip_note_criteria_and_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as runs:
        ids, person = await waiting_run(runs, number=4), Person(runs)
        # Undo the first, undo nothing twice, decide it; rate by criteria; skip; the other keys; take the end back.
        sent = await person.types("auu" + "r" + "t5x43a" + "s" + "?zjk " + "oc" + "u" + "o" + "a" + "\r")
        assert sent is not None and (sent.sent, sent.complete) == (3, False)
        assert await ratings(runs, ids) == [
            ("reject", "", "", {}),
            ("approve", "", "", {"instruction_following": 5, "harmlessness": 4, "honesty": 3}),
            ("approve", "", "", {}),
        ]
        shown = person.shown.getvalue()
        for said in (
            "taken back",
            "nothing to undo",
            "'z' is no key",
            "One key decides",
            "Skipped, and waiting on: 1",
            "order:",
        ):
            assert said in shown, said
        person.close()
        again = Person(runs)
        sent = await again.types("a\r")  # what was skipped comes again
        assert sent is not None and sent.complete
        again.close()


async def test_leaving_keeps_every_decision_and_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as runs:
        await waiting_run(runs, number=5)
        for keys, ends in (("ar" + "\x03", True), ("a" + "q", False), ("\x04", False)):
            person = Person(runs)
            if ends:
                with pytest.raises(typer.Exit) as caught:
                    await person.types(keys)
                assert caught.value.exit_code == 130
            else:
                assert await person.types(keys) is None
            assert "kept and not sent" in person.shown.getvalue()
            person.close()
        assert (await Reviews(runs).queue("ada")).decided == 3
        person = Person(runs)
        await person.types("u" + "a" * 3 + "\r")
        assert "2 of 5 decided" in person.screens()[1], "the last decision of an earlier session is taken back"
        person.close()


async def test_who_comes_second_is_told_on_the_screen(tmp_path: Path) -> None:
    async with opened(tmp_path) as runs:
        ids, person = await waiting_run(runs, number=2), Person(runs)

        async def bob() -> None:
            while not person.screens():
                await asyncio.sleep(0.01)
            draft = Draft(item_id=ids[0], rater="bob", decision="reject", decided_at=NOON)
            await person.reviews.save("mine", draft)
            await person.reviews.send("mine", "bob")
            os.write(person._master, b"ar\r")

        with person.keys:
            sent, _ = await asyncio.gather(person.session.run(), bob())
        assert sent is not None and (sent.sent, sent.complete) == (1, True)
        joined = " ".join(person.shown.getvalue().split())
        assert "this item was rejected by bob at 2026-01-02 12:00:00 UTC" in joined
        kept = {r.item_id: (r.decision, r.reviewer) for r in await runs.services.store.find("mine", Review)}
        assert kept == {ids[0]: ("reject", "bob"), ids[1]: ("reject", "ada")}
        person.close()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / "editor.sh"
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"sh '{file}'")
    yield file


@pytest.mark.parametrize("does", ["true", "echo other > $1; exit 1", ": > $1", "rm $1", "echo >> $1"])
async def test_an_editor_that_was_left_has_changed_nothing(does: str, script: Path, tmp_path: Path) -> None:
    script.write_text(does)
    async with opened(tmp_path) as runs:
        await waiting_run(runs, number=1)
        person = Person(runs)
        await person.types("eq")
        assert "nothing was changed" in person.shown.getvalue()
        assert (await Reviews(runs).queue("ada")).decided == 0
        person.close()


async def test_an_edit_is_checked_before_it_is_kept(script: Path, tmp_path: Path) -> None:
    script.write_text(
        'if grep -q Ebro "$1"; then echo "Rhine, Ebro, Po." > "$1"; else echo " and the Ebro now." >> "$1"; fi'
    )
    async with opened(tmp_path) as runs:
        ids, person = await waiting_run(runs, number=1), Person(runs)
        sent = await person.types("ex" + "5e" + "e" + "\r\r")
        assert sent is not None and sent.complete
        assert await ratings(runs, ids) == [("edit", "Rhine, Ebro, Po.", "", {"overall": 5})]
        shown = person.shown.getvalue()
        assert "FAILED  max_words: 7 words, at most 5 asked" in shown and "your text was dropped" in shown
        assert "passed  max_words: 3 words" in shown
        person.close()


async def test_an_editor_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/none/editor")
    async with opened(tmp_path) as runs:
        await waiting_run(runs, number=1)
        person = Person(runs)
        await person.types("eq")
        assert "'/none/editor' cannot be started" in person.shown.getvalue()
        person.close()


# What is shown


def item(kind: str = "completion", text: str = "The Rhine.", **changes: object) -> ReviewItem:
    fields: dict[str, object] = {
        "run_id": "mine", "item_id": "a", "kind": kind, "prompt": text, "why": (text,), "feedback": text,
        "texts": (text, text[::-1]) if kind == "pair" else (text,), "input": text, "output": text,
        "overall": 60.0, "stars": 3, "confidence": 0.5, "editable": True, "draft": None, "decided": None,
        "scores": (DimensionScore(dimension="brand_alignment", score=60, reason=text),),
        "checks": (CheckResult(kind="max_words", passed=False, evidence=text),),
        "allowed": ("approve", "edit", "reject"), "history": (),
    }  # fmt: skip
    return ReviewItem.model_validate(fields | changes)


TEXTS = st.one_of(st.text(max_size=300), st.sampled_from([HOSTILE, "x" * 500, "\u4f60\u597d" * 90, "a\n" * 50, ""]))


@given(TEXTS, st.sampled_from(["instruction", "completion", "pair"]), st.integers(20, 200))
def test_no_line_is_wider_than_the_terminal_or_steers_it(text: str, kind: str, width: int) -> None:
    console = Terminal(file=io.StringIO(), width=width)
    lines = [*item_lines(item(kind, text), console, width), *key_line({"a": text}, console, width)]
    for line in lines:
        assert cell_len(line.plain) <= width
        assert not {unicodedata.category(c) for c in line.plain} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_two_answers_stand_side_by_side_where_the_width_allows() -> None:
    console = Terminal(file=io.StringIO(), width=200)
    pair = item("pair", "one").model_copy(update={"texts": ("left words", "right words")})
    wide = [line.plain for line in item_lines(pair, console, SIDE_BY_SIDE)]
    assert any("left words" in line and "right words" in line for line in wide)
    narrow = [line.plain for line in item_lines(pair, console, SIDE_BY_SIDE - 1)]
    assert not any("left words" in line and "right words" in line for line in narrow)
    assert "left words" in narrow and "right words" in narrow


class Ascii(io.StringIO):
    encoding = "ascii"


def test_bars_are_plain_where_the_terminal_has_no_blocks() -> None:
    lines = [line.plain for line in item_lines(item(), Terminal(file=Ascii(), width=80), 80)]
    assert "brand_alignment ############........  60" in lines
    assert all(line.isascii() for line in lines)


# The command itself, on a terminal of its own


def test_a_killed_terminal_has_lost_nothing_and_the_run_goes_on(tmp_path: Path) -> None:
    async def prepare() -> None:
        async with opened(tmp_path) as runs:
            await waiting_run(runs, number=4)

    asyncio.run(prepare())
    environment = environment_of(tmp_path, NO_COLOR="1")
    with PseudoTerminal("review", "mine", environment=environment) as terminal:
        terminal.until("0 of 4 decided")
        terminal.press("ar")
        terminal.until("2 of 4 decided")
        terminal.process.send_signal(signal.SIGKILL)
        terminal.process.wait()
    with PseudoTerminal("review", "mine", environment=environment) as terminal:
        terminal.until("2 of 4 decided")
        terminal.until("help")
        terminal.press("e")  # neither VISUAL nor EDITOR is set: no other program opens
        terminal.until("Ctrl-C leaves it as it was")
        terminal.until("The river")
        terminal.press("\x1b[F Also the Ebro.\x1b\r")
        assert "FAILED  max_words" in terminal.until("[x] drop")
        terminal.press("\r")
        terminal.until("3 of 4 decided")
        terminal.until("help")
        terminal.press("a")
        terminal.until("[enter] send")
        terminal.press("\r")
        terminal.until("decisions sent: 4; items decided by them: 4")
        assert terminal.end() in (1, 2), "there is nothing to train behind the review"


async def test_a_run_that_waits_elsewhere_says_where_and_offers_to_go_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corral.cli import advancing

    asked: list[str] = []

    async def leave(_console: object, question: dict[str, Any], *_: object) -> None:
        asked.append(question["action_requests"][0]["name"])
        raise typer.Exit(130)

    def agree(text: str, **_: object) -> bool:
        asked.append(text)
        return True

    async with opened(tmp_path) as runs:
        await signing_run(runs)
        with pytest.raises(BadInput, match="waits at approve"):
            await advancing.answer_run(runs, "signing", "review", None)
        monkeypatch.setattr(advancing, "asks_here", lambda: True)
        monkeypatch.setattr("sys.stdin", open(os.ttyname(pty.openpty()[1])))  # a terminal
        monkeypatch.setattr(advancing.typer, "confirm", agree)
        monkeypatch.setattr(advancing, "ask", leave)
        with pytest.raises(typer.Exit):
            await advancing.answer_run(runs, "signing", "review", None)
    assert "waits at approve" in asked[0] and "Go there now?" in asked[0] and asked[1] == "deploy_adapter"


async def signing_run(runs: Runs) -> None:
    """Bring a run to its signature."""
    from graph.inputs import begin

    request = RunRequest.model_validate({"generation": {"target": 0}})
    await begin(runs.services, "signing", request)
    folder = runs.services.runs_folder / "signing"
    state = {"request": request, "training_round": 2, "adapter": AdapterRef(id="a", folder=str(folder))}
    await runs.pipeline.aupdate_state(
        {"configurable": {"thread_id": "signing"}}, state | {"verdict": verdict()}, as_node="evaluate"
    )
    async for _ in runs.advance("signing"):
        pass
