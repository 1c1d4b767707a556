"""Clients and pure helpers, a folder or a file for each concern. None of them knows a node."""
