"""Detect spoofed speech with Gaussian mixture models (ASVspoof 2019 LA and its successors)."""

__version__ = "1.0.0"
