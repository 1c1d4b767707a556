"""A crew of agents from instructions to a report, and its tools alone.

    python -m examples.crew             # a tool, as any agent would use it
    python -m examples.crew --kickoff   # the sequential crew: data, training, report; minutes on two cores

Where the environment names a model that can use tools, it decides; without one, the guide's decision trees do.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from corral.crew_tools import close_default_session, crew_tools, kickoff

KEPT = ["Name three rivers of Europe.", "Explain what tides are."]


def use_tools(text: str = "Name three rivers in Europe.") -> dict[str, Any]:
    """Ask a tool how alike an instruction is to others that are kept."""
    (similarity,) = crew_tools("rouge_similarity")
    try:
        found: dict[str, Any] = json.loads(similarity.run(text=text, against=KEPT))
    finally:
        close_default_session()
    print(json.dumps(found, indent=1))
    return found


def main(inputs: dict[str, Any] | None = None) -> str:
    """Run the sequential crew, and print what came of each task."""
    result = kickoff({"instructions": 24, "base": "embedded"} | (inputs or {}))
    for task, answer in result.answers.items():
        print(f"{task}: {answer}\n")
    print(f"decided by {result.decided_by}; run {result.run_id} is {result.standing}; ${result.spent:.4f}")
    return result.run_id


if __name__ == "__main__":
    print(main()) if "--kickoff" in sys.argv else use_tools()
