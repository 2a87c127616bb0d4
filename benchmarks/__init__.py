"""Measurements against named peers; see README.md."""
