"""The review on a terminal: one item a screen, one key a decision. Each decision is kept at once, as a draft."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.text import Text

from corral.cli.editing import edited, one_line_of
from corral.cli.keys import CTRL_C, CTRL_D, DOWN, ENTER, UP, Keys
from corral.cli.review_screen import (
    HELP,
    check_lines,
    decision_keys,
    item_lines,
    key_line,
    progress_line,
    wrapped,
)
from graph.reviews import PAGE, ReviewItem, Reviews, Sent
from state.errors import BadInput
from state.records import DecisionKind, Draft, Ratings
from state.reviewing import Order
from tools.people.decisions import consequences
from tools.people.stars import CRITERIA

LEAVE = (CTRL_C, CTRL_D, "q")
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@dataclass
class Session:
    """One person's review of one run.

    Args:
        reviews: the review of all runs.
        run_id: the run.
        rater: the person.
        keys: of the terminal.
        console: of the terminal.
    """

    reviews: Reviews
    run_id: str
    rater: str
    keys: Keys
    console: Console
    order: Order = "oldest"
    said: str = ""
    """What is told under the next screen."""
    ratings: Ratings = field(default_factory=dict)
    """Stars for the decision that comes."""
    note: str = ""
    top: int = 0
    """The first line of the item that is shown."""

    async def run(self) -> Sent | None:
        """Ask about one item after another, and return what was sent; ``None`` where the person left before.

        Raises:
            typer.Exit: the person pressed Ctrl-C; all decisions are kept.
        """
        await self._take_up_skipped()
        again = ""
        while True:
            page = await self.reviews.queue(self.rater, run=self.run_id, order=self.order, size=1)
            if not again and not page.items:
                key = await self._ask_to_send(page.decided)
                if key == ENTER:
                    return await self.reviews.send(self.run_id, self.rater)
            else:
                item = await self.reviews.item(self.run_id, again or page.items[0].item_id, self.rater)
                self._forget()
                key = await self._decide(item, page.decided, page.waiting)
                again = ""
            if key in LEAVE:
                self._leave(page.decided)
                if key == CTRL_C:
                    raise typer.Exit(130)
                return None
            if key == "u":
                again = await self._undo()

    async def _decide(self, item: ReviewItem, decided: int, total: int) -> str:
        """Show an item until it is decided or left, and return the last key."""
        kinds: dict[str, DecisionKind] = {consequences(kind).key: kind for kind in item.allowed}
        while True:
            self._draw(item, decided, total)
            key = (await self.keys.read()).lower()
            if key in kinds:
                if await self._key_decides(item, kinds[key]):
                    return key
            elif key in (*LEAVE, "u"):
                return key
            elif key == "o":
                self.order = "disagreement" if self.order == "oldest" else "oldest"
                self.said = f"order: {self.order} first"
                return key
            else:
                await self._other_key(key, item)

    async def _key_decides(self, item: ReviewItem, kind: DecisionKind) -> bool:
        """Keep a decision; return whether the next item comes."""
        text = ""
        if consequences(kind).rewrites:
            try:
                text = await self._own_text(item)
            except BadInput as error:
                self.said = str(error)
            if not text:
                return False
        draft = Draft(
            item_id=item.item_id,
            rater=self.rater,
            decision=kind,
            text=text,
            comment=self.note,
            ratings=self.ratings,
            decided_at=datetime.now(UTC),
        )
        try:
            await self.reviews.save(self.run_id, draft)
        except BadInput as error:  # somebody was first: it is no item of the queue any more
            self.said = str(error)
            return True
        self.said = f"{consequences(kind).past}; u takes it back"
        return True

    async def _own_text(self, item: ReviewItem) -> str:
        """Return the text of the person's that shall be kept; empty where there is none."""
        text = item.draft.text if item.draft and item.draft.text else item.texts[0]
        while True:
            after = await edited(text, self.keys, self.reviews.runs.services.settings.editor)
            if after == item.texts[0]:
                self.said = "nothing was changed, so nothing is decided"
                return ""
            found = await self.reviews.check(self.run_id, item.item_id, after)
            width = self.console.width
            lines = [Text("your text", style="bold"), *wrapped(after, self.console, width)]
            lines += check_lines(found, self.console, width)
            self._print(lines, [*wrapped("[enter] keep  [e] edit again  [x] drop", self.console, width, "reverse")])
            key = (await self.keys.read()).lower()
            if key in (ENTER, "y"):
                return after
            if key != "e":
                self.said = "your text was dropped"
                return ""
            text = after

    async def _other_key(self, key: str, item: ReviewItem) -> None:
        rows = max(1, self.console.height - 8)
        if key in "12345" and item.kind != "pair":
            self.ratings = self.ratings | {"overall": int(key)}
        elif key == "t" and item.kind != "pair":
            await self._rate_each()
        elif key == "n":
            self.note = await one_line_of("note", self.keys) or self.note
        elif key == "?":
            self.said = "\n".join(HELP)
        elif key in ("j", DOWN, "k", UP, " "):
            self.top = max(0, self.top + {"j": 1, DOWN: 1, "k": -1, UP: -1}.get(key, rows))
        else:
            self.said = f"{key!r} is no key here"

    async def _rate_each(self) -> None:
        for criterion in CRITERIA[:-1]:
            self.console.print(f"{criterion.replace('_', ' ')}: 1 to 5; any other key leaves it out")
            if (key := await self.keys.read()) in "12345":
                self.ratings = self.ratings | {criterion: int(key)}

    async def _ask_to_send(self, decided: int) -> str:
        skipped = len(await self._skipped())
        lines = wrapped(f"Nothing more waits for you: {decided - skipped} decided.", self.console, self.console.width)
        if skipped:
            lines += wrapped(f"Skipped, and waiting on: {skipped}.", self.console, self.console.width)
        self._print(lines, wrapped("[enter] send  [u] undo  [q] leave", self.console, self.console.width, "reverse"))
        while (key := (await self.keys.read()).lower()) not in (ENTER, "u", *LEAVE):
            pass
        return key

    async def _undo(self) -> str:
        """Take the last decision back, and return its item; empty where there is none."""
        last = await self.reviews.last_draft(self.rater, run=self.run_id)
        if last is None:
            self.said = "there is nothing to undo"
            return ""
        item_id = last[1]
        await self.reviews.withdraw(self.run_id, item_id, self.rater)
        self.said = "taken back: decide again"
        return item_id

    async def _take_up_skipped(self) -> None:
        """Ask again about what was skipped the last time."""
        for item_id in await self._skipped():
            await self.reviews.withdraw(self.run_id, item_id, self.rater)

    async def _skipped(self) -> list[str]:
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            drafts, after = await self.reviews.drafts(self.rater, run=self.run_id, after=after, size=PAGE)
            found += [draft.item_id for draft in drafts if draft.draft == "skip"]
        return found

    def _forget(self) -> None:
        self.ratings, self.note, self.top = {}, "", 0

    def _leave(self, decided: int) -> None:
        self._print([], [])
        kept = f"decisions kept and not sent: {decided}; " if decided else ""
        self.console.print(f"{kept}'corral review {self.run_id}' goes on")

    def _draw(self, item: ReviewItem, decided: int, total: int) -> None:
        width = self.console.width
        foot = key_line(decision_keys(item), self.console, width)
        pending = [f"{name.replace('_', ' ')} {stars}" for name, stars in self.ratings.items()]
        pending += [f"note: {self.note}"] if self.note else []
        foot = (wrapped("; ".join(pending), self.console, width, "bold") if pending else []) + foot
        foot += wrapped(self.said, self.console, width, "yellow") if self.said else []
        self.said = ""
        head = progress_line(decided, total, item, self.console, width)
        self._print([head, *item_lines(item, self.console, width)], foot)

    def _print(self, lines: list[Text], foot: list[Text]) -> None:
        """Show as many lines as fit, from the one that was scrolled to, and the foot under them."""
        room = max(3, self.console.height - len(foot) - 2)
        self.top = min(self.top, max(0, len(lines) - room))
        shown = lines[self.top : self.top + room]
        below = len(lines) - self.top - len(shown)
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self.console.file.write(CLEAR)
        for line in (*shown, *([Text(f"-- {below} more lines: space --", style="dim")] if below else []), *foot):
            self.console.print(line, soft_wrap=True)


async def review_here(reviews: Reviews, run_id: str, rater: str, console: Console) -> Sent | None:
    """Let the person at the terminal decide what waits in a run; see ``Session.run``."""
    with Keys() as keys:
        return await Session(reviews, run_id, rater, keys, console).run()
