"""How a text is counted: words, sentences, bullets and paragraphs, as a person would count them.

Everything works on Unicode text after NFC. Chinese and Japanese characters count as one word each, since those scripts
put no spaces between words. List markers (``-``, ``*``, ``3.``) do not count as words.
"""

# ruff: noqa: RUF001 - typographic characters are what this module looks for

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and Han, as the inside of a character class."""

_BULLET = re.compile(r"^[ \t]*[-*+•‣◦–][ \t]+(?=\S)")
_NUMBERED = re.compile(r"^[ \t]*\(?\d{1,3}[.)][ \t]+(?=\S)")
_SEPARATOR = re.compile(r"^[ \t]*([-*_=])(?:[ \t]*\1){2,}[ \t]*$")
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_JOINTS = re.compile(r"[—–/]|--+|…|\.{2,}")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]*_]*(?=\s|$)|[。！？]+[”’」』）]*|\n")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Mt|vs|cf|approx|e\.g|i\.e|P\.S)|(?<![\w.])[A-HJ-Z])\.$")
_NO_END_BEFORE_LOWER_CASE = re.compile(r"(?:\n|…|\.{3}|[.!?][\"'”’»)]+|\b\w(?:\.\w)+\.)$")
"""A line's end, an ellipsis, a closing quote or an acronym does not end a sentence if lower case follows."""
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})[ \t]*[\w+-]*[ \t]*\n(.*?)\n?[ \t]*\1\s*$", re.DOTALL)
_STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u202f": " "})


def normal(text: str) -> str:
    """Return the text in NFC, with Unix line ends and no white space around it."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def straight(text: str) -> str:
    """Return the text with typographic quotes and no-break spaces written plainly, so that phrases can be compared."""
    return text.translate(_STRAIGHT)


def lines(text: str) -> list[str]:
    """Return the lines that hold more than white space."""
    return [line for line in text.split("\n") if line.strip()]


def is_bullet(line: str) -> bool:
    """Whether a line is an item of an unordered list."""
    return bool(_BULLET.match(line)) and not is_separator(line)


def is_numbered(line: str) -> bool:
    """Whether a line is an item of a numbered list."""
    return bool(_NUMBERED.match(line))


def is_separator(line: str) -> bool:
    """Whether a line is a rule such as ``***`` or ``---``."""
    return bool(_SEPARATOR.match(line))


def without_marker(line: str) -> str:
    """Return a line without its list marker."""
    return _NUMBERED.sub("", _BULLET.sub("", line, count=1), count=1)


def words(text: str) -> list[str]:
    """Return the words in order: tokens between white space, dashes and slashes with a letter or a digit in them."""
    plain = " ".join(without_marker(line) for line in text.split("\n"))
    tokens = _TOKEN.findall(_JOINTS.sub(" ", plain))
    return [token for token in tokens if token.isalnum() or any(map(str.isalnum, token))]


def bare_words(text: str) -> list[str]:
    """Return the words in lower case, without the punctuation and markup around them."""
    stripped = (word.casefold().strip("*_`\"'“”‘’«»()[]{}<>.,;:!?#~") for word in words(straight(text)))
    return [word for word in stripped if word]


def sentences(text: str) -> list[str]:
    """Return the sentences in order.

    A sentence ends at ``.``, ``!`` or ``?`` before white space (not after an abbreviation or an initial), at the
    Chinese and Japanese full stops, and at a line's end unless the next line goes on in lower case.
    """
    plain = "\n".join(without_marker(line) for line in text.split("\n") if not is_separator(line))
    found, start = [], 0
    for match in _SENTENCE_END.finditer(plain):
        if _goes_on(plain, start, match):
            continue
        found.append(plain[start : match.end()])
        start = match.end()
    found.append(plain[start:])
    return [piece.strip() for piece in found if any(map(str.isalnum, piece))]


def _goes_on(plain: str, start: int, end: re.Match[str]) -> bool:
    """Whether the sentence begun at ``start`` goes on after what looks like its end."""
    so_far = plain[max(start, end.end() - 12) : end.end()]
    following = plain[end.end() : end.end() + 2].strip()
    if following.islower() and _NO_END_BEFORE_LOWER_CASE.search(so_far):
        return True
    return bool(following and end.group() != "\n" and _ABBREVIATION.search(so_far))


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs in order: blocks between blank lines or rules such as ``***``."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if not line.strip() or is_separator(line):
            blocks.append([])
        else:
            blocks[-1].append(line)
    return ["\n".join(block) for block in blocks if any(map(str.isalnum, "".join(block)))]


def without_fence(text: str) -> str:
    """Return what one Markdown code fence around the whole text holds, or the text itself."""
    match = _FENCE.match(text)
    return match.group(2) if match else text


@lru_cache(maxsize=4096)
def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """Return a pattern that finds a phrase as whole words, in any case and with any white space between its words."""
    body = r"\s+".join(re.escape(part) for part in straight(unicodedata.normalize("NFC", phrase)).split())
    joined = rf"[^\W{UNSPACED}]"
    before = rf"(?<!{joined})" if re.match(joined, phrase.strip()) else ""
    after = rf"(?!{joined})" if re.search(rf"{joined}$", phrase.strip()) else ""
    # For the words alone: what stands beside them has no case, and thousands of characters would cost 9 ms.
    return re.compile(f"{before}(?i:{body}){after}")


def count_phrase(phrase: str, text: str) -> int:
    """Return how often a phrase stands in a text, as whole words and in any case."""
    plain = straight(text)
    if plain.isascii() and phrase.isascii():
        # Most phrases of a policy stand in no answer, and a pattern takes 1 ms to compile.
        lower = plain.lower()
        if any(part not in lower for part in phrase.lower().split()):
            return 0
    return len(phrase_pattern(phrase).findall(plain))


def quoted_list(phrases: Sequence[str]) -> str:
    """Return phrases for a sentence: ``'a'``, ``'a' and 'b'``, ``'a', 'b' and 'c'``."""
    quoted = [f"'{phrase}'" for phrase in phrases]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
