"""Protocols and score files: one line a trial."""
