"""Judge recordings with trained models: a score, a decision and, where calibration was fitted, a probability."""

from __future__ import annotations

import contextlib
import csv
import glob
import io
import itertools
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import cli, compute, files
from countermeasure.errors import InputError
from countermeasure.gmm import calibration
from countermeasure.gmm.calibration import Calibration
from countermeasure.gmm.models import model_files
from countermeasure.speech import audio
from countermeasure.speech.resampling import resampled
from countermeasure.stages import chain
from countermeasure.stages.chain import Chain, Score
from countermeasure.trials.protocol import BONAFIDE, SPOOF

_STDIN = "-"
# Points of the spectrum that tells whether there is an upper half of the band, and the share of the power that
# is nothing: 70 dB down, where speech has 20 to 50 dB and rounding to 16 bits leaves 75.
_SPECTRUM = 1024
_NOTHING = 1e-7


class Result(NamedTuple):
    """What is said about a recording; the fields are those of JSON and CSV.

    Attributes
    ----------
    file : str
    llr : float
        In nats; higher = more bona fide.
    threshold : float
    decision : {'bonafide', 'spoof'}
        Bona fide where the LLR is above the threshold.
    probability : float or None
        Of being bona fide; None without calibration.
    """

    file: str
    llr: float
    threshold: float
    decision: str
    probability: float | None


def detect(
    model_path: Sequence[str],
    file: Sequence[str] = (),
    ftype: str | None = None,
    threshold: float | None = None,
    output: str = "text",
    frames: str | os.PathLike[str] | None = None,
) -> None:
    """Print a line for each recording, as soon as it is known.

    Parameters
    ----------
    model_path : sequence of str
        Folders of models, see `chain.load`. What follows the first one and holds no models is taken for
        recordings.
    file : sequence of str
        Files, folders, patterns (``*``), and ``-`` for a list of files on standard input, a line each.
    ftype : str or None
        See `chain.load`.
    threshold : float or None
        None: that of the calibration, or 0.
    output : {'text', 'json', 'csv'}
        A sentence a line, a JSON object a line, or CSV with a heading.
    frames : path or None
        Picture of the one recording's frames.

    Raises
    ------
    InputError
        When the models cannot be used, when there is no recording, and, after all have been looked at, when
        some could not be scored.
    """
    if threshold is not None and not math.isfinite(threshold):
        raise InputError(f"--threshold {threshold}: must be a number")
    others = [path for path in model_path[1:] if not chain.has_models(path)]
    names = [*file, *others]
    if not names:
        raise InputError("no recording; give files, folders, or - for a list of files on standard input")
    judge = _Judge(chain.load([path for path in model_path if path not in others], ftype), threshold)
    recordings = _Recordings(names)
    printer = {"text": _Text, "json": _Json, "csv": _Csv}[output]()
    with compute.workers(1):  # a recording's products are small: several threads of the BLAS cost seven times as much
        if frames is not None:
            _draw(judge, recordings, frames, printer)
        else:
            for path in recordings:
                with _telling(recordings, path):
                    printer.show(judge.result(path, judge.score(path).llr))
    judge.conclude()
    if recordings.problems:
        n = len(recordings.problems)
        raise InputError(f"{n:,} not scored, {judge.n_scored:,} scored; first {recordings.problems[0]}, see above")
    if not judge.n_scored:
        raise InputError("no recording came on standard input")


# -- which recordings ----------------------------------------------------------------------------------


class _Recordings:
    """The recordings that names stand for, found as they are asked for; what cannot be used is told at once."""

    def __init__(self, names: Sequence[str]):
        self._names = names
        self.problems: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for name in self._names:
            if name == _STDIN:
                # Bytes: a name need not be UTF-8. A line at a time: who writes the list may be at work on it yet.
                for line in iter(sys.stdin.buffer.readline, b""):
                    if stripped := line.rstrip(b"\r\n"):
                        yield from self._of(os.fsdecode(stripped))
            else:
                yield from self._of(name)

    def _of(self, name: str) -> Iterator[str]:
        if os.path.isdir(name):
            n = 0
            for n, path in enumerate(_below(name), 1):  # noqa: B007
                yield path
            if not n:
                self.complain(name, "no recording in this folder, or below it")
        elif not os.path.lexists(name) and glob.has_magic(name) and (found := sorted(glob.glob(name, recursive=True))):
            for path in found:
                yield from self._of(path)
        else:
            yield name

    def complain(self, name: str, problem: str) -> None:
        """Say why a name gives no score."""
        cli.log(problem if problem.startswith(name) else f"{name}: {problem}")
        self.problems.append(name)


def _below(folder: str) -> Iterator[str]:
    """Yield the recordings below a folder in order of their paths."""
    for path, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(path, name) for name in sorted(names) if audio.is_recording(name))


# -- one recording -------------------------------------------------------------------------------------


@dataclass
class _Seen:
    """What went by of a recording: number, smallest and largest of its samples, and how it begins, resampled."""

    n: int = 0
    low: float = math.inf
    high: float = -math.inf
    beginning: NDArray[np.float32] | None = None

    def samples(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for piece in pieces:
            self.n += len(piece)
            self.low, self.high = min(self.low, float(piece.min())), max(self.high, float(piece.max()))
            yield piece

    def resampled(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for piece in pieces:
            if self.beginning is None:
                self.beginning = piece
            yield piece

    @property
    def lacks_upper_half(self) -> bool:
        """Whether there is but rounding noise in the upper half of the band, as in a telephone call at 16 kHz."""
        n = 0 if self.beginning is None else len(self.beginning) // _SPECTRUM
        if self.beginning is None or not n:
            return False
        frames = self.beginning[: n * _SPECTRUM].reshape(n, _SPECTRUM) * np.hanning(_SPECTRUM)
        power = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)
        return bool(power[_SPECTRUM * 9 // 32 :].sum() < _NOTHING * power.sum())


class _Judge:
    """Scores recordings with a chain of models, and holds the scores against a threshold."""

    def __init__(self, models: Chain, threshold: float | None):
        self.models = models
        self._calibration = calibration.read(models.folder)
        self.threshold = _threshold(self._calibration, threshold)
        self.n_scored = 0
        self._n_refused = 0
        self._notes: dict[str, int] = {}
        cli.log(_introduction(models, self._calibration, threshold))

    def score(self, path: str) -> Score:
        """Return a recording's score.

        Raises
        ------
        InputError
            When it cannot be read, and when there is nothing in it to judge.
        """
        models = self.models
        with audio.stream(path) as stream:
            seen = _Seen()
            score = models.score(seen.resampled(resampled(seen.samples(stream.pieces), stream.rate, models.rate)))
        self._n_refused += stream.md5_matches is not None
        if stream.md5_matches is False:
            self._note("with another MD5 than the file states", f"{path}: its samples have not the MD5 that it states")
        if seen.low == seen.high:
            raise InputError(f"{path}: digital silence (all samples are the same); there is nothing to judge")
        if stream.rate < models.rate:
            self._note(
                f"sampled below {models.rate:,} Hz",
                f"{path}: at {stream.rate:,} Hz it has nothing above {stream.rate / 2:,.0f} Hz, where the models look, "
                "too; its score is unreliable",
            )
        elif seen.lacks_upper_half:
            self._note(
                "without the upper half of the band",
                f"{path}: has nothing above {models.rate / 4:,.0f} Hz, like a telephone call, where the models look, "
                "too; its score is unreliable",
            )
        shortest = max((window.length for window in models.windows if window), default=0.0)
        if seen.n < shortest * stream.rate:
            self._note(
                "shorter than one window",
                f"{path}: shorter than one window of {1000 * shortest:g} ms, so it is filled up with zeros; its score "
                "is unreliable",
            )
        return score

    def result(self, path: str, llr: float) -> Result:
        """Return what is said about a recording with this LLR, and count it as scored."""
        self.n_scored += 1
        return Result(
            path,
            round(llr, 6),
            round(self.threshold, 6),
            BONAFIDE if llr > self.threshold else SPOOF,
            None if self._calibration is None else float(f"{self._calibration.probability(llr):.6g}"),
        )

    def _note(self, kind: str, first: str) -> None:
        """Say what makes a score unreliable: in full the first time, by numbers at the end."""
        self._notes[kind] = self._notes.get(kind, 0) + 1
        if self._notes[kind] == 1:
            cli.log(f"warning: {first}")

    def conclude(self) -> None:
        """Say how many recordings the warnings were about."""
        if self._n_refused:
            cli.log(f"FLAC files that libsndfile refuses, decoded by miniaudio: {self._n_refused:,}")
        for kind, n in self._notes.items():
            if n > 1:
                cli.log(f"warning: {kind}, with an unreliable score: {n:,} of {self.n_scored:,} recordings")


def _introduction(models: Chain, found: Calibration | None, threshold: float | None) -> str:
    """Return where threshold and probabilities come from."""
    assumed = f"; {models.rate:,} Hz is assumed, for the models do not tell theirs" if models.assumed_rate else ""
    if found is None:
        told = "--threshold" if threshold is not None else "threshold 0"
        return f"{models.folder}: not calibrated (gmm_calibrate.py does it): {told}, no probabilities{assumed}"
    place = models.folder / calibration.FILE
    which = "--threshold" if threshold is not None else f"threshold {found.threshold:.4f} ({found.criterion})"
    return (
        f"{place}: {which}, probabilities for a share of {found.prior:g} of bona fide speech, from {found.score_file} "
        f"(EER {100 * found.eer:.1f} %){assumed}"
    )


def _threshold(found: Calibration | None, threshold: float | None) -> float:
    if threshold is not None:
        return threshold
    return found.threshold if found else 0.0


def _draw(judge: _Judge, recordings: _Recordings, path: str | os.PathLike[str], printer: _Text) -> None:
    """Judge one recording and draw its frames."""
    from countermeasure.evaluation import frame_picture

    frame_picture.check(path)
    names = list(itertools.islice(recordings, 2))
    if len(names) > 1:
        raise InputError(f"--frames {path}: a picture of one recording, but there are {names[0]} and others; give one")
    files.refuse_overwriting(path, *names, *itertools.chain(*map(model_files, judge.models.folders)))
    for name in names:
        with _telling(recordings, name):
            score = judge.score(name)
            if not len(score.frames):
                raise InputError("the models look at whole files only, so there are no frames to draw")
            with audio.stream(name) as stream:
                signal = np.concatenate(list(resampled(stream.pieces, stream.rate, judge.models.rate)))
            result = judge.result(name, score.llr)
            printer.show(result)
        if not recordings.problems:
            threshold = judge.threshold if score.are_own else None
            title = os.path.basename(name)
            frame_picture.draw(path, title, signal, judge.models.rate, score, threshold, result.decision)
            cli.log(f"{os.fspath(path)}: written")


@contextlib.contextmanager
def _telling(recordings: _Recordings, name: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        recordings.complain(name, str(error))


# -- what is printed -----------------------------------------------------------------------------------


class _Text:
    """A sentence a line."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")  # names that are no UTF-8 come out as they went in

    def show(self, result: Result) -> None:
        """Print a result, at once."""
        print(self.line(result), flush=True)

    def line(self, result: Result) -> str:
        sign = ">" if result.decision == BONAFIDE else "<="
        probability = "" if result.probability is None else f", P(bona fide) {result.probability:.3f}"
        return (
            f"{result.file}: {result.decision}, LLR {result.llr:.4f} {sign} threshold {result.threshold:.4f}"
            f"{probability}"
        )


class _Json(_Text):
    """An object a line."""

    def line(self, result: Result) -> str:
        return json.dumps(result._asdict())


class _Csv(_Text):
    """A heading, and a row a line."""

    def __init__(self) -> None:
        super().__init__()
        print(",".join(Result._fields), flush=True)

    def line(self, result: Result) -> str:
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow(result)
        return row.getvalue()
