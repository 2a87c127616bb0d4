"""Pickled lists of features and scores, the records beside them, and tables of their rows."""
