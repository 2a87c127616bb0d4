"""The three pipelines as lists of steps: which script runs on which files, in which order.

``gmm_run.py``, which the wrappers call, carries out the steps. All their commands can be typed by hand.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.features import types
from countermeasure.features.types import SILENCE
from countermeasure.gmm.models import BONAFIDE_FILE, TrainingRecord, has_models, model_files, read_model
from countermeasure.lists import names, provenance
from countermeasure.options import SPLITS
from countermeasure.trials.lines import LABELS
from countermeasure.trials.protocol import read_protocol

_HELD_OUT = ("dev", "eval")
_ASV_SCORES = "ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
TRAINING = ("gmm_train_recur", "gmm_ensemble_train", "gmm_filelevel_train")
# Environment variables with further options of the scripts.
OPTIONS = {
    "gmm_train_recur": "TRAIN_OPTIONS",
    "gmm_ensemble_train": "ENSEMBLE_OPTIONS",
    "gmm_filelevel_train": "FILELEVEL_OPTIONS",
    "score_eval": "EVALUATION_OPTIONS",
}


@dataclass(frozen=True)
class Step:
    """Commands that belong together.

    Attributes
    ----------
    heading : str
    commands : list of list of str
        Names of scripts and their arguments.
    links : mapping of Path to list of Path
        Folders that are made to hold links to these paths and nothing else before the commands run.
    built_on : list of Path
        Folders of the models whose scores a fusion is trained on.
    tells : bool
        Whether messages of the scripts are shown.
    may_fail : bool
        Whether the pipeline continues after an InputError.
    """

    heading: str
    commands: list[list[str]]
    links: Mapping[Path, list[Path]] = field(default_factory=dict)
    built_on: list[Path] = field(default_factory=list)
    tells: bool = True
    may_fail: bool = False


@dataclass(frozen=True)
class Settings:
    """The settings of a run from the environment, see ``gmm_run.py -h``; `workers` and `options` are arguments."""

    la: Path = Path("LA")
    work: Path = Path()
    run: str = ""
    always_fused: bool = False
    workers: Sequence[str] = ()
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read environment variables; raise InputError for a wrong value."""
        given = {name: value for name, value in environment.items() if value}
        options = {}
        for script, name in OPTIONS.items():
            try:
                options[script] = shlex.split(given.get(name, ""))
            except ValueError as error:
                raise InputError(f"{name}={given[name]}: {error}") from None
        if _one_of(given, "RESTART", "0", "1") == "1":
            for script in TRAINING:
                options[script].append("--restart")
        workers = ["--n_jobs", given["JOBS"]] if "JOBS" in given else []
        if "DASK" in given:
            workers = ["--dask", given["DASK"]]
        run = given.get("RUN", "")
        if types.is_name(run) or not re.fullmatch(r"(\w[\w.+-]*)?", run):
            raise InputError(f"RUN={run}: give a short name of letters, digits and _ . + - that is no feature type")
        fusion = _one_of(given, "FUSION", "auto", "always")
        work, la = _shortest(given.get("WORK", "")), _shortest(given.get("LA", "LA"))
        return cls(la, work, run, fusion == "always", workers, options)


def _shortest(path: str) -> Path:
    """Return a path inside the current folder relative to it."""
    here = Path.cwd()
    return Path(path).relative_to(here) if Path(path).is_relative_to(here) else Path(path)


def _one_of(given: Mapping[str, str], name: str, *values: str) -> str:
    value = given.get(name, values[0])
    if value not in values:
        raise InputError(f"{name}={value}: must be {' or '.join(values)}")
    return value


class _System(NamedTuple):
    """A base model, or a fusion of its members' scores, whose lists are linked into ``experiment/COLUMNS``."""

    name: str
    train: str  # names of scripts
    test: str
    score: str = ""  # for a fusion
    columns: str = ""
    members: Sequence[_System] = ()
    whole_files: bool = False  # a fusion of file scores


class Pipelines:
    """The steps for some feature types.

    Parameters
    ----------
    ftypes : sequence of str
        Frame-level types, and perhaps ``silence``, in any order.
    settings : Settings

    Raises
    ------
    InputError
        If a type is unknown or given twice, or if the types' windows differ.
    """

    def __init__(self, ftypes: Sequence[str], settings: Settings):
        self._framed = _frame_level_types(ftypes)
        self._silence = [SILENCE] * (SILENCE in ftypes)
        self._settings = settings
        self._data = settings.work / "data"
        self._model, self._score_lists, self._experiment, self._output = (
            settings.work / name / settings.run for name in ("model", "ensemble", "experiment", "output")
        )
        scripts = "gmm_train_recur", "gmm_test", "gmm_ensemble_preprocess"
        self._systems = [_System(ftype, *scripts) for ftype in self._framed]
        self._is_fused = len(self._framed) > 1 or (settings.always_fused and bool(self._framed))
        if self._is_fused:
            joined = "+".join(self._framed)
            scripts = "gmm_ensemble_train", "gmm_ensemble_test", "gmm_filelevel_preprocess"
            frames = _System(f"ensemble-{joined}", *scripts, joined, tuple(self._systems))
            name = "+".join([f"filelevel-{joined}", *self._silence])
            filelevel = "gmm_filelevel_train", "gmm_filelevel_test"
            files = _System(name, *filelevel, columns=name, members=[frames], whole_files=True)
            self._systems += [frames, files]
        self._names = [system.name for system in self._systems]

    def preprocess(self) -> Iterator[Step]:
        """Yield the steps that make ``data/SPLIT/SPLIT-TYPE.pkl`` of each type and split.

        Raises
        ------
        InputError
            Before the first step, if a folder or protocol of the data set is missing.
        """
        ftypes = [*self._framed, *self._silence]
        audio = {split: self._settings.la / f"ASVspoof2019_LA_{split}" / "flac" for split in SPLITS}
        _check_data_set(*audio.values(), *map(self._protocol, SPLITS))
        for split in SPLITS:
            places = {"data_path": audio[split], "label_path": self._protocol(split), "output_path": self._data / split}
            command = self._command("gmm_data_processing", data_split=split, **places, ftype=ftypes)
            yield Step(f"features of {split}: {' '.join(ftypes)}", [command])

    def train(self) -> Iterator[Step]:
        """Yield the steps that train the base models and, with two types or more, their fusions.

        Raises
        ------
        InputError
            Before the first step, if a list is missing.
        """
        self._check_lists(SPLITS if self._is_fused else SPLITS[:1])
        if self._silence and not self._is_fused:
            cli.log("silence takes part in file-level fusion only: name a second type, or set FUSION=always")
        for system in self._systems:
            if system.members:
                scoring = [self._scoring_for_fusion(member, split) for member in system.members for split in SPLITS]
                what = "file" if system.whole_files else "frame"
                members = " ".join(member.name for member in system.members)
                yield Step(f"{what} scores of {members}", scoring, tells=False)
            command = self._command(system.train, **self._lists(system, "train"), model_path=self._model / system.name)
            built_on = [self._model / member.name for member in system.members]
            yield Step(f"train {system.name}", [command], self._links(system), built_on)

    def test(self) -> Iterator[Step]:
        """Yield the steps that score dev and eval with every system and calibrate it on dev.

        Raises
        ------
        InputError
            Before the first step, if models, lists or protocols are missing.
        """
        for system in self._systems:
            if not has_models(self._model / system.name):
                raise InputError(f"{self._model / system.name}: no models in it; {self._made_by('train')}")
        self._check_lists(_HELD_OUT)
        _check_data_set(*map(self._protocol, _HELD_OUT))
        for name in self._outdated():
            again = self._made_by("train")
            cli.warn(f"{self._model / name}: the fusions use an older training of it; with RESTART=1, {again}")
        scoring = [self._scoring(system, split) for split in _HELD_OUT for system in self._systems]
        yield Step(f"score dev and eval: {' '.join(self._names)}", scoring, tells=False)
        if "dev" in self._labelled:
            calibrating = [
                self._command("gmm_calibrate", cm_score=self._score_file(name, "dev"), model_path=self._model / name)
                for name in self._names
            ]
            yield Step("calibrate on dev", calibrating, tells=False, may_fail=True)

    def results(self) -> list[str] | None:
        """Return the command that shows the results in one table; None if neither dev nor eval has labels."""
        if not self._labelled:
            return None
        *others, shown = self._labelled
        files = {split: [self._score_file(name, split) for name in self._names] for split in self._labelled}
        more: dict[str, object] = {split: files[split] for split in others}
        asv_scores = self._settings.la / _ASV_SCORES
        if shown == "eval" and asv_scores.is_file():
            more["asv_score"] = asv_scores
        return self._command("score_eval", cm_score=files[shown], name=self._names, **more)

    # -- commands and files ------------------------------------------------------------------------------

    def _command(self, script: str, **options: object) -> list[str]:
        words = [script]
        for name, value in options.items():
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        more = self._settings.options.get(script, ())
        if owned := [word for word in more if word.partition("=")[0] in words]:
            raise InputError(f"{OPTIONS[script]}: {owned[0]} is given by this pipeline; leave it out")
        workers = [] if script in ("gmm_calibrate", "score_eval") else self._settings.workers
        return [*words, *workers, *more]

    def _scoring(self, system: _System, split: str) -> list[str]:
        bonafide, spoof = model_files(self._model / system.name)
        models = {"model_path_bon": bonafide, "model_path_sp": spoof}
        output = {"label_path": self._protocol(split), "output_path": self._score_file(system.name, split)}
        return self._command(system.test, **self._lists(system, split), **models, **output)

    def _scoring_for_fusion(self, system: _System, split: str) -> list[str]:
        models = {"model_path": self._model / system.name, "model_name": system.name}
        output = self._score_lists / system.name
        lists = self._lists(system, split)
        return self._command(system.score, data_split=split, **lists, **models, output_path=output)

    def _lists(self, system: _System, split: str) -> dict[str, Path]:
        """Return the option with a system's lists of a split."""
        if system.members:
            return {"data_dir": self._experiment / system.columns / split}
        return {"data_path": self._list(split, system.name)}

    def _links(self, system: _System) -> dict[Path, list[Path]]:
        """Return the lists to link into the folders of a fusion's columns."""
        folder = self._experiment / system.columns
        silence = self._silence if system.whole_files else []
        return {
            folder / split: [
                *(path for member in system.members for path in self._scores(member, split)),
                *(self._list(split, ftype) for ftype in silence),
            ]
            for split in SPLITS
            if system.members
        }

    def _scores(self, member: _System, split: str) -> list[Path]:
        """Return the score lists that a system contributes to a fusion."""
        folder = self._score_lists / member.name / split
        return [folder / names.score_list(member.name, side, split, bool(member.members)) for side in names.SIDES]

    def _list(self, split: str, ftype: str) -> Path:
        return self._data / split / names.feature_list(split, ftype)

    def _protocol(self, split: str) -> Path:
        ending = "trn" if split == "train" else "trl"
        return self._settings.la / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{ending}.txt"

    def _score_file(self, name: str, split: str) -> Path:
        return self._output / f"{name}-{split}.txt"

    # -- what is there -----------------------------------------------------------------------------------

    @cached_property
    def _labelled(self) -> list[str]:
        """Which of dev and eval have trials of both classes."""
        labels = {split: {trial.label for trial in read_protocol(self._protocol(split))} for split in _HELD_OUT}
        return [split for split in _HELD_OUT if labels[split] >= set(LABELS)]

    def _outdated(self) -> Iterator[str]:
        """Yield the members that were trained again after a fusion of their scores."""
        for fusion in self._systems[len(self._framed) :]:
            used = {source.model for source in self._record(fusion).inputs if source} - {None}
            now = {member.name: self._record(member).training_id for member in fusion.members}
            yield from (name for name, training in now.items() if used and training and training not in used)

    def _record(self, system: _System) -> TrainingRecord:
        return read_model(self._model / system.name / BONAFIDE_FILE).record

    def _check_lists(self, splits: Sequence[str]) -> None:
        """Check that the lists are there and, by their records, made from one protocol per split."""
        if not self._framed:
            raise InputError("silence has no base model; name frame-level types with it")
        for split in splits:
            digests = {}
            for ftype in [*self._framed, *(self._silence if self._is_fused else [])]:
                path = self._list(split, ftype)
                if not path.exists():
                    raise InputError(f"{path}: no such file; {self._made_by('preprocess')}")
                if record := provenance.read(path):
                    digests[record.protocol_sha256] = path
            if len(digests) > 1:
                one, other, *_ = digests.values()
                raise InputError(f"{one} and {other.name} are of different protocols; {self._made_by('preprocess')}")

    def _made_by(self, pipeline: str) -> str:
        ftypes = " ".join([*self._framed, *self._silence])
        called = f"./{pipeline}.sh" if sys.argv[0].endswith(".py") else f"gmm_run {pipeline}"
        return f"run {called} {ftypes}"


def _check_data_set(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: not there; give the place of the data set by LA=FOLDER")


def _frame_level_types(ftypes: Sequence[str]) -> list[str]:
    """Return the frame-level types of a call in alphabetical order."""
    windows = {name: types.window(name) for name in sorted(ftypes)}
    if len(windows) < len(ftypes):
        raise InputError(f"{' '.join(ftypes)}: a feature type is named twice; name each once")
    framed = [name for name, window in windows.items() if window is not None]
    for name in framed[1:]:
        if windows[name] != windows[framed[0]]:
            raise InputError(
                f"{framed[0]} and {name} have different windows, so their frames cannot be fused; "
                "choose types of one window: all with -25 or all without"
            )
    return framed
