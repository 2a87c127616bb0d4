"""Gaussian mixtures: their algebra, EM, training, and the files of models."""
