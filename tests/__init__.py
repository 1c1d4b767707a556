"""Corral's tests. A package, so that it is found before any stray one of the same name."""
