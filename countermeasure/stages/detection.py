"""Judge recordings with trained models: a score and, where the models are calibrated, a decision and a probability."""

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

# Points of the spectrum that tells whether there is an upper half of the band, and the share of the power that
# counts as nothing: 70 dB down, where speech has 20 to 50 dB and rounding to 16 bits leaves 75.
_SPECTRUM = 1024
_NOTHING = 1e-7


class Judgement(NamedTuple):
    """What is said about a recording; the fields are those of JSON and CSV.

    Attributes
    ----------
    file : str
    llr : float
        In nats; higher = more bona fide.
    threshold, probability : float or None
        Probability of being bona fide; both are None without calibration, unless a threshold was given.
    decision : {'bonafide', 'spoof'} or None
        Bona fide where the LLR is above the threshold.
    out_of_domain : bool or None
        Whether the recording is unlike all training data of a base model; None where no calibration tells.
    """

    file: str
    llr: float
    threshold: float | None
    decision: str | None
    probability: float | None
    out_of_domain: bool | None


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
        Folders of models, see `Chain`. What follows the first one and holds no models is taken for recordings.
    file : sequence of str
        Files, folders, patterns (``*``), and ``-`` for a list of files on standard input, a line each.
    ftype, threshold
        See `Detector`.
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
    others = [path for path in model_path[1:] if not has_models(path)]
    if not (names := [*file, *others]):
        raise InputError("no recording; give files, folders, or - for a list of files on standard input")
    detector = Detector([path for path in model_path if path not in others], ftype, threshold)
    cli.log(detector.introduction)
    paths = places.recordings(names)
    if frames is not None:
        paths = iter(_checked_for_picture(paths, frames, detector.models))
    show = _printer(output)
    n_scored, problems, doubts = 0, [], Counter[str]()
    with compute.workers(1):
        for path in paths:
            try:
                heard = detector.judge(path)
            except InputError as error:
                cli.log(str(error) if str(error).startswith(path) else f"{path}: {error}")
                problems.append(path)
                continue
            n_scored += 1
            show(heard.judgement)
            for kind, warning in heard.doubts.items():
                doubts[kind] += 1
                if doubts[kind] == 1:  # in full the first time, by numbers at the end
                    cli.warn(warning)
            if frames is not None and heard.score.window:
                _draw(frames, detector.models, heard.score, heard.score.window, heard.judgement)
    for kind, n in doubts.items():
        if n > 1:
            cli.warn(f"{kind}, with an unreliable score: {n:,} of {n_scored:,} recordings")
    if problems:
        raise InputError(f"{len(problems):,} not scored, {n_scored:,} scored; first {problems[0]}, see above")
    if not n_scored:
        raise InputError("no recording came on standard input")


# -- one recording -------------------------------------------------------------------------------------


class _Listener:
    """Passes a recording on, and keeps its length in samples, their range, and how it begins, resampled."""

    def __init__(self) -> None:
        self.n, self.low, self.high = 0, math.inf, -math.inf
        self.beginning = np.empty(0, np.float32)

    def pieces(self, stream: audio.Stream, rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield the recording at another sampling rate."""
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


class Heard(NamedTuple):
    """A judgement, the score behind it, and warnings of what makes it unreliable, by their kind."""

    judgement: Judgement
    score: Score
    doubts: dict[str, str]


class Detector:
    """Judges recordings with trained models: ``Detector("model/mfcc")("a.wav")``.

    Parameters
    ----------
    model_path : path or sequence of paths
        Folder of a base model or of a fusion. The models that a fusion stands on are found beside it, or given, too.
    ftype : str or None
        Features of a base model that does not know them.
    threshold : float or None
        Decide for bona fide above this LLR; None: the calibration's, and no decision without one.

    Raises
    ------
    InputError
        When the models or their calibration cannot be used.
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
        self.threshold, self._threshold_is = threshold, "--threshold"
        if threshold is None and self._calibration:
            self.threshold = self._calibration.threshold
            self._threshold_is = f"threshold {self.threshold:.4f} ({self._calibration.origin})"
        self._lowest: dict[Path, float] = {}  # usual log-likelihoods of base models
        for folder in self.models.base_models:
            with contextlib.suppress(InputError):  # an outdated one of a member only means that nothing is known
                found = calibration.read(folder)
                if found and found.lowest_usual is not None:
                    self._lowest[folder] = found.lowest_usual

    @property
    def introduction(self) -> str:
        """Where threshold and probabilities come from, or how to get them."""
        found, models = self._calibration, self.models
        assumed = f"; {models.rate:,} Hz is assumed, for the models do not tell theirs" if models.assumed_rate else ""
        if found is None:
            lacks = "decisions and probabilities" if self.threshold is None else "probabilities"
            return (
                f"{models.folder}: not calibrated, so there are no {lacks}; test.sh calibrates, or "
                f"gmm_calibrate.py --cm_score SCORES_OF_DEV --model_path {models.folder}{assumed}"
            )
        eer = metrics.percent(found.eer, found.n_bonafide, found.n_spoof)
        return f"{models.folder}: {self._threshold_is}, calibrated on {found.score_file} (EER {eer}){assumed}"

    def __call__(self, recording: str | os.PathLike[str]) -> Judgement:
        """Return what is said about a recording, a file of any format that libsndfile reads; warn where it is doubtful.

        Raises
        ------
        InputError
            When it cannot be read, and when there is nothing in it to judge.
        """
        path = os.fspath(recording)
        with compute.workers(1):
            heard = self.judge(path)
        for warning in heard.doubts.values():
            cli.warn(warning)
        return heard.judgement

    def judge(self, path: str) -> Heard:
        """Judge a recording.

        The products are small: within `compute.workers(1)`, for several threads of the BLAS cost seven times as much.
        """
        listener = _Listener()
        with audio.stream(path) as stream:
            score = self.models.score(listener.pieces(stream, self.models.rate))
        if listener.low == listener.high:
            raise InputError(f"{path}: digital silence (all samples are the same); there is nothing to judge")
        doubts = dict(_doubts(stream, listener, self.models))
        unlike = [folder for folder, lowest in self._lowest.items() if score.log_likelihoods[folder] < lowest]
        for folder in unlike[:1]:
            doubts["unlike all training data"] = (
                f"unlike all training data of {folder}: log-likelihood {score.log_likelihoods[folder]:.1f} a "
                f"frame, usual ones are above {self._lowest[folder]:.1f}"
            )
        threshold, found = self.threshold, self._calibration
        judgement = Judgement(
            path,
            round(score.llr, 6),
            None if threshold is None else round(threshold, 6),
            None if threshold is None else BONAFIDE if score.llr > threshold else SPOOF,
            None if found is None else float(f"{found.probability(score.llr):.6g}"),
            bool(unlike) if self._lowest else None,
        )
        warnings = {kind: f"{path}: {reason}; its score is unreliable" for kind, reason in doubts.items()}
        return Heard(judgement, score, warnings)


def _doubts(stream: audio.Stream, listener: _Listener, models: Chain) -> Iterator[tuple[str, str]]:
    """Yield what makes a recording's score unreliable: a kind, and a reason in full."""
    if stream.md5_matches is False:
        yield "with samples of another MD5 than the file states", "its samples do not have the MD5 that the file states"
    if stream.rate < models.rate:
        yield (
            f"sampled below {models.rate:,} Hz",
            f"at {stream.rate:,} Hz it has nothing above {stream.rate / 2:,.0f} Hz, where the models look, too",
        )
    elif listener.lacks_upper_half():
        yield (
            "without the upper half of the band",
            f"has nothing above {models.rate / 4:,.0f} Hz, like a telephone call, where the models look, too",
        )
    if models.window and listener.n < models.window.length * stream.rate:
        length = f"{1000 * models.window.length:g} ms"
        yield "shorter than one window", f"shorter than one window of {length}, so filled up with zeros"


# -- the picture ---------------------------------------------------------------------------------------


def _checked_for_picture(paths: Iterator[str], picture: str | os.PathLike[str], models: Chain) -> list[str]:
    """Return the one recording, after checks that its picture can be drawn."""
    frame_picture.check(picture)
    first = list(islice(paths, 2))
    if len(first) > 1:
        raise InputError(f"--frames {picture}: a picture of one recording, but {first[0]} and others are given")
    if not models.window:
        raise InputError(f"--frames {picture}: the models look at whole files only, so there are no frames to draw")
    files.refuse_overwriting(picture, *first, *(path for folder in models.folders for path in model_files(folder)))
    return first


def _draw(picture: str | os.PathLike[str], models: Chain, score: Score, window: Window, result: Judgement) -> None:
    with audio.stream(result.file) as stream:
        signal = np.concatenate(list(resampled(stream.pieces, stream.rate, models.rate)))
    decision = f"{result.decision}, " if result.decision else ""
    title = f"{os.path.basename(result.file)}: {decision}LLR {score.llr:.2f}"
    # The threshold is one for the models' own scores, not for those of a member of a fusion.
    threshold = result.threshold if score.are_own else None
    frame_picture.draw(picture, title, signal, models.rate, score.frames, window, threshold)
    cli.log(f"{os.fspath(picture)}: written")


# -- what is printed -----------------------------------------------------------------------------------


def _printer(output: str) -> Callable[[Judgement], None]:
    """Return what prints a result at once; prints the heading of CSV."""
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name == "utf-8":
        sys.stdout.reconfigure(errors="surrogateescape")  # names that are no UTF-8 come out as they went in
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
    return text + ", unlike all training data" * bool(result.out_of_domain)


def _csv(values: Iterable[object]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([str(v).lower() if isinstance(v, bool) else v for v in values])
    return row.getvalue()
