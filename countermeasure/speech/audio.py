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
# Samples of a stream that are read at once.
_PIECE = 1 << 18
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
        if os.path.isfile(place + ending):  # which takes a name that is too long for one that is not there
            return Path(place + ending)
    raise InputError(f"{place}: {'no such file' if Path(place).suffix else 'neither .flac nor .wav is there'}")


def read(path: str | os.PathLike[str], content: bytes = b"") -> Recording:
    """Read a recording of any format that libsndfile knows; several channels become their mean.

    Parameters
    ----------
    path : path
    content : bytes
        Of the file, where the caller has read it: most FLAC files are then decoded from it, and faster.

    Raises
    ------
    InputError
        When the file is missing, no audio, empty, cut short or damaged, or holds samples that are not
        finite or, as floats, beyond -1 to 1.
    """
    header = flac.read_header(content)
    if header and (samples := flac.decode(content, header)) is not None:
        # What wraps around becomes the lowest number: only where it is there libsndfile need be asked.
        md5_matches = None
        if samples.min() == -1 and _libsndfile_refuses(path):
            checksum = flac.Checksum(header)
            checksum.add(samples)
            md5_matches = checksum.matches()
        return Recording(_mean_of_channels(samples), header.rate, header.n_channels, md5_matches)
    with stream(path) as found:
        pieces = list(found.pieces)
        signal = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return Recording(signal, found.rate, found.n_channels, found.md5_matches)


class Stream:
    """A recording that is read piece by piece.

    Attributes
    ----------
    pieces : iterator of array [n], float32
        The samples in order, as those of `Recording`. Raises as `read` does, at the end where the file is cut short.
    rate : int
        Sampling rate in Hz.
    n_channels : int
    md5_matches : bool or None
        As that of `Recording`, once all pieces were read.
    """

    def __init__(self, path: str | os.PathLike[str], file: Any):
        self.rate: int = file.samplerate
        self.n_channels: int = file.channels
        self.md5_matches: bool | None = None
        self.pieces = self._pieces(path, file)

    def _pieces(self, path: str | os.PathLike[str], file: Any) -> Iterator[NDArray[np.float32]]:
        import soundfile

        n = 0
        is_float = file.subtype in ("FLOAT", "DOUBLE")
        try:
            # Not `file.blocks`, which trusts the promised length.
            while len(samples := file.read(_PIECE, dtype="float32", always_2d=True)):
                _check_values(path, samples, n, is_float)
                yield _mean_of_channels(samples)
                n += len(samples)
        except soundfile.SoundFileError as error:
            yield from self._rest_by_miniaudio(path, n, error)
            return
        if n < file.frames:
            raise InputError(f"{path}: is cut short ({n:,} of {file.frames:,} samples); copy it again")
        if not n:
            raise InputError(f"{path}: holds no samples")

    def _rest_by_miniaudio(
        self, path: str | os.PathLike[str], n_before: int, error: Exception
    ) -> Iterator[NDArray[np.float32]]:
        """Yield what follows the first samples of a FLAC file that libsndfile refuses; raise where it is damaged."""
        header = _flac_header(path)
        if header is None:
            raise error
        if not flac.miniaudio():
            raise InputError(
                f"{path}: cannot be read as audio ({_reason(error)}); copy it again. If it is whole, as the files of "
                "ASVspoof 2021 are that libsndfile refuses, `pip install miniaudio`, which reads them"
            )
        n, checksum = 0, flac.Checksum(header)
        with open(path, "rb") as file:
            for samples in flac.pieces(file, header):
                checksum.add(samples)
                if n + len(samples) > n_before:
                    yield _mean_of_channels(samples[max(0, n_before - n) :])
                n += len(samples)
        if n != header.n_samples:
            raise error
        self.md5_matches = checksum.matches()


@contextlib.contextmanager
def stream(path: str | os.PathLike[str]) -> Iterator[Stream]:
    """Open a recording of any format that libsndfile knows, to be read in flat memory.

    Raises
    ------
    InputError
        As `read`.
    """
    with _opened(path) as file:
        yield Stream(path, file)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open an audio file, and make errors from now on the caller's."""
    import soundfile

    try:
        if not os.path.isfile(path):
            raise InputError(f"{path}: {'is a folder without recordings' if os.path.isdir(path) else 'no such file'}")
        check_length(path)
        with soundfile.SoundFile(os.fsencode(path)) as file:  # a name is bytes, and need not be UTF-8
            yield file
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except soundfile.SoundFileError as error:
        raise InputError(
            f"{path}: cannot be read as audio ({_reason(error)}); copy it again, or convert it to FLAC"
        ) from None


def _reason(error: Exception) -> str:
    """Return what libsndfile says, without the file's name."""
    return getattr(error, "error_string", str(error)).rstrip(".")


def _flac_header(path: str | os.PathLike[str]) -> flac.Header | None:
    try:
        with open(path, "rb") as file:
            return flac.read_header(file.read(flac.HEADER_SIZE))
    except OSError:
        return None


def _libsndfile_refuses(path: str | os.PathLike[str]) -> bool:
    """Tell whether libsndfile ends with an error where miniaudio has decoded the whole file."""
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            while len(file.read(_PIECE, dtype="float32")):
                pass
    except soundfile.SoundFileError:
        return True
    return False


def _check_values(path: str | os.PathLike[str], samples: NDArray[np.float32], n_before: int, is_float: bool) -> None:
    if not np.isfinite(samples).all():
        place = n_before + np.flatnonzero(~np.isfinite(samples).all(axis=1))[0]
        raise InputError(f"{path}: sample {place} is not a finite number")
    if is_float and np.abs(samples).max() > _LARGEST_FLOAT:
        beyond = np.abs(samples).max(axis=1)
        place = np.flatnonzero(beyond > _LARGEST_FLOAT)[0]
        raise InputError(
            f"{path}: sample {n_before + place} is {beyond[place]:.6g} in size, but floats go from -1 to 1; divide by "
            "32768 if they are 16-bit values, else lower the level"
        )


def _mean_of_channels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
