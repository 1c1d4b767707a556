"""Judging: a CrewAI crew of five judges and an expert, grounded in verifiable checks."""

from tools.judging.judge import CrewJudge

__all__ = ["CrewJudge"]
