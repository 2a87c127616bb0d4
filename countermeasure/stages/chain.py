"""Chains of models: from a recording to its score, through all the models that a fusion is built on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError
from countermeasure.features import features, types
from countermeasure.features.types import N_CEPSTRA, Window
from countermeasure.gmm.models import Pair, has_models, model_files, read_pair
from countermeasure.gmm.scores import Scorer, Scores, joined
from countermeasure.lists import names
from countermeasure.lists.provenance import Source

_USUAL_RATE = 16000  # Hz, as in ASVspoof; for models that do not name their rate
_WIDTH, _WIDTH_OF_SILENCE = 3 * N_CEPSTRA, 2


class Score(NamedTuple):
    """The score of a recording.

    Attributes
    ----------
    llr : float
        In nats; higher = more bona fide.
    frames : array [n_frames]
        LLR of every frame under the last frame-level models of the chain; empty if there are none.
    window : Window or None
        Of these frames.
    folder : Path or None
        Of the models that scored these frames; those of the chain itself, unless it scores whole files only.
    log_likelihoods : dict of Path to float
        By folder of a base model: mean log-likelihood per frame under its better fitting mixture, in nats.
    """

    llr: float
    frames: NDArray[np.float64]
    window: Window | None
    folder: Path | None
    log_likelihoods: dict[Path, float]


class _Source(NamedTuple):
    """Where columns of a model's rows come from: a feature type, or one side of another model's scores."""

    feature: str | None = None
    folder: Path | None = None
    side: int = 0
    whole: bool = False

    @property
    def width(self) -> int:
        if self.feature is None:
            return 1
        return _WIDTH if types.window(self.feature) else _WIDTH_OF_SILENCE

    @property
    def is_framed(self) -> bool:
        return not self.whole and (self.feature is None or types.window(self.feature) is not None)


class _Member(NamedTuple):
    """The two models of a folder, and the sources of their rows."""

    scorer: Scorer
    sources: Sequence[_Source]

    @property
    def is_framed(self) -> bool:
        return self.sources[0].is_framed

    def score(self, piece: dict[str, NDArray[np.floating]], scores: dict[Path, Scores]) -> Scores:
        """Score rows made of features and of other members' scores, in the form of their lists."""
        columns = []
        for source in self.sources:
            if source.folder is None:
                columns.append(piece[source.feature or ""])
            else:
                column = scores[source.folder][source.side]
                columns.append(column.mean().reshape(1, 1) if source.whole else column.astype(np.float32)[:, None])
        return self.scorer(np.hstack(columns))


class Chain:
    """A base model, or a fusion with all the models that it is built on.

    Parameters
    ----------
    model_path : sequence of path
        Folder of a base model or of a fusion, and folders of models that the fusion is built on, in any order.
        Missing ones are looked for beside the fusion, by the names of its columns.
    ftype : str or None
        Features of a base model without a record of them.

    Attributes
    ----------
    folder : Path
        Of the model that gives the score.
    folders : list of Path
        Of all models; each comes after those it is built on.
    base_models : list of Path
        Folders of the models over features of frames.
    rate : int
        Sampling rate in Hz of the recordings that the models were trained on.
    assumed_rate : bool
        Whether the models do not name a rate, so that the usual one is assumed.
    features : list of str
    window : Window or None
        Of the features; None if all describe whole files.
    highest : float
        The highest frequency in Hz that a feature uses.

    Raises
    ------
    InputError
        If a folder has no models or does not belong to the chain, or if a model of the chain is missing or is not
        the one that the fusion was trained on.
    """

    def __init__(self, model_path: Iterable[str | os.PathLike[str]], ftype: str | None = None):
        self._given, self._ftype = list(dict.fromkeys(map(Path, model_path))), ftype
        self._pairs: dict[Path, Pair] = {}
        self._members: dict[Path, _Member] = {}  # each comes after those it is built on
        self._recorded: list[Source] = []  # records of features
        for folder in self._given:
            self._load(folder)
        if self._ftype:
            raise InputError(f"--ftype {ftype}: the models know their features; leave it out")
        sources = [source for member in self._members.values() for source in member.sources]
        tops = [folder for folder in self._given if folder not in [source.folder for source in sources]]
        if len(tops) > 1:
            raise InputError(
                f"{tops[0]} and {tops[1]}: neither is built on the other; give one model, or the models of one chain"
            )
        self.folder, self.folders = tops[0], list(self._members)
        self.features = sorted({source.feature for source in sources if source.feature})
        self.base_models = [
            folder for folder, member in self._members.items() if member.is_framed and member.sources[0].feature
        ]
        rates = {entry.sampling_rate for entry in self._recorded}
        windows = {window for name in self.features if (window := types.window(name))}
        for what, values in (("windows", windows), ("sampling rates", rates)):
            if len(values) > 1:
                raise InputError(f"{self.folder}: its base models have different {what}; train them on lists of one")
        self.rate, self.assumed_rate = min(rates, default=_USUAL_RATE), not rates
        self.window = min(windows, default=None)
        framed = (types.get(name) for name in self.features if types.window(name))
        self.highest = max((each.limits(self.rate)[1] for each in framed), default=0.0)
        self._dtype = "float64" if {entry.dtype for entry in self._recorded} == {"float64"} else "float32"

    def score(self, pieces: Iterable[NDArray[np.floating]]) -> Score:
        """Score a recording.

        Parameters
        ----------
        pieces : iterable of array [n]
            Consecutive samples in [-1, 1), at `rate`.

        Raises
        ------
        InputError
            If its features or scores are not finite.
        """
        framed: dict[Path, list[Scores]] = {folder: [] for folder, each in self._members.items() if each.is_framed}
        piece: dict[str, NDArray[np.floating]] = {}
        for piece in features.extract_pieces(pieces, self.rate, self.features, self._dtype):
            latest: dict[Path, Scores] = {}
            for folder, done in framed.items():
                latest[folder] = self._members[folder].score(piece, latest)
                done.append(latest[folder])
        scores = {folder: joined(done) for folder, done in framed.items()}
        for folder, member in self._members.items():
            if folder not in scores:
                scores[folder] = member.score(piece, scores)
        llr = scores[self.folder].llr
        if not np.isfinite(llr):
            raise InputError("its score is not finite; its samples are too large, expected -1 to 1")
        last = list(framed)[-1] if framed else None
        shown = scores[last] if last else None
        return Score(
            llr,
            shown.bonafide - shown.spoof if shown else np.empty(0),
            self.window if shown else None,
            last,
            {folder: float(max(side.mean() for side in scores[folder])) for folder in self.base_models},
        )

    # -- which models belong together ----------------------------------------------------------------------

    def _load(self, folder: Path) -> None:
        """Load the models of a folder, after those they are built on."""
        if folder in self._members:
            return
        pair = self._pair(folder)
        columns = pair.record.columns
        inputs = pair.record.inputs or [None] * len(columns or [""])
        sources = [self._source(folder, *column) for column in zip(columns or [""], inputs, strict=True)]
        n_columns, n_dims = sum(source.width for source in sources), pair.bonafide.parameters.n_dims
        if n_columns != n_dims:
            raise InputError(
                f"{folder}: models over {n_dims} dimensions, but what they were trained on has "
                f"{n_columns}; give the models of feature lists of this suite"
            )
        self._members[folder] = _Member(Scorer(*(model.parameters for model in pair)), sources)

    def _pair(self, folder: Path) -> Pair:
        if folder not in self._pairs:
            if not has_models(folder):
                what = "is a file" if folder.is_file() else "no models in it" if folder.is_dir() else "no such folder"
                raise InputError(f"{folder}: {what}; give a folder with bon.gmm and sp.gmm, as training writes it")
            self._pairs[folder] = read_pair(*model_files(folder))
        return self._pairs[folder]

    def _source(self, folder: Path, column: str, entry: Source | None) -> _Source:
        """Return the source of a column, given its name ('' in a base model) and its entry in the models' record."""
        if entry and entry.kind == "features":
            return _Source(self._recorded_feature(folder, entry))
        if not column:
            return _Source(self._given_feature(folder))
        origin = names.score_column(column)
        if origin:
            provider = self._provider(folder, origin.model, entry.model if entry else None)
            self._load(provider)
            whole = entry.kind == "file scores" if entry else origin.whole_files
            return _Source(None, provider, names.SIDES.index(origin.side), whole)
        if entry is None and types.is_name(column):
            return _Source(column)
        raise InputError(
            f"{folder}: its column {column!r} does not tell which model gave it; such names end in -bon or -sp"
        )

    def _recorded_feature(self, folder: Path, entry: Source) -> str:
        name = entry.feature["type"]
        if not types.is_name(name) or entry.feature != types.settings(name, entry.sampling_rate):
            raise InputError(
                f"{folder}: trained on features that this version does not compute ({str(name)[:40]}); train again"
            )
        self._recorded.append(entry)
        return name

    def _given_feature(self, folder: Path) -> str:
        ftype, self._ftype = self._ftype, None  # for one model only
        if ftype is None:
            raise InputError(f"{folder}: the models do not tell which features they were trained on; give --ftype")
        types.get(ftype)  # raises for an unknown type
        return ftype

    def _provider(self, folder: Path, name: str, training_id: str | None) -> Path:
        """Return the folder of the model that gave a column: one that was given, or one beside the fusion."""
        candidates = [path for path in [*self._given, folder.parent / name] if has_models(path) and path != folder]
        named = [path for path in candidates if path.resolve().name == name]
        fitting = [path for path in candidates if self._pair(path).record.training_id == training_id]
        found = fitting if training_id else named
        if found:
            return found[0]
        if named:
            raise InputError(
                f"{named[0]}: not the models that the fusion of {folder} was trained on, although their name is the "
                "same; give those models, or train the fusion again"
            )
        raise InputError(
            f"{folder}: a fusion that needs the models of {name}, which are not beside it; also give their folder "
            "after --model_path"
        )
