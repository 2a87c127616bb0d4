"""Recordings: where a trial's audio is, and what is in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError
from countermeasure.speech import flac
from countermeasure.speech.lengths import check_length
from countermeasure.speech.places import is_recording

_TRIAL_SUFFIXES = (".flac", ".wav")
_PIECE = 1 << 18  # samples that are read at once
# Floats may exceed 1 by rounding and dither: one step of 8 bits. More comes from another scale, mostly 16-bit integers.
_LARGEST_FLOAT = 1 + 2**-7


class Recording(NamedTuple):
    """A recording's samples.

    Attributes
    ----------
    signal : array [n_samples], float32
        In [-1, 1) where the file holds integers; exact up to 24 bits a sample.
    rate : int
        Sampling rate in Hz.
    n_channels : int
        Of the file; `signal` is their mean.
    md5_matches : bool or None
        Of a FLAC file that libsndfile refuses and miniaudio decodes: whether its samples have the MD5 that it states.
        None for all others.
    """

    signal: NDArray[np.float32]
    rate: int
    n_channels: int
    md5_matches: bool | None = None


def find(data_path: str | os.PathLike[str], utterance: str) -> Path:
    """Return the path of a trial's recording: ``DATA_PATH/UTTERANCE.flac``, else ``.wav``, else without ending.

    An utterance that has an ending, as a CSV's files do, is first looked for by this very name.

    Raises
    ------
    InputError
        When there is none of them, and when the id would lead out of the folder.
    """
    if utterance.startswith("/") or ".." in utterance.split("/"):
        raise InputError(f"utterance {utterance!r} leads out of the audio folder; give names or paths below it")
    place = os.path.join(data_path, utterance)
    endings = ("", *_TRIAL_SUFFIXES) if is_recording(os.path.basename(utterance)) else (*_TRIAL_SUFFIXES, "")
    for ending in endings:
        if os.path.isfile(place + ending):  # False for a name that is too long, too
            return Path(place + ending)
    raise InputError(f"{place}: {'no such file' if Path(place).suffix else 'neither .flac nor .wav is there'}")


def read(path: str | os.PathLike[str]) -> Recording:
    """Read a recording of any format that libsndfile knows; several channels become their mean.

    Raises
    ------
    InputError
        When the file is missing, no audio, empty, cut short or damaged, or holds samples that are not
        finite or, as floats, beyond -1 to 1.
    """
    with stream(path) as found:
        signal = np.concatenate(list(found.pieces))
    return Recording(signal, found.rate, found.n_channels, found.md5_matches)


class Stream:
    """A recording that is read piece by piece.

    Attributes
    ----------
    rate : int
        Sampling rate in Hz.
    n_channels : int
    pieces : iterator of array [n], float32
        The samples in order, as those of `Recording`. Raises as `read` does, at the end where the file is cut short.
    md5_matches : bool or None
        As that of `Recording`, once all pieces were read.
    """

    def __init__(self, rate: int, n_channels: int):
        self.rate, self.n_channels = rate, n_channels
        self.pieces: Iterator[NDArray[np.float32]] = iter(())
        self.md5_matches: bool | None = None


@contextlib.contextmanager
def stream(path: str | os.PathLike[str]) -> Iterator[Stream]:
    """Open a recording of any format that libsndfile knows, to be read in flat memory.

    Raises
    ------
    InputError
        As `read`.
    """
    import soundfile

    if not os.path.isfile(path):
        raise InputError(f"{path}: {'is a folder without recordings' if os.path.isdir(path) else 'no such file'}")
    try:
        header = flac.read_header(path)
        if header and flac.miniaudio():
            found = Stream(header.rate, header.n_channels)
            found.pieces = _flac_pieces(path, header, found)
            yield found
            return
        check_length(path)
        with soundfile.SoundFile(os.fsencode(path)) as file:  # a name is bytes, and need not be UTF-8
            found = Stream(file.samplerate, file.channels)
            found.pieces = _pieces(path, file)
            yield found
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except soundfile.SoundFileError as error:
        hint = "or convert it to FLAC"
        if header:
            hint = (
                "if it is whole, as the files of ASVspoof 2021 are that libsndfile refuses, `pip install miniaudio`, "
                "which reads them"
            )
        reason = getattr(error, "error_string", str(error)).rstrip(".")  # without the file's name
        raise InputError(f"{path}: cannot be read as audio ({reason}); copy it again, {hint}") from None


def _flac_pieces(path: str | os.PathLike[str], header: flac.Header, found: Stream) -> Iterator[NDArray[np.float32]]:
    n, is_full = 0, False
    for samples in flac.pieces(path, header):
        is_full |= samples.min() == -1
        n += len(samples)
        yield _mean_of_channels(samples)
    if n != header.n_samples:
        raise InputError(
            f"{path}: is cut short or damaged ({n:,} of {header.n_samples:,} samples can be decoded); copy it again"
        )
    # A sample that wraps around becomes -1: only files with such samples are tried with libsndfile.
    if is_full and _libsndfile_refuses(path):
        found.md5_matches = flac.md5_matches(path, header)


def _libsndfile_refuses(path: str | os.PathLike[str]) -> bool:
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            while len(file.read(_PIECE, dtype="float32")):
                pass
    except soundfile.SoundFileError:
        return True
    return False


def _pieces(path: str | os.PathLike[str], file: Any) -> Iterator[NDArray[np.float32]]:
    n = 0
    is_float = file.subtype in ("FLOAT", "DOUBLE")
    # Not `file.blocks`, which trusts the promised length.
    while len(samples := file.read(_PIECE, dtype="float32", always_2d=True)):
        if not np.isfinite(samples).all():
            place = n + np.flatnonzero(~np.isfinite(samples).all(axis=1))[0]
            raise InputError(f"{path}: sample {place} is not a finite number")
        if is_float and (largest := np.abs(samples).max()) > _LARGEST_FLOAT:
            raise InputError(
                f"{path}: holds a sample of {largest:.6g}, but floats go from -1 to 1; divide by 32768 if they are "
                "16-bit values, else lower the level"
            )
        yield _mean_of_channels(samples)
        n += len(samples)
    if n < file.frames:
        raise InputError(f"{path}: is cut short ({n:,} of {file.frames:,} samples); copy it again")
    if not n:
        raise InputError(f"{path}: holds no samples")


def _mean_of_channels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
