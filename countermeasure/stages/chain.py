"""Chains of models: from a recording to its score, through all the models that a fusion stands on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError
from countermeasure.features import features
from countermeasure.features.types import N_CEPSTRA, Window
from countermeasure.gmm.models import Pair, has_models, model_files, read_pair
from countermeasure.gmm.scores import Scorer, Scores, joined
from countermeasure.lists import names

# What ASVspoof's recordings have; for models that do not say.
USUAL_RATE = 16000
_WIDTH = 3 * N_CEPSTRA
_WIDTH_OF_SILENCE = 2


class Score(NamedTuple):
    """What a chain makes of a recording.

    Attributes
    ----------
    llr : float
        In nats; higher = more bona fide.
    frames : array [n_frames]
        LLR of every frame, of the last models of the chain that look at single frames; empty where none does.
    window : Window or None
        Of these frames.
    are_own : bool
        Whether the recording's LLR is the mean of these frames'.
    log_likelihoods : dict of Path to float
        Of each base model, by its folder: mean log-likelihood a frame under the model that suits the recording
        better, in nats.
    """

    llr: float
    frames: NDArray[np.float64]
    window: Window | None
    are_own: bool
    log_likelihoods: dict[Path, float]


class _Source(NamedTuple):
    """Where a column of a model's rows comes from: a feature type, or a side of another model's scores."""

    feature: str | None = None
    folder: Path | None = None
    side: int = 0
    whole: bool = False

    @property
    def width(self) -> int:
        if self.feature is None:
            return 1
        return _WIDTH if features.window(self.feature) else _WIDTH_OF_SILENCE

    @property
    def is_framed(self) -> bool:
        return not self.whole and (self.feature is None or features.window(self.feature) is not None)


class _Member:
    """The two models of a folder, and where their rows come from."""

    def __init__(self, folder: Path, pair: Pair, sources: list[_Source]):
        self.sources = sources
        self.score = Scorer(*(model.parameters for model in pair))
        n_columns = sum(source.width for source in sources)
        n_dims = pair.bonafide.parameters.n_dims
        if n_columns != n_dims:
            raise InputError(
                f"{folder}: models over {n_dims} dimensions, but what they were trained on has "
                f"{n_columns}; give the models of feature lists of this suite"
            )
        if len({source.is_framed for source in sources}) > 1:
            raise InputError(f"{folder}: its columns mix scores of frames with those of files; train the fusion again")
        self.is_framed = sources[0].is_framed
        self.is_base = self.is_framed and sources[0].feature is not None


class Chain:
    """A base model, or a fusion with all the models it stands on.

    Attributes
    ----------
    folder : Path
        Of the model that gives the score.
    folders : list of Path
        Of all models, each after those it stands on.
    base_models : list of Path
        Those of them that look at features of frames.
    rate : int
        Sampling rate in Hz of the recordings that the models were trained on.
    features : list of str
    assumed_rate : bool
        Whether the models do not tell the rate, so that it is the usual one.
    """

    def __init__(self, members: dict[Path, _Member], top: Path, rate: int | None, dtype: str):
        self._members, self.folder, self._dtype = members, top, dtype
        self.folders = list(members)
        self.rate, self.assumed_rate = rate or USUAL_RATE, rate is None
        self.base_models = [folder for folder, member in members.items() if member.is_base]
        sources = [source for member in members.values() for source in member.sources]
        self.features = sorted({source.feature for source in sources if source.feature})
        self.windows = {features.window(name) for name in self.features} - {None}
        if len(self.windows) > 1:
            raise InputError(f"{top}: its base models have different windows; train them on types of one window")

    def score(self, pieces: Iterable[NDArray[np.floating]]) -> Score:
        """Score a recording that comes in pieces.

        Parameters
        ----------
        pieces : iterable of array [n]
            At `rate`, in [-1, 1).

        Raises
        ------
        InputError
            When its features or scores are not finite.
        """
        framed: dict[Path, list[Scores]] = {folder: [] for folder, each in self._members.items() if each.is_framed}
        found: dict[str, NDArray[np.floating]] = {}
        for found in features.extract_pieces(pieces, self.rate, self.features, self._dtype):
            latest: dict[Path, Scores] = {}
            for folder, done in framed.items():
                latest[folder] = self._score(folder, found, latest)
                done.append(latest[folder])
        scores = {folder: joined(done) for folder, done in framed.items()}
        for folder in self._members:
            if folder not in scores:
                scores[folder] = self._score(folder, found, scores)
        llr = scores[self.folder].llr
        if not np.isfinite(llr):
            raise InputError("its score is not finite; its samples are too large, expected -1 to 1")
        shown = scores[list(framed)[-1]] if framed else None
        return Score(
            llr,
            shown.bonafide - shown.spoof if shown else np.empty(0),
            next(iter(self.windows), None) if shown else None,
            self.folder in framed,
            {folder: float(max(side.mean() for side in scores[folder])) for folder in self.base_models},
        )

    def _score(self, folder: Path, found: dict[str, NDArray[np.floating]], scores: dict[Path, Scores]) -> Scores:
        member = self._members[folder]
        return member.score(np.hstack(list(_columns(member.sources, found, scores))))


def _columns(
    sources: Sequence[_Source], found: dict[str, NDArray[np.floating]], scores: dict[Path, Scores]
) -> Iterator[NDArray[np.floating]]:
    """Yield a model's columns as its score lists have them, arrays [n_rows, k]."""
    for source in sources:
        if source.feature is not None:
            yield found[source.feature]
        elif source.folder is not None:
            column = scores[source.folder][source.side]
            yield column.mean().reshape(1, 1) if source.whole else column.astype(np.float32)[:, None]


# -- which models belong together ----------------------------------------------------------------------


def load(model_path: Sequence[str | os.PathLike[str]], ftype: str | None = None) -> Chain:
    """Read the models of a chain.

    Parameters
    ----------
    model_path : sequence of path
        A base model's folder; or a fusion's, with the folders of the models it stands on in any order. Those
        that are missing are looked for beside the fusion's, by the names that its columns have.
    ftype : str or None
        Features of a base model that carries no record of them.

    Raises
    ------
    InputError
        When a folder has no models, when a model of the chain is missing or another than the one that the
        fusion was trained on, and when a folder does not belong to the chain.
    """
    return _Loader(model_path, ftype).chain()


class _Loader:
    def __init__(self, model_path: Sequence[str | os.PathLike[str]], ftype: str | None):
        self._ftype = ftype
        self._given: list[Path] = []
        for folder in map(Path, model_path):
            if all(folder.resolve() != other.resolve() for other in self._given):
                self._given.append(folder)
        self._pairs: dict[Path, Pair] = {}
        self._members: dict[Path, _Member] = {}  # each after those it stands on
        self._open: list[Path] = []
        self._rates: dict[Path, int] = {}
        self._dtypes: set[str] = set()
        self._unrecorded: list[Path] = []

    def chain(self) -> Chain:
        for folder in self._given:
            self._member(folder)
        used = {source.folder for member in self._members.values() for source in member.sources}
        tops = [folder for folder in self._given if folder not in used]
        if len(tops) > 1:
            raise InputError(
                f"{tops[0]} and {tops[1]}: neither is built on the other; give one model, or the models of one chain"
            )
        if self._ftype and not self._unrecorded:
            raise InputError(f"--ftype {self._ftype}: the models know their features; leave it out")
        rates = set(self._rates.values())
        if len(rates) > 1:
            told = ", ".join(f"{folder} at {rate} Hz" for folder, rate in self._rates.items())
            raise InputError(f"{tops[0]}: its models are of different sampling rates ({told}); train them on one")
        dtype = "float64" if self._dtypes == {"float64"} else "float32"
        return Chain(self._members, tops[0], next(iter(rates), None), dtype)

    def _pair(self, folder: Path) -> Pair:
        if folder not in self._pairs:
            if not has_models(folder):
                what = "no models in it" if folder.is_dir() else "no such folder"
                raise InputError(f"{folder}: {what}; give a folder with bon.gmm and sp.gmm, as training writes it")
            self._pairs[folder] = read_pair(*model_files(folder))
        return self._pairs[folder]

    def _member(self, folder: Path) -> None:
        if folder in self._members:
            return
        if folder in self._open:
            raise InputError(f"{folder}: is a fusion of its own scores; train it again")
        self._open.append(folder)
        pair = self._pair(folder)
        columns = pair.bonafide.columns
        inputs = pair.record.get("inputs") or [None] * len(columns or [""])
        if columns is None:
            sources = [_Source(self._feature_of_base(folder, inputs[0]))]
        elif len(inputs) != len(columns):
            raise InputError(f"{folder}: its record names {len(columns)} columns and {len(inputs)} inputs; train again")
        else:
            sources = [self._source(folder, name, entry) for name, entry in zip(columns, inputs, strict=True)]
        self._members[folder] = _Member(folder, pair, sources)

    def _feature_of_base(self, folder: Path, entry: dict[str, Any] | None) -> str:
        if entry is not None:
            return self._recorded_feature(folder, entry)
        if self._ftype is None or self._unrecorded:
            raise InputError(
                f"{folder}: the models do not tell which features they were trained on; give --ftype"
                if self._ftype is None
                else f"{folder} and {self._unrecorded[0]}: neither tells which features it was trained on, and --ftype "
                "is for one; train them on lists with their records"
            )
        features.window(self._ftype)  # raises for a type that is not there
        self._unrecorded.append(folder)
        return self._ftype

    def _recorded_feature(self, folder: Path, entry: dict[str, Any]) -> str:
        feature, rate = entry["feature"], entry["sampling_rate"]
        name = feature.get("type")
        if not features.is_name(name) or type(rate) is not int or feature != features.settings(name, rate):
            raise InputError(
                f"{folder}: trained on features that this version does not compute ({str(name)[:40]}); train again"
            )
        self._rates[folder] = rate
        self._dtypes.add(str(entry.get("dtype")))
        return name

    def _source(self, folder: Path, column: str, entry: dict[str, Any] | None) -> _Source:
        """Return where a fusion's column comes from."""
        if entry is not None and entry.get("kind") == "features":
            return _Source(self._recorded_feature(folder, entry))
        found = names.score_column(column)
        if not found:
            if entry is None and features.is_name(column):
                return _Source(column)
            raise InputError(
                f"{folder}: its column {column!r} does not tell which model gave it; such names end in -bon or -sp"
            )
        provider = self._provider(folder, found.model, (entry or {}).get("model"))
        self._member(provider)
        whole = found.whole_files if entry is None else entry.get("kind") == "file scores"
        return _Source(folder=provider, side=names.SIDES.index(found.side), whole=whole)

    def _provider(self, folder: Path, name: str, training_id: str | None) -> Path:
        """Return the folder of the model that gave a column: one of those given, else one beside the fusion's."""
        if training_id:
            for given in self._given:
                if self._training_id(given) == training_id:
                    return given
        beside = folder.parent / name
        same_name = [given for given in self._given if given.resolve().name == name and given != folder]
        candidates = [*same_name, *([beside] if has_models(beside) else [])]
        for candidate in candidates:
            if not training_id or self._training_id(candidate) == training_id:
                return candidate
        if candidates:
            raise InputError(
                f"{candidates[0]}: not the models that the fusion of {folder} was trained on, though of the same "
                "name; give these, or train the fusion again"
            )
        raise InputError(
            f"{folder}: a fusion that needs the models of {name}, which are not beside it; "
            "give their folder behind --model_path, too"
        )

    def _training_id(self, folder: Path) -> str | None:
        return self._pair(folder).record.get("training_id")
