"""Writing instructions: seed tasks, the prompt, the parser, the decision on the next round, and the costs."""
