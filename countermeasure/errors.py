"""The one exception for what the caller can fix."""


class InputError(Exception):
    """A mistake in what the caller gave: an option, a file, a folder.

    The message is one line that says what is wrong, where (``file:line`` or utterance) and how to
    fix it. `countermeasure.cli.run` prints it and ends the script with exit status 2.
    """
