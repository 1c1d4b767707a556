"""One step each: a file is a node is a function."""
