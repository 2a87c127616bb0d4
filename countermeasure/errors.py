"""The one exception for what the caller can mend."""


class InputError(Exception):
    """A mistake in what the caller gave: an option, a file, a folder.

    The message is one line that says what is wrong, where (``file:line`` or utterance) and how to
    mend it. `countermeasure.cli.run` prints it and ends the script with exit status 2.
    """
