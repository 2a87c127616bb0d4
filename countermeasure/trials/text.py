"""Text files of trials: their lines, and the fields of lines that have equally many."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError

Words = NDArray[np.bytes_]

LONGEST_WORD = 255  # bytes, as of a file's name
_HEAD = 1 << 16  # bytes that tell a text from a list or a recording, which may be too large to be read whole
_QUOTED = 200
_ROWS = 1 << 16  # worked on at once where temporary arrays are wider than the result
_IS_IN_WORD = np.array([code > 127 or not chr(code).isspace() for code in range(256)])  # by byte
_NEWLINE = ord("\n")


class Text:
    """The lines of a text file; line ends of any system and a byte-order mark are accepted.

    Parameters
    ----------
    path : path
    expected : str
        What the file should have, for messages.

    Attributes
    ----------
    rows : list of str
        The lines that are not blank.
    sha256 : str
        Checksum of the file, in hexadecimal.

    Raises
    ------
    InputError
        When there is no such file, when it is not UTF-8 text, or when all of it is blank.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str):
        self.path, self.expected = path, expected
        try:
            with open(path, "rb") as file:
                content = file.read(_HEAD)
                if b"\0" not in content:  # UTF-16, a binary file, or what a crash leaves of a text
                    content += file.read()
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except IsADirectoryError:
            raise InputError(f"{path}: is a folder; give a text file") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            text = content.decode()
            problem = "it holds zero bytes" if "\0" in text else None
        except UnicodeDecodeError as error:
            problem = f"byte {error.start} is not UTF-8"
        if problem:
            raise InputError(f"{path}: not a text file ({problem}); if it is text, save it as UTF-8")
        self._lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._find_rows()

    def _find_rows(self) -> None:
        self.rows = [line for line in self._lines if line and not line.isspace()]
        if not self.rows:
            raise InputError(f"{self.path}: no trial in it; {self.expected}")

    def take_heading(self) -> None:
        """Take the first row away."""
        self._lines[self.number(0) - 1] = ""
        self._find_rows()

    def number(self, row: int) -> int:
        """Return the number of a row's line in the file, from 1."""
        numbers = (number for number, line in enumerate(self._lines, 1) if line and not line.isspace())
        return next(islice(numbers, row, None))

    def error(self, row: int, problem: str) -> InputError:
        """Return an error that names and quotes the line of a row."""
        return InputError(f"{self.path}:{self.number(row)}: {problem}: {self.rows[row].strip()[:_QUOTED]!r}")


class Table:
    """The fields of a text's rows, of which each has as many as the first.

    Parameters
    ----------
    text : Text
    labels : sequence of str
        Words whose absence is told where a row has too few fields.

    Raises
    ------
    InputError
        With the first line that has another number of fields, or a word that is too long.
    """

    def __init__(self, text: Text, labels: Sequence[str] = ()):
        self.text = text
        content = "\n".join(text.rows)
        if not content.isascii():
            content = re.sub(r"[^\S\n]", " ", content)
        self._bytes = np.frombuffer(content.encode(), np.uint8)
        edges = np.flatnonzero(np.diff(_IS_IN_WORD[self._bytes], prepend=False, append=False))
        starts, widths = edges[::2], edges[1::2] - edges[::2]
        line_ends = np.append(np.flatnonzero(self._bytes == _NEWLINE), len(self._bytes))
        counts = np.diff(np.searchsorted(starts, line_ends), prepend=0)
        self.n_fields = int(counts[0])
        if (uneven := counts != self.n_fields).any():
            row = int(np.argmax(uneven))
            lacks = [set(labels).isdisjoint(text.rows[i].split()) for i in (0, row)] == [False, True]
            raise text.error(
                row,
                f"{counts[row]} fields{' and no label' * lacks}, where line {text.number(0)} has {self.n_fields}; all "
                f"lines of a file are of one form; {text.expected}",
            )
        self._starts, self._widths = starts.reshape(-1, self.n_fields), widths.reshape(-1, self.n_fields)
        if widths.max() > LONGEST_WORD:
            row = int(widths.argmax()) // self.n_fields
            raise text.error(row, f"a word of more than {LONGEST_WORD} bytes; {text.expected}")

    def column(self, place: int) -> Words:
        """Return one field of all rows, in UTF-8; places count from 0, or from -1 at the end."""
        starts, widths = self._starts[:, place], self._widths[:, place]
        offsets = np.arange(widths.max())
        column = np.empty((len(starts), len(offsets)), np.uint8)
        for first in range(0, len(starts), _ROWS):
            some = slice(first, first + _ROWS)
            at = np.minimum(starts[some, None] + offsets, len(self._bytes) - 1)
            column[some] = np.where(offsets < widths[some, None], self._bytes[at], 0)
        return column.view(f"S{len(offsets)}")[:, 0]
