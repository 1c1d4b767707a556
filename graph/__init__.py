"""How steps are wired: the pipeline, its branches, runs, and what the server serves."""
