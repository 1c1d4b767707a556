r"""Safety policies: files of terms and patterns, each with a severity, matched on whole words.

A policy is YAML, ours or the owner's own (``seeds/policies/safety.yaml`` is the default)::

    name: house rules
    rules:
      - code: weapons            # counted in reports
        severity: critical       # low, medium, high or critical
        detail: how to make a weapon
        terms: [pipe bomb]       # words as they stand; white space and hyphens between them are one
        patterns: ['(build|make)\s+a\s+bomb']   # regular expressions
        except: ['bath bomb']    # patterns; what they cover is not searched

Text is matched without regard to case, after NFKC, so that full-width or ligature letters do not slip through. Both
terms and patterns hold only from one word boundary to another: ``ass`` does not match in ``class``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from state.errors import BadInput
from tools.gates.results import Severity
from tools.shipped import POLICIES, find_file

DEFAULT_POLICY = POLICIES / "safety.yaml"
"""The default policy."""


class SafetyRule(BaseModel):
    """One rule of a policy, as written in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    code: str = Field(pattern=r"^[a-z0-9_]+$")
    """The name under which it is counted."""
    severity: Severity
    detail: str = Field(min_length=1)
    """What it is about, for a person."""
    terms: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = Field((), alias="except")
    """Patterns of what is harmless though a term or pattern matches it."""

    @field_validator("patterns", "exceptions")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
                whole_words = _whole_words(pattern)
            except re.error as error:
                raise ValueError(f"the pattern {pattern!r} is not a regular expression ({error})") from error
            if whole_words.match(""):
                raise ValueError(f"the pattern {pattern!r} matches an empty text")
        return patterns

    @field_validator("terms")
    @classmethod
    def _has_words(cls, terms: tuple[str, ...]) -> tuple[str, ...]:
        if empty := [term for term in terms if not re.search(r"\w", term)]:
            raise ValueError(f"the term {empty[0]!r} has no word")
        return terms

    @model_validator(mode="after")
    def _has_something_to_match(self) -> SafetyRule:
        if not self.terms and not self.patterns:
            raise ValueError(f"the rule {self.code!r} has neither terms nor patterns")
        return self


class SafetyPolicy(BaseModel):
    """A validated policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    rules: tuple[SafetyRule, ...] = Field(min_length=1)

    @cached_property
    def compiled(self) -> tuple[CompiledRule, ...]:
        """The rules, ready to search with."""
        return tuple(_compile(rule) for rule in self.rules)


@dataclass(frozen=True)
class CompiledRule:
    """A rule with its terms as one regular expression and its patterns beside it."""

    rule: SafetyRule
    hits: tuple[re.Pattern[str], ...]
    exceptions: tuple[re.Pattern[str], ...]

    def first_hit(self, text: str) -> str | None:
        """Return what the rule hits first in a normalised text, or ``None``."""
        hit = self._search(text)
        if hit is None or not self.exceptions:
            return hit
        for exception in self.exceptions:
            text = exception.sub(lambda covered: "." * len(covered.group()), text)
        return self._search(text)

    def _search(self, text: str) -> str | None:
        return next((found.group() for pattern in self.hits if (found := pattern.search(text))), None)


def load_safety_policy(path: Path) -> SafetyPolicy:
    """Read and check a policy file, or one that comes with Corral (``seeds:policies/safety``).

    Raises:
        BadInput: the file cannot be read, is not YAML, or a rule is wrong; one line that names file and rule.
    """
    path = find_file(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(f"{path}: cannot read the safety policy ({reason}); give a readable YAML file") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: the safety policy is not UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise BadInput(f"{path}{where}: the safety policy is not YAML; check its indentation and quotes") from error
    try:
        return SafetyPolicy.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{path}: the safety policy is wrong at {place}: {first['msg']}") from error


def _compile(rule: SafetyRule) -> CompiledRule:
    terms = [r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", term.strip()))) for term in rule.terms]
    hits = [*(["|".join(terms)] if terms else []), *rule.patterns]
    return CompiledRule(rule, tuple(map(_whole_words, hits)), tuple(map(_whole_words, rule.exceptions)))


def _whole_words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
