"""The demo's data set: synthetic speech, and three ways to fake it."""
