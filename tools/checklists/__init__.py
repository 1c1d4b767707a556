"""Checklists: what was checked, what came out, and the evidence that a person can read."""
