"""Policy rules by task type, from ``seeds/policies/TASK_TYPE.yaml``: what a text must never say, or must say.

A rule applies where a word of ``when`` stands in the prompt (always, without ``when``). It is broken by a phrase of
``forbid`` in the text, unless one of ``unless`` stands there too, or by none of ``require``. Phrases match whole words
in any case.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from state.dimensions import DIMENSIONS
from state.errors import BadInput
from state.records import CheckResult
from tools.checks.text import count_phrase, normal, quoted_list
from tools.shipped import find_file


class Rule(BaseModel):
    """One rule of a policy."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    why: str = Field(min_length=1)
    """The reason, as a person reads it in the feedback."""
    dimension: str = "compliance"
    """The dimension that a breach caps."""
    when: tuple[str, ...] = ()
    """The rule applies where one of these stands in the prompt; always, where this is empty."""
    forbid: tuple[str, ...] = ()
    """None of these may stand in the text..."""
    unless: tuple[str, ...] = ()
    """...but where one of these stands there as well."""
    require: tuple[str, ...] = ()
    """One of these must stand in the text."""

    @field_validator("dimension")
    @classmethod
    def _known(cls, dimension: str) -> str:
        if dimension not in DIMENSIONS:
            raise ValueError(f"'{dimension}' is no dimension: choose from {', '.join(DIMENSIONS)}")
        return dimension

    @model_validator(mode="after")
    def _one_demand(self) -> Self:
        if bool(self.forbid) == bool(self.require):
            raise ValueError(f"rule '{self.id}' needs either 'forbid' or 'require'")
        if self.unless and not self.forbid:
            raise ValueError(f"rule '{self.id}' has 'unless', which goes with 'forbid' only")
        if not all(phrase.strip() for phrase in (*self.when, *self.forbid, *self.unless, *self.require)):
            raise ValueError(f"rule '{self.id}' has an empty phrase")
        return self


class Policy(BaseModel):
    """The rules of one task type."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [rule.id for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the rule ids {quoted_list(twice)} stand there more than once")
        return self


@lru_cache(maxsize=64)
def load_policy(path: Path) -> Policy:
    """Return a policy file's rules, validated; read once a process.

    Raises:
        BadInput: the file is missing, is no YAML, or has a wrong rule; the message says which.
    """
    import yaml  # 0.03 seconds, for those who judge alone

    path = find_file(path)
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the policy {path}: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"the policy {path} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"the policy {path} is wrong at {where or 'the top'}: {first['msg']}") from error


def policy_checks(policy: Policy, prompt: str, text: str) -> tuple[CheckResult, ...]:
    """Return one result for each rule; ``passed`` is ``None`` where a rule does not apply to the prompt."""
    plain = normal(text)
    return tuple(_decide(rule, prompt, plain) for rule in policy.rules)


def _decide(rule: Rule, prompt: str, text: str) -> CheckResult:
    def result(passed: bool | None, evidence: str) -> CheckResult:
        return CheckResult(kind=f"policy:{rule.id}", passed=passed, evidence=evidence, dimension=rule.dimension)

    if rule.when and not _found(rule.when, prompt):
        return result(None, "the prompt does not call for this rule")
    if rule.require:
        met = _found(rule.require, text)
        some = ", ".join(f"'{phrase}'" for phrase in rule.require[:4])
        missing = f"nothing like {some} found: {rule.why}"
        return result(bool(met), f"{quoted_list(met)} found" if met else missing)
    broken = _found(rule.forbid, text)
    if not broken:
        return result(True, "nothing forbidden found")
    if excuse := _found(rule.unless, text):
        return result(True, f"{quoted_list(broken)} found, beside {quoted_list(excuse)}")
    return result(False, f"{quoted_list(broken)} found: {rule.why}")


def _found(phrases: tuple[str, ...], text: str) -> list[str]:
    return [phrase for phrase in phrases if count_phrase(phrase, text)]
