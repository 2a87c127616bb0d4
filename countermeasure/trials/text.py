"""The lines of text files, and errors that name and quote them."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from itertools import islice
from sys import intern

from countermeasure.errors import InputError

_QUOTED = 200
_ROWS = 1 << 8  # split at once
_MARK = " \0 "  # between rows that are split at once; no text has a zero byte


class Text:
    """The lines of a text file; line ends of any system and a byte-order mark are accepted.

    Parameters
    ----------
    path : path
    expected : str
        What the file should contain, for messages.

    Attributes
    ----------
    rows : list of str
        The lines that are not blank.
    sha256 : str
        Checksum of the file, in hexadecimal.

    Raises
    ------
    InputError
        When the file is missing, blank, or not UTF-8 text.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str):
        self.path, self.expected = path, expected
        try:
            with open(path, "rb") as file:
                # A list or a recording, which may be too large to read, has a zero byte in its first block.
                content = b"\0" if b"\0" in file.peek() else file.read()
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
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        self._lines = text.removeprefix("\ufeff").split("\n")
        self._find_rows()

    def _find_rows(self) -> None:
        self.rows = list(filter(str.strip, self._lines))
        if not self.rows:
            raise InputError(f"{self.path}: no trial in it; {self.expected}")

    def take_heading(self) -> None:
        """Remove the first row."""
        self._lines[self.number(0) - 1] = ""
        self._find_rows()

    @cached_property
    def columns(self) -> list[list[str]]:
        """The words of the rows, field by field; repeated words share one object to save memory.

        Raises
        ------
        InputError
            At the first row whose number of words differs from that of the first row.
        """
        n_fields = len(self.rows[0].split())
        columns: list[list[str]] = [[] for _ in range(n_fields)]
        repeats: list[bool] = []  # whether words of a column repeat, judged by the first rows
        for start in range(0, len(self.rows), _ROWS):
            rows = self.rows[start : start + _ROWS]
            words = _MARK.join(rows).split()  # at once: faster than row by row
            if len(words) != len(rows) * (n_fields + 1) - 1 or {*words[n_fields :: n_fields + 1]} - {_MARK.strip()}:
                raise self._uneven(start, n_fields)
            more = [words[place :: n_fields + 1] for place in range(n_fields)]
            repeats = repeats or [len(set(column)) < len(column) / 2 for column in more]
            for column, found, is_repeated in zip(columns, more, repeats, strict=True):
                column.extend(map(intern, found) if is_repeated else found)
        return columns

    def _uneven(self, start: int, n_fields: int) -> InputError:
        """Return the error for the first row, from a given one on, with another number of words."""
        numbers = ((row, len(self.rows[row].split())) for row in range(start, len(self.rows)))
        row, n = next((row, n) for row, n in numbers if n != n_fields)
        return self.error(
            row,
            f"{n} fields, where line {self.number(0)} has {n_fields}; all lines of a file are of one form; "
            f"{self.expected}",
        )

    def number(self, row: int) -> int:
        """Return the number of a row's line in the file, from 1."""
        numbers = (number for number, line in enumerate(self._lines, 1) if line.strip())
        return next(islice(numbers, row, None))

    def error(self, row: int, problem: str) -> InputError:
        """Return an error that names and quotes the line of a row."""
        return InputError(f"{self.path}:{self.number(row)}: {problem}: {self.rows[row].strip()[:_QUOTED]!r}")
