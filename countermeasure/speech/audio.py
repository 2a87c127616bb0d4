"""Audio files: finding a trial's recording and reading its samples, whole or in pieces."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
    """

    signal: NDArray[np.float32]
    rate: int
    n_channels: int


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
    with stream(path) as opened:
        signal = np.concatenate(list(opened.pieces))
    return Recording(signal, opened.rate, opened.n_channels)


class Stream(NamedTuple):
    """A recording that is read in pieces.

    Attributes
    ----------
    rate, n_channels : int
        See `Recording`.
    pieces : iterator of array [n], float32
        The samples in order. Raises the errors of `read`.
    """

    rate: int
    n_channels: int
    pieces: Iterator[NDArray[np.float32]]


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
        raise InputError(f"{path}: {'is a folder; give a recording' if os.path.isdir(path) else 'no such file'}")
    try:
        header = flac.read_header(path)
        if header and flac.miniaudio():
            yield Stream(header.rate, header.n_channels, _miniaudio_pieces(path, "FLAC", *header))
            return
        with soundfile.SoundFile(os.fsencode(path)) as file:  # the bytes of the name, which may not be UTF-8
            check_length(path, file.extra_info)
            pieces = _pieces(path, file)
            if file.format == "MP3" and not flac.mp3_states_length(path):
                if not flac.miniaudio():
                    raise InputError(f"{path}: does not state its length; pip install miniaudio, or convert it to FLAC")
                pieces = _miniaudio_pieces(path, "MP3", file.samplerate, file.channels)
            yield Stream(file.samplerate, file.channels, pieces)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except soundfile.SoundFileError as error:
        hint = "or convert it to FLAC"
        if header:
            hint = "or `pip install miniaudio`, which reads the files of ASVspoof 2021 that libsndfile refuses"
        reason = getattr(error, "error_string", str(error)).rstrip(".")  # without the file name
        raise InputError(f"{path}: cannot be read as audio ({reason}); copy it again, {hint}") from None


def _miniaudio_pieces(
    path: str | os.PathLike[str], kind: Literal["FLAC", "MP3"], rate: int, n_channels: int, n_samples: int = 0
) -> Iterator[NDArray[np.float32]]:
    n = 0
    for samples in flac.pieces(path, kind, rate, n_channels):
        n += len(samples)
        yield _mean_of_channels(samples)
    if n != (n_samples or n):
        raise InputError(
            f"{path}: is cut short or damaged ({n:,} of {n_samples:,} samples can be decoded); copy it again"
        )
    if not n:
        raise InputError(f"{path}: holds no samples")


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
