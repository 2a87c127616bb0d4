"""Judge recordings with trained models: a score, a decision and, where calibration was fitted, a probability."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain as joined
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import cli, compute, files
from countermeasure.errors import InputError
from countermeasure.evaluation import frame_picture
from countermeasure.features.types import Window
from countermeasure.gmm import calibration
from countermeasure.gmm.models import model_files
from countermeasure.speech import audio, places
from countermeasure.speech.resampling import resampled
from countermeasure.stages import chain
from countermeasure.stages.chain import Chain, Score
from countermeasure.trials.lines import BONAFIDE, SPOOF

# Points of the spectrum that tells whether there is an upper half of the band, and the share of the power that
# counts as nothing: 70 dB down, where speech has 20 to 50 dB and rounding to 16 bits leaves 75.
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
    paths = places.recordings(names)
    if frames is not None:
        paths = iter(_checked_for_picture(paths, frames, judge.models))
    show = _printer(output)
    problems = []
    with compute.workers(1):  # a recording's products are small: several threads of the BLAS cost seven times as much
        for path in paths:
            try:
                score = judge.score(path)
            except InputError as error:
                problem = str(error)
                cli.log(problem if problem.startswith(path) else f"{path}: {problem}")
                problems.append(path)
                continue
            result = judge.result(path, score.llr)
            show(result)
            if frames is not None and score.window:
                _draw(frames, judge.models, score, score.window, result)
    judge.conclude()
    if problems:
        raise InputError(f"{len(problems):,} not scored, {judge.n_scored:,} scored; first {problems[0]}, see above")
    if not judge.n_scored:
        raise InputError("no recording came on standard input")


# -- one recording -------------------------------------------------------------------------------------


class _Heard:
    """What went by of a recording: number, smallest and largest of its samples, and how it begins, resampled."""

    def __init__(self) -> None:
        self.n = 0
        self.low, self.high = math.inf, -math.inf
        self.beginning = np.empty(0, np.float32)

    def pieces(self, stream: audio.Stream, rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield the recording at another sampling rate, and listen."""
        for piece in resampled(self._original(stream.pieces), stream.rate, rate):
            if not len(self.beginning):
                self.beginning = piece
            yield piece

    def _original(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for piece in pieces:
            self.n += len(piece)
            self.low, self.high = min(self.low, float(piece.min())), max(self.high, float(piece.max()))
            yield piece

    def lacks_upper_half(self) -> bool:
        """Tell whether the upper half of the band holds only rounding noise, as in a telephone call at 16 kHz."""
        n = len(self.beginning) // _SPECTRUM
        frames = self.beginning[: n * _SPECTRUM].reshape(n, _SPECTRUM) * np.hanning(_SPECTRUM)
        power = (np.abs(np.fft.rfft(frames)) ** 2).sum(axis=0)
        return bool(power[_SPECTRUM * 9 // 32 :].sum() < _NOTHING * power.sum())


class _Judge:
    """Scores recordings with a chain of models, and compares the scores with a threshold."""

    def __init__(self, models: Chain, threshold: float | None):
        self.models = models
        self._calibration = calibration.read(models.folder)
        found = self._calibration
        self.threshold = threshold if threshold is not None else found.threshold if found else 0.0
        self.n_scored = self._n_refused = 0
        self._doubts: Counter[str] = Counter()
        cli.log(self._introduction("--threshold" if threshold is not None else None))

    def _introduction(self, given: str | None) -> str:
        """Return where threshold and probabilities come from."""
        found, models = self._calibration, self.models
        assumed = f"; {models.rate:,} Hz is assumed, for the models do not tell theirs" if models.assumed_rate else ""
        if found is None:
            which = given or "threshold 0"
            return f"{models.folder}: not calibrated (gmm_calibrate.py does it): {which}, no probabilities{assumed}"
        which = given or f"threshold {found.threshold:.4f} ({found.criterion})"
        return (
            f"{models.folder / calibration.FILE}: {which}, probabilities for a share of {found.prior:g} of bona fide "
            f"speech, from {found.score_file} (EER {100 * found.eer:.1f} %){assumed}"
        )

    def score(self, path: str) -> Score:
        """Return a recording's score, and warn where it is unreliable.

        Raises
        ------
        InputError
            When it cannot be read, and when there is nothing in it to judge.
        """
        heard = _Heard()
        with audio.stream(path) as stream:
            score = self.models.score(heard.pieces(stream, self.models.rate))
        if heard.low == heard.high:
            raise InputError(f"{path}: digital silence (all samples are the same); there is nothing to judge")
        self._n_refused += stream.md5_matches is not None
        for kind, reason in _doubts(stream, heard, self.models):
            self._doubts[kind] += 1
            if self._doubts[kind] == 1:  # in full the first time, by numbers at the end
                cli.warn(f"{path}: {reason}; its score is unreliable")
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

    def conclude(self) -> None:
        """Say how many recordings the warnings were about."""
        if self._n_refused:
            cli.log(f"FLAC files that libsndfile refuses, decoded by miniaudio: {self._n_refused:,}")
        for kind, n in self._doubts.items():
            if n > 1:
                cli.warn(f"{kind}, with an unreliable score: {n:,} of {self.n_scored:,} recordings")


def _doubts(stream: audio.Stream, heard: _Heard, models: Chain) -> Iterator[tuple[str, str]]:
    """Yield what makes a recording's score unreliable: a kind, and a reason in full."""
    if stream.md5_matches is False:
        yield "with samples of another MD5 than the file states", "its samples do not have the MD5 that the file states"
    if stream.rate < models.rate:
        yield (
            f"sampled below {models.rate:,} Hz",
            f"at {stream.rate:,} Hz it has nothing above {stream.rate / 2:,.0f} Hz, where the models look, too",
        )
    elif heard.lacks_upper_half():
        yield (
            "without the upper half of the band",
            f"has nothing above {models.rate / 4:,.0f} Hz, like a telephone call, where the models look, too",
        )
    window = max((window.length for window in models.windows if window), default=0.0)
    if heard.n < window * stream.rate:
        yield "shorter than one window", f"shorter than one window of {1000 * window:g} ms, so filled up with zeros"


# -- the picture ---------------------------------------------------------------------------------------


def _checked_for_picture(paths: Iterator[str], picture: str | os.PathLike[str], models: Chain) -> list[str]:
    """Return the one recording, after checks that its picture can be drawn."""
    frame_picture.check(picture)
    first = list(islice(paths, 2))
    if len(first) > 1:
        raise InputError(f"--frames {picture}: a picture of one recording, but {first[0]} and others are given")
    if not any(models.windows):
        raise InputError(f"--frames {picture}: the models look at whole files only, so there are no frames to draw")
    files.refuse_overwriting(picture, *first, *joined.from_iterable(map(model_files, models.folders)))
    return first


def _draw(picture: str | os.PathLike[str], models: Chain, score: Score, window: Window, result: Result) -> None:
    with audio.stream(result.file) as stream:
        signal = np.concatenate(list(resampled(stream.pieces, stream.rate, models.rate)))
    title = f"{os.path.basename(result.file)}: {result.decision}, LLR {score.llr:.2f}"
    # The threshold is one for the models' own scores, not for those of a member of a fusion.
    threshold = result.threshold if score.are_own else None
    frame_picture.draw(picture, title, signal, models.rate, score.frames, window, threshold)
    cli.log(f"{os.fspath(picture)}: written")


# -- what is printed -----------------------------------------------------------------------------------


def _printer(output: str) -> Callable[[Result], None]:
    """Return what prints a result at once; prints the heading of CSV."""
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name == "utf-8":
        sys.stdout.reconfigure(errors="surrogateescape")  # names that are no UTF-8 come out as they went in
    if output == "csv":
        print(_csv(Result._fields), flush=True)
    line = {"text": _sentence, "json": lambda result: json.dumps(result._asdict()), "csv": _csv}[output]
    return lambda result: print(line(result), flush=True)


def _sentence(result: Result) -> str:
    sign = ">" if result.decision == BONAFIDE else "<="
    probability = "" if result.probability is None else f", P(bona fide) {result.probability:.3f}"
    return (
        f"{result.file}: {result.decision}, LLR {result.llr:.4f} {sign} threshold {result.threshold:.4f}{probability}"
    )


def _csv(values: Iterable[object]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(values)
    return row.getvalue()
