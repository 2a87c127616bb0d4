"""Audio files: finding a trial's recording and reading its samples, whole or in pieces."""

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
_PIECE = 1 << 18  # samples read at a time
# Rounding and dither can add one step of 8 bits. Larger floats are on another scale, mostly that of 16-bit integers.
_LARGEST_FLOAT = 1 + 2**-7


class Recording(NamedTuple):
    """The samples of a recording.

    Attributes
    ----------
    signal : array [n_samples], float32
        Mean of the channels, in [-1, 1) if the file holds integers; exact up to 24 bits per sample.
    rate : int
        Sampling rate in Hz.
    n_channels : int
        Channels of the file.
    md5_matches : bool or None
        Whether the samples have the MD5 stated in the file. Only checked for FLAC files that libsndfile refuses.
    """

    signal: NDArray[np.float32]
    rate: int
    n_channels: int
    md5_matches: bool | None = None


def find(data_path: str | os.PathLike[str], utterance: str) -> Path:
    """Return the path of a trial's recording: ``DATA_PATH/UTTERANCE.flac``, else ``.wav``, else without suffix.

    If the utterance has the suffix of an audio file, as in CSV protocols, this very name comes first.

    Raises
    ------
    InputError
        If there is no such file, or the name leads out of the folder.
    """
    if utterance.startswith("/") or ".." in utterance.split("/"):
        raise InputError(f"utterance {utterance!r} leads out of the audio folder; give names or paths below it")
    place = os.path.join(data_path, utterance)
    is_file_name = is_recording(os.path.basename(utterance))
    for suffix in ("", *_TRIAL_SUFFIXES) if is_file_name else (*_TRIAL_SUFFIXES, ""):
        if os.path.isfile(place + suffix):
            return Path(place + suffix)
    raise InputError(f"{place}: {'no such file' if Path(place).suffix else 'neither .flac nor .wav is there'}")


def read(path: str | os.PathLike[str]) -> Recording:
    """Read a recording of any format that libsndfile reads.

    Raises
    ------
    InputError
        If the file is missing, not audio, empty, cut short or damaged, or holds samples that are not
        finite or, as floats, not in [-1, 1].
    """
    with stream(path) as found:
        signal = np.concatenate(list(found.pieces))
    return Recording(signal, found.rate, found.n_channels, found.md5_matches)


class Stream:
    """A recording that is read in pieces; attributes as those of `Recording`.

    Attributes
    ----------
    rate, n_channels : int
    pieces : iterator of array [n], float32
        The samples in order. Raises the errors of `read`.
    md5_matches : bool or None
        Known once all pieces are read.
    """

    def __init__(self, rate: int, n_channels: int):
        self.rate, self.n_channels = rate, n_channels
        self.pieces: Iterator[NDArray[np.float32]] = iter(())
        self.md5_matches: bool | None = None


@contextlib.contextmanager
def stream(path: str | os.PathLike[str]) -> Iterator[Stream]:
    """Open a recording of any format that libsndfile reads; memory does not grow with its length.

    Raises
    ------
    InputError
        See `read`.
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
        with soundfile.SoundFile(os.fsencode(path)) as file:  # the bytes of the name, which may not be UTF-8
            check_length(path, file.extra_info)
            found = Stream(file.samplerate, file.channels)
            found.pieces = _pieces(path, file)
            yield found
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except soundfile.SoundFileError as error:
        hint = "or convert it to FLAC"
        if header:
            hint = "or `pip install miniaudio`, which reads the files of ASVspoof 2021 that libsndfile refuses"
        reason = getattr(error, "error_string", str(error)).rstrip(".")  # without the file name
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
    # A sample beyond the range wraps around to -1; other files need no check.
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
    # `file.blocks` would trust the length in the header.
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
