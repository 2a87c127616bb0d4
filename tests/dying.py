"""Loaded by the tests' Dask workers: the first that reads data while the file $DEADLY is there dies of it."""

import contextlib
import os
import signal

from countermeasure.lists import rows
from countermeasure.speech import audio


def _deadly(function):
    def first_look(*arguments):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.environ["DEADLY"])  # only one of them can
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return first_look


rows.Rows.read = _deadly(rows.Rows.read)
audio.read = _deadly(audio.read)
