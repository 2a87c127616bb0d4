"""The stages of the suite, one verb each: the only place where several wings meet."""
