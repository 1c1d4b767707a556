"""From feedback to the next adapter: when to retrain, who is served which version, and which version stays. Pure."""
