"""Judge recordings with trained models: a score and, if the models are calibrated, a decision and a probability."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import cli, compute, files
from countermeasure.errors import InputError
from countermeasure.evaluation import frame_picture
from countermeasure.features.types import Window
from countermeasure.gmm import calibration
from countermeasure.gmm.models import has_models, model_files
from countermeasure.speech import audio, places
from countermeasure.speech.resampling import resampled
from countermeasure.stages.chain import Chain, Score
from countermeasure.trials.lines import BONAFIDE, SPOOF
from tDCF_python import metrics

# FFT size, and the share of the power in the upper half of the band below which it counts as empty: -70 dB. Speech
# has -20 to -50 dB there, rounding to 16 bits leaves -75 dB.
_N_FFT = 1024
_NOTHING = 1e-7


class Judgement(NamedTuple):
    """The result for a recording; the fields are those of JSON and CSV.

    Attributes
    ----------
    file : str
    llr : float
        In nats; higher = more bona fide.
    threshold : float or None
        The given or calibrated one; None without either.
    decision : {'bonafide', 'spoof'} or None
        Bona fide if the LLR is above the threshold.
    probability : float or None
        Of being bona fide; None without calibration.
    out_of_domain : bool or None
        Whether the recording is far less likely under a base model than those of its calibration; None without one.
    warnings : list of str
        Why the score is unreliable.
    """

    file: str
    llr: float
    threshold: float | None
    decision: str | None
    probability: float | None
    out_of_domain: bool | None
    warnings: list[str]


def detect(
    model_path: Sequence[str],
    file: Sequence[str] = (),
    ftype: str | None = None,
    threshold: float | None = None,
    output: str = "text",
    frames: str | os.PathLike[str] | None = None,
) -> None:
    """Print a line for each recording, as soon as it is judged.

    Parameters
    ----------
    model_path : sequence of str
        Folders of models, see `Chain`. Those after the first that contain no models are taken as recordings.
    file : sequence of str
        Files, folders, patterns (``*``), and ``-`` for a list of files on standard input, one per line.
    ftype, threshold
        See `Detector`.
    output : {'text', 'json', 'csv'}
        A sentence per line, a JSON object per line, or CSV with a heading.
    frames : path or None
        Picture of the frames of a single recording.

    Raises
    ------
    InputError
        If the models cannot be used, if there is no recording, or, at the end, if recordings could not be scored.
    """
    others = [path for path in model_path[1:] if not has_models(path)]
    if not (names := [*file, *others]):
        raise InputError("no recording; give files, folders, or - for a list of files on standard input")
    detector = Detector([path for path in model_path if path not in others], ftype, threshold)
    cli.log(detector.introduction)
    paths = places.recordings(names)
    if frames is not None:
        paths = iter(_checked_for_picture(paths, frames, detector.models))
    show = _printer(output)
    n_scored, problems, warnings = 0, [], Counter[str]()
    with compute.workers(1):
        for path in paths:
            try:
                judgement, score = detector.judge(path)
            except InputError as error:
                cli.log(str(error) if str(error).startswith(path) else f"{path}: {error}")
                problems.append(path)
                continue
            n_scored += 1
            show(judgement)
            for warning in judgement.warnings:
                warnings[warning] += 1
                if warnings[warning] == 1:  # later ones are counted
                    _warn(path, warning)
            if frames is not None and score.window:
                _draw(frames, detector.models, score, score.window, judgement)
    for warning, n in warnings.items():
        if n > 1:
            _warn(f"{n:,} of {n_scored:,} recordings", warning)
    if problems:
        raise InputError(f"{len(problems):,} not scored, {n_scored:,} scored; first {problems[0]}, see above")
    if not n_scored:
        raise InputError("no recording came on standard input")


def _warn(what: str, warning: str) -> None:
    cli.warn(f"{what}: {warning}; the score is unreliable")


# -- one recording -------------------------------------------------------------------------------------


class _Listener:
    """Passes a recording on in pieces; notes its length, its beginning, and whether all samples are the same."""

    def __init__(self) -> None:
        self.n, self.first, self.is_constant = 0, 0.0, True
        self.beginning = np.empty(0, np.float32)  # resampled

    def pieces(self, stream: audio.Stream, rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield the recording at another sampling rate."""
        for piece in resampled(self._original(stream.pieces), stream.rate, rate):
            if not len(self.beginning):
                self.beginning = piece
            yield piece

    def _original(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for piece in pieces:
            if not self.n:
                self.first = piece[0]
            self.n += len(piece)
            self.is_constant = self.is_constant and bool((piece == self.first).all())
            yield piece

    def lacks_upper_half(self) -> bool:
        """Return whether the upper half of the band holds only rounding noise, as in a telephone call at 16 kHz."""
        n = len(self.beginning) // _N_FFT
        frames = self.beginning[: n * _N_FFT].reshape(n, _N_FFT) * np.hanning(_N_FFT)
        power = (np.abs(np.fft.rfft(frames)) ** 2).sum(axis=0)
        return bool(power[_N_FFT * 9 // 32 :].sum() < _NOTHING * power.sum())


class Detector:
    """Judges recordings with trained models: ``Detector("model/mfcc")("a.wav")``.

    Parameters
    ----------
    model_path : path or sequence of paths
        Folder of a base model or a fusion, see `Chain`.
    ftype : str or None
        Features of a base model without a record of them.
    threshold : float or None
        Decide for bona fide above this LLR; None: the calibrated threshold, or no decision without calibration.

    Raises
    ------
    InputError
        If the models or their calibration cannot be used.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        ftype: str | None = None,
        threshold: float | None = None,
    ):
        if threshold is not None and not math.isfinite(threshold):
            raise InputError(f"--threshold {threshold}: must be a number")
        self.models = Chain([model_path] if isinstance(model_path, str | os.PathLike) else model_path, ftype)
        self._calibration = calibration.read(self.models.folder)
        self.threshold = threshold
        if threshold is None and self._calibration:
            self.threshold = self._calibration.threshold
        self._lowest: dict[Path, float] = {}  # usual log-likelihoods of base models
        for folder in self.models.base_models:
            with contextlib.suppress(InputError):  # an outdated calibration of a member is not used
                found = calibration.read(folder)
                if found and found.lowest_usual is not None:
                    self._lowest[folder] = found.lowest_usual

    @property
    def introduction(self) -> str:
        """Where threshold and probabilities come from, or how to get them."""
        found, models = self._calibration, self.models
        assumed = f"; {models.rate:,} Hz is assumed, since the models do not say" if models.assumed_rate else ""
        if found is None:
            lacks = "decisions and probabilities" if self.threshold is None else "probabilities"
            return (
                f"{models.folder}: not calibrated, so there are no {lacks}; test.sh calibrates, or "
                f"gmm_calibrate.py --cm_score SCORES_OF_DEV --model_path {models.folder}{assumed}"
            )
        eer = metrics.percent(found.eer, found.n_bonafide, found.n_spoof)
        is_own = self.threshold == found.threshold
        what = f"threshold {found.threshold:.4f} ({found.origin})," if is_own else "probabilities"
        return f"{models.folder}: {what} calibrated on {found.score_file} (EER {eer}){assumed}"

    def __call__(self, recording: str | os.PathLike[str]) -> Judgement:
        """Judge a recording, a file of any format that libsndfile reads; warn if the score is unreliable.

        Raises
        ------
        InputError
            If it cannot be read or is digital silence.
        """
        path = os.fspath(recording)
        with compute.workers(1):
            judgement, _ = self.judge(path)
        for warning in judgement.warnings:
            _warn(path, warning)
        return judgement

    def judge(self, path: str) -> tuple[Judgement, Score]:
        """Judge a recording; also return its score.

        Call it within `compute.workers(1)`, since BLAS threads slow down small products.
        """
        listener = _Listener()
        with audio.stream(path) as stream:
            score = self.models.score(listener.pieces(stream, self.models.rate))
        if listener.is_constant:
            raise InputError(f"{path}: digital silence (all samples are the same); there is nothing to judge")
        warnings = list(_warnings(stream, listener, self.models))
        unlike = [folder for folder, lowest in self._lowest.items() if score.log_likelihoods[folder] < lowest]
        for folder in unlike[:1]:
            warnings.append(
                f"far less likely under {folder} than the recordings of its calibration, with a log-likelihood per "
                f"frame below {self._lowest[folder]:.1f}"
            )
        llr, threshold, found = round(score.llr, 6), self.threshold, self._calibration
        decision = None
        if threshold is not None:  # with the digits of score files, from which thresholds come
            threshold = round(threshold, 6)
            decision = BONAFIDE if llr > threshold else SPOOF
        probability = float(f"{found.probability(score.llr):.6g}") if found else None
        out_of_domain = bool(unlike) if self._lowest else None
        return Judgement(path, llr, threshold, decision, probability, out_of_domain, warnings), score


def _warnings(stream: audio.Stream, listener: _Listener, models: Chain) -> Iterator[str]:
    """Yield reasons why a recording's score is unreliable."""
    used = f"but the models use the band up to {models.highest:,.0f} Hz"
    if stream.rate < models.rate:
        if stream.rate / 2 < models.highest:
            yield f"at {stream.rate:,} Hz it has nothing above {stream.rate / 2:,.0f} Hz, {used}"
    elif models.rate / 4 < models.highest and listener.lacks_upper_half():
        yield f"has nothing above {models.rate / 4:,.0f} Hz, like a telephone call, {used}"
    if models.window and listener.n < models.window.length * stream.rate:
        yield f"shorter than one window of {1000 * models.window.length:g} ms, so filled up with zeros"


# -- the picture ---------------------------------------------------------------------------------------


def _checked_for_picture(paths: Iterator[str], picture: str | os.PathLike[str], models: Chain) -> list[str]:
    """Return the single recording after checking that its picture can be drawn."""
    frame_picture.check(picture)
    first = list(islice(paths, 2))
    if len(first) > 1:
        raise InputError(f"--frames {picture}: a picture of one recording, but {first[0]} and others are given")
    if not models.window:
        raise InputError(f"--frames {picture}: the models score whole files only, so there are no frames to draw")
    files.refuse_overwriting(picture, *first, *(path for folder in models.folders for path in model_files(folder)))
    return first


def _draw(picture: str | os.PathLike[str], models: Chain, score: Score, window: Window, result: Judgement) -> None:
    with audio.stream(result.file) as stream:
        signal = np.concatenate(list(resampled(stream.pieces, stream.rate, models.rate)))
    decision = f"{result.decision}, " if result.decision else ""
    title = f"{os.path.basename(result.file)}: {decision}LLR {score.llr:.2f}"
    # The threshold applies to the scores of the last models, not to those of a member of a fusion.
    is_own = score.folder == models.folder
    threshold = result.threshold if is_own else None
    title += "" if is_own or score.folder is None else f"; frames: {score.folder.name}"
    frame_picture.draw(picture, title, signal, models.rate, score.frames, window, threshold)
    cli.log(f"{os.fspath(picture)}: written")


# -- what is printed -----------------------------------------------------------------------------------


def _printer(output: str) -> Callable[[Judgement], None]:
    """Return a function that prints a result; print the heading of CSV."""
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name == "utf-8":
        sys.stdout.reconfigure(errors="surrogateescape")  # print names that are not UTF-8 with their own bytes
    if output == "csv":
        print(_csv(Judgement._fields), flush=True)
    line = {"text": _sentence, "json": lambda result: json.dumps(result._asdict()), "csv": _csv}[output]
    return lambda result: print(line(result), flush=True)


def _sentence(result: Judgement) -> str:
    text = f"{result.file}: " + (f"{result.decision}, " if result.decision else "") + f"LLR {result.llr:.4f}"
    if result.threshold is not None:
        text += f" {'>' if result.decision == BONAFIDE else '<='} threshold {result.threshold:.4f}"
    if result.probability is not None:
        text += f", P(bona fide) {result.probability:.3f}"
    return text + ", unreliable" * bool(result.warnings)


def _csv(values: Iterable[object]) -> str:
    row = io.StringIO()
    words = ["; ".join(v) if isinstance(v, list) else str(v).lower() if isinstance(v, bool) else v for v in values]
    csv.writer(row, lineterminator="").writerow(words)
    return row.getvalue()
