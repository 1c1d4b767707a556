"""The door: the public Python API and the command line."""
