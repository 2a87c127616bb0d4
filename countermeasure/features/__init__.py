"""Feature types: what there is, and how each is computed."""
