"""The data that comes with Corral: seed tasks, prompts with checks, configs and policies. See ``tools.shipped``."""
