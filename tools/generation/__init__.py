"""Writing instructions: seed tasks, the prompt, the parser, the decision between rounds, and what it costs."""
