"""Base against adapter on held-out prompts: paired statistics, and the scoreboard with its verdict."""
