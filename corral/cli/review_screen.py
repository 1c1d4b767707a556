"""One item on one screen: what is decided about, what the machines say of it, and the keys. Pure: it returns lines.

Every text of a model, a server or a person is made visible before it is measured, so that it can neither steer the
terminal nor be reordered on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from graph.reviews import ReviewItem
from state.records import CheckResult
from tools.people.decisions import consequences
from tools.visible import one_line, visible

BAR = 20
"""Characters of a full bar."""
SIDE_BY_SIDE = 72
"""Columns from which two answers stand beside each other."""
GAP = 2
OTHER_KEYS = (
    ("1-5", "stars overall"),
    ("t", "stars by criterion"),
    ("n", "note"),
    ("u", "undo"),
    ("o", "order"),
    ("space", "more"),
    ("q", "leave"),
    ("?", "help"),
)
HELP = (
    "One key decides, and the next item comes: no Enter.",
    "1 to 5 before it rates the answer overall; t asks for each criterion; n takes a note.",
    "e opens VISUAL or EDITOR, or edits here where neither is set; your text is checked before it is kept.",
    "s puts the item behind the others; c says that nobody could judge it; u takes the last decision back.",
    "o changes the order: the oldest first, or those whose judges are farthest apart.",
    "j, k, the arrows and space move within a long item.",
    "q and Ctrl-C leave: what you decided is kept, and counts once you send it at the end.",
)


def decision_keys(item: ReviewItem) -> dict[str, str]:
    """Return the keys that decide on an item, with what they do."""
    words = {"prefer_a": "A is better", "prefer_b": "B is better", "cannot_judge": "cannot judge"}
    return {consequences(kind).key: words.get(kind, kind) for kind in item.allowed}


def item_lines(item: ReviewItem, console: Console, width: int) -> list[Text]:
    """Return an item's lines, each at most ``width`` columns wide."""
    lines = [line for why in item.why for line in wrapped(f"It waits: {why}.", console, width, "dim")]
    match item.kind:
        case "instruction":
            lines += _part("instruction", item.texts[0], console, width)
            lines += _part("input", item.input, console, width) + _part("output", item.output, console, width)
        case "completion":
            lines += _part("prompt", item.prompt, console, width) + _part("answer", item.texts[0], console, width)
        case "pair":
            lines += _part("prompt", item.prompt, console, width) + _pair(item.texts, console, width)
    lines += _scores(item, console, width) + check_lines(item.checks, console, width)
    lines += wrapped(f"{item.caution}.", console, width, "bold") if item.caution else []
    return lines + _part("feedback", item.feedback, console, width)


def check_lines(checks: Sequence[CheckResult], console: Console, width: int) -> list[Text]:
    """Return a line or more for each check that applies."""
    found = [check for check in checks if check.passed is not None]
    lines = [Text(), Text("checks", style="bold")] if found else []
    for check in found:
        word, style = ("passed", "green") if check.passed else ("FAILED", "bold red")
        lines += wrapped(f"{word}  {check.kind}: {check.evidence}", console, width, style)
    return lines


def key_line(keys: Mapping[str, str], console: Console, width: int) -> list[Text]:
    """Return the keys that are shown under an item."""
    lines = [""]
    for key, does in (*keys.items(), *OTHER_KEYS):
        shown = f"[{key}] {does}"
        if lines[-1] and len(lines[-1]) + GAP + len(shown) > width:
            lines.append("")
        lines[-1] += (" " * GAP if lines[-1] else "") + shown
    return [part for line in lines for part in wrapped(line, console, width, "reverse")]


def progress_line(done: int, total: int, item: ReviewItem, console: Console, width: int) -> Text:
    """Return how many items are decided, as a bar and as numbers."""
    bar = _bar(done / max(total, 1), console)
    text = Text(one_line(f"{bar} {done} of {total} decided   {item.kind} of run {item.run_id}"), style="bold")
    text.truncate(width, overflow="ellipsis")
    return text


def wrapped(text: str, console: Console, width: int, style: str = "") -> list[Text]:
    """Return a text as lines that fit; a word that is too long is broken."""
    shown = visible(text).expandtabs(4)
    return [line for line in Text(shown, style=style).wrap(console, width, overflow="fold")] or [Text()]


def _part(name: str, text: str, console: Console, width: int) -> list[Text]:
    return [Text(), Text(name, style="bold"), *wrapped(text, console, width)] if text.strip() else []


def _pair(texts: Sequence[str], console: Console, width: int) -> list[Text]:
    if width < SIDE_BY_SIDE:
        return [line for name, text in zip("AB", texts, strict=True) for line in _part(name, text, console, width)]
    half = (width - GAP) // 2
    left, right = (
        [Text(name, style="bold"), *wrapped(text, console, half)] for name, text in zip("AB", texts, strict=True)
    )
    lines = [Text()]
    for row in range(max(len(left), len(right))):
        line = left[row].copy() if row < len(left) else Text()
        line.truncate(half, pad=True)
        line.append(" " * GAP)
        line.append_text(right[row] if row < len(right) else Text())
        lines.append(line)
    return lines


def _scores(item: ReviewItem, console: Console, width: int) -> list[Text]:
    lines = [Text(), Text("scores", style="bold")] if item.scores else []
    longest = max((len(score.dimension) for score in item.scores), default=0)
    for score in item.scores:
        given = score.score
        drawn = "not judged" if given is None else f"{_bar(given / 100, console)} {given:3.0f}"
        line = Text(f"{score.dimension:<{longest}} {drawn}")
        line.truncate(width)
        lines.append(line)
    said = [f"overall {item.overall:g}"] if item.overall is not None else []
    said += [f"{item.stars} of 5 stars"] if item.stars is not None else []
    said += [f"confidence {item.confidence:.2f}"] if item.confidence is not None else []
    return lines + (wrapped(", ".join(said), console, width) if said else [])


def _bar(share: float, console: Console) -> str:
    full, empty = ("\u2588", "\u2591") if console.encoding.lower().startswith("utf") else ("#", ".")
    filled = round(BAR * min(1.0, max(0.0, share)))
    return full * filled + empty * (BAR - filled)
