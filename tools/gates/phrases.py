"""The verb and the noun of an instruction: what is to be done, and to what.

Self-Instruct parses with a neural network for this. Instructions are nearly always imperatives or questions, so here a
lexicon and the shape of English are enough: the first known verb is the verb, and the object is the last word of the
noun phrase that follows it. What is not found is left empty.
"""

from __future__ import annotations

import re
from functools import lru_cache

_VERBS = frozenset(
    "add adapt advise allot analyse analyze answer apply argue arrange ask assemble assess assign automate boil "
    "brainstorm break brief build calculate capitalise capitalize categorise categorize change check choose cite "
    "clarify classify code collect combine come compare compile complete compose compress compute condense "
    "conduct consider construct continue contrast convert copy correct count craft create critique cut debug "
    "decide deduce define delete demonstrate derive describe design detail detect determine develop devise "
    "diagnose differentiate discuss distinguish divide draft draw edit elaborate eliminate enhance estimate "
    "evaluate examine expand explain express extend extract figure fill filter find fix follow form format "
    "formulate generate give group guess help highlight identify illustrate imagine implement improve indicate "
    "infer insert interpret introduce invent investigate join judge justify label let list locate look make mark "
    "match mention modify multiply name note offer optimise optimize order organise organize outline paraphrase "
    "parse perform pick pitch plan point polish predict prepare present print produce program propose prove "
    "provide pull punctuate put quote raise rank rate read rearrange recall recommend record redesign reduce "
    "refactor reformat refute reject remove rename render reorder reorganise reorganize repair rephrase replace "
    "reply report represent research resolve respond restate restructure retell retrieve return reverse review "
    "revise reword rewrite round say schedule search select sequence set share shorten show simplify simulate "
    "sketch solve sort specify spell split spot start state structure submit substitute subtract suggest sum "
    "summarise summarize supply support suppose swap synthesise synthesize tag take teach tell test think trace "
    "train transcribe transform translate turn unscramble update use validate verify visualise visualize weigh "
    "word work write".split()
)
_QUESTIONS = frozenset(("what", "which", "who", "whom", "whose", "where", "when", "why", "how"))
_AUXILIARIES = frozenset(
    "is are was were be do does did can could will would should may might must has have had am shall".split()
)
_OPENERS = frozenset(
    "please kindly now then next first finally briefly also and can could would will you i we to".split()
)
_PARTICLES = frozenset(("up", "out", "down", "off", "over"))
_DETERMINERS = frozenset(
    "a an the this that these those my your his her its our their some any all each every one two three four five "
    "six seven eight nine ten another both several many few more me us him them at least most exactly up-to given "
    "following new".split()
)
_ENDS = frozenset(
    "of for to in on at by with from about into onto as that which who whom whose where when while if so because "
    "and or but than using between among through during before after without within against under over is are was "
    "were be can could will would should how what why whether it you per via based containing describing "
    "explaining including given there has have does do did not making giving showing comparing listing behind "
    "above below like such similar related explained called named".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*|[.,:;?!()\"\u201c\u201d\n]|\d+")


@lru_cache(maxsize=4096)
def verb_and_noun(instruction: str) -> tuple[str, str]:
    """Return the verb of an instruction in its base form, and its object in the singular.

    Either is lower-case, and empty where it is not found. A question without a command in it has the question word
    in place of the verb.
    """
    words = _WORD.findall(instruction[:400].lower())
    at = _verb_position(words)
    if at is None:
        question = next((word for word in words if word in _QUESTIONS), "")
        return (question, _object(words, words.index(question) + 1)) if question else ("", "")
    verb, start = words[at], at + 1
    if words[start : start + 2] == ["up", "with"]:
        return f"{verb} up with", _object(words, start + 2)
    if start < len(words) and words[start] in _PARTICLES:
        return f"{verb} {words[start]}", _object(words, start + 1)
    return verb, _object(words, start)


def _verb_position(words: list[str]) -> int | None:
    """Find a command: where a clause begins, a known verb, or at the very head any word before a determiner."""
    begins = True
    for at, word in enumerate(words):
        if (begins and word in _VERBS) or (at == 0 and _heads_a_phrase(words)):
            return at
        if begins and word in _QUESTIONS:
            return None
        begins = word in ".,:;?!\n" or (begins and word in _OPENERS)
    return None


def _heads_a_phrase(words: list[str]) -> bool:
    first = words[0]
    known = first in _ENDS or first in _DETERMINERS or first in _QUESTIONS or first in _OPENERS or first in _AUXILIARIES
    return len(words) > 1 and first.isalpha() and not known and words[1] in _DETERMINERS


def _object(words: list[str], start: int) -> str:
    """Return the head of the noun phrase that begins at ``start``: its last word."""
    head = ""
    for word in words[start : start + 12]:
        if word in _AUXILIARIES or (word in _DETERMINERS and not head):
            continue
        if word in _ENDS or not word[0].isalpha():
            if head or word in _ENDS or word in ".:;?!\n":
                break
            continue
        if word in _DETERMINERS:
            break
        head = word
    return singular(head)


def singular(noun: str) -> str:
    """Return an English noun's singular by its ending; irregular plurals but for the commonest stay as they are."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if len(noun) <= 3 or noun.endswith(("ss", "us", "is", "'s", "\u2019s")) or noun in _SINGULAR_IN_S:
        return noun
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") else noun


_IRREGULAR = {
    **{"people": "person", "children": "child", "men": "man", "women": "woman", "criteria": "criterion"},
    **{"hypotheses": "hypothesis", "analyses": "analysis", "theses": "thesis", "movies": "movie", "cookies": "cookie"},
}
_SINGULAR_IN_S = frozenset(
    ("series", "species", "news", "physics", "mathematics", "lens", "means", "politics", "economics")
)
