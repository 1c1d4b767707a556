"""Further candidates for a prompt that no plain draw answered well: repaired texts, and scaffolded draws."""

from tools.candidates.passing import fit_to_imitate
from tools.candidates.repair import repair
from tools.candidates.scaffold import copied, scaffold

__all__ = ["copied", "fit_to_imitate", "repair", "scaffold"]
