"""Recordings: where a trial's audio is, and what is in it."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError

SUFFIXES = (".flac", ".wav")
# Samples of a stream that are read at once.
_PIECE = 1 << 18
# Memory for so many samples is taken because a file promises them; for more, only as they come.
_MOST_SAMPLES = 1 << 25
_FLAC_HEADER = 42  # mark and first metadata block, in bytes
_NEVER_IN_IDS = frozenset("\\:\0")


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
    """

    signal: NDArray[np.float32]
    rate: int
    n_channels: int


def find(data_path: str | os.PathLike[str], utterance: str) -> Path:
    """Return the path of a trial's recording: ``DATA_PATH/UTTERANCE.flac``, else ``.wav``, else without ending.

    Raises
    ------
    InputError
        When there is none of them, and when the id would lead out of the folder.
    """
    if utterance.startswith("/") or ".." in utterance.split("/") or not _NEVER_IN_IDS.isdisjoint(utterance):
        raise InputError(f"utterance {utterance!r} leads out of the audio folder; give names or paths below it")
    place = os.path.join(data_path, utterance)
    for suffix in (*SUFFIXES, ""):  # a CSV names files with their ends
        if os.path.isfile(place + suffix):  # which takes a name that is too long for one that is not there
            return Path(place + suffix)
    raise InputError(f"{place}: {'no such file' if Path(place).suffix else 'neither .flac nor .wav is there'}")


def read(path: str | os.PathLike[str], content: bytes = b"") -> Recording:
    """Read a FLAC or WAV file; several channels become their mean.

    Parameters
    ----------
    path : path
    content : bytes
        Of the file, where the caller has read it: most FLAC files are then decoded from it, and faster.

    Raises
    ------
    InputError
        When the file is missing, no audio, empty, cut short or damaged, or holds samples that are not
        finite.
    """
    recording = _decoded_flac(content)
    if recording:
        return recording
    with _opened(path) as file:
        if file.frames * file.channels > _MOST_SAMPLES:  # which may be no more than a damaged file's promise
            signal = np.concatenate(list(_pieces(path, file)))
        else:
            samples = file.read(dtype="float32", always_2d=True)
            _check_length(path, len(samples), file.frames)
            signal = _mixed_down(path, samples, 0)
        return Recording(signal, file.samplerate, file.channels)


def _decoded_flac(content: bytes) -> Recording | None:
    """Decode a FLAC file by miniaudio, in 60 % of libsndfile's time; None where it is not there or has any doubt.

    Samples are the same, FLAC is lossless. What is damaged, and what to say of it, is for libsndfile to tell.
    """
    stream_info = content[18:26]  # of the first metadata block, which is always this one
    if content[:4] != b"fLaC" or len(content) < _FLAC_HEADER or not (miniaudio := _miniaudio()):
        return None
    fields = int.from_bytes(stream_info, "big")
    rate, n_channels, n_samples = fields >> 44, (fields >> 41 & 7) + 1, fields & (1 << 36) - 1
    if not rate or not 0 < n_samples * n_channels <= _MOST_SAMPLES:
        return None
    try:
        decoded = miniaudio.flac_read_f32(content)
    except miniaudio.DecodeError:
        return None
    samples = np.frombuffer(decoded.samples, np.float32)
    if (decoded.sample_rate, decoded.nchannels, len(samples)) != (rate, n_channels, n_samples * n_channels):
        return None
    return Recording(_mean_of_channels(samples.reshape(-1, n_channels)), rate, n_channels)


@lru_cache(maxsize=1)
def _miniaudio() -> Any:
    try:
        import miniaudio
    except ImportError:
        return None
    return miniaudio


class Stream(NamedTuple):
    """A recording that is read piece by piece.

    Attributes
    ----------
    pieces : iterator of array [n], float32
        The samples in order, in [-1, 1) where the file holds integers; several channels are their mean.
        Raises as `read` does, at the end where the file is cut short.
    rate : int
        Sampling rate in Hz.
    n_channels : int
    """

    pieces: Iterator[NDArray[np.float32]]
    rate: int
    n_channels: int


@contextlib.contextmanager
def stream(path: str | os.PathLike[str]) -> Iterator[Stream]:
    """Open a recording of any format that libsndfile knows, to be read in flat memory.

    Raises
    ------
    InputError
        As `read`.
    """

    with _opened(path) as file:
        yield Stream(_pieces(path, file), file.samplerate, file.channels)


def _pieces(path: str | os.PathLike[str], file: Any) -> Iterator[NDArray[np.float32]]:
    n = 0
    # Not `file.blocks`, which trusts the promised length.
    while len(samples := file.read(_PIECE, dtype="float32", always_2d=True)):
        yield _mixed_down(path, samples, n)
        n += len(samples)
    _check_length(path, n, file.frames)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open an audio file, and make errors from now on the caller's."""
    import soundfile

    # On POSIX a name is bytes, and need not be UTF-8.
    name = os.fspath(path) if sys.platform == "win32" else os.fsencode(path)
    try:
        if not os.path.isfile(path):
            raise InputError(f"{path}: {'is a folder' if os.path.isdir(path) else 'no such file'}")
        if Path(path).suffix.lower() == ".wav":
            _check_riff_length(path)
        with soundfile.SoundFile(name) as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except soundfile.SoundFileError as error:
        reason = str(error).removeprefix(f"Error opening {name!r}: ").rstrip(".")
        raise InputError(f"{path}: cannot be read as audio ({reason}); copy it again, or convert it to FLAC") from None


def _check_length(path: str | os.PathLike[str], n: int, promised: int) -> None:
    if n < promised:
        raise InputError(f"{path}: is cut short ({n} of {promised} samples); copy it again")
    if not n:
        raise InputError(f"{path}: holds no samples")


def _mixed_down(path: str | os.PathLike[str], samples: NDArray[np.float32], n_before: int) -> NDArray[np.float32]:
    signal = _mean_of_channels(samples)
    if not np.isfinite(signal).all():
        place = n_before + np.flatnonzero(~np.isfinite(signal))[0]
        raise InputError(f"{path}: sample {place} is not a finite number")
    return signal


def _mean_of_channels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)


def _check_riff_length(path: str | os.PathLike[str]) -> None:
    """Raise for a WAV file whose data chunk promises more than is there; libsndfile reads on silently."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(4) != b"RIFF":
            return
        position = 12
        while position + 8 <= size:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(8))
            position += 8
            # Programs that write to a pipe cannot know the length and leave the largest one there.
            if name == b"data" and position + length > size and length < 0x7FFFFF00:
                raise InputError(
                    f"{path}: is cut short ({size - position} of {length} bytes of samples); copy it again"
                )
            position += length + length % 2
