"""What can be done for a prompt that no plain draw answered well: a text put right, or an example in the prompt."""

from tools.candidates.passing import fit_to_imitate
from tools.candidates.repair import repair
from tools.candidates.scaffold import copied, scaffold

__all__ = ["copied", "fit_to_imitate", "repair", "scaffold"]
