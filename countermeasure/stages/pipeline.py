"""The three pipelines as lists of steps: which script runs on which files, in which order.

``preprocess.sh``, ``train.sh``, ``test.sh`` and ``gmm_run.py`` carry the steps out; each of their commands is one
that could be typed by hand.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.features import types
from countermeasure.gmm.models import BONAFIDE_FILE, has_models, model_files, read_model
from countermeasure.lists import names, provenance
from countermeasure.options import SPLITS
from countermeasure.trials.lines import LABELS
from countermeasure.trials.protocol import read_protocol

SILENCE = "silence"
_HELD_OUT = ("dev", "eval")
_ASV_SCORES = "ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"


@dataclass(frozen=True)
class Step:
    """Commands that belong together.

    Attributes
    ----------
    heading : str
    commands : list of list of str
        Each the name of a script and its arguments.
    links : mapping from folder to paths
        Before the commands, each folder is made to hold links to these paths and nothing else.
    stands_on : list of Path
        Folders of the models whose scores a fusion is trained on.
    tells : bool
        Whether what the scripts say is of interest, or the results to come say it all.
    may_fail : bool
        Whether the later steps do without it.
    """

    heading: str
    commands: list[list[str]]
    links: Mapping[Path, list[Path]] = field(default_factory=dict)
    stands_on: list[Path] = field(default_factory=list)
    tells: bool = True
    may_fail: bool = False


@dataclass(frozen=True)
class Settings:
    """What the environment says about a run.

    Attributes
    ----------
    la : Path
        The data set, in the layout of ASVspoof 2019 LA.
    work : Path
        Place of ``data``, ``model``, ``ensemble``, ``experiment`` and ``output``.
    run : str
        Name of the folder in each of them, ``data`` aside, that keeps this run apart from others; '' for none.
    always_fused : bool
        Whether a single type gets its fusions, too.
    workers : list of str
        Options of the scripts that say where to compute.
    options : mapping from a script's name to list of str
        Further options of the script.
    """

    la: Path = Path("LA")
    work: Path = Path()
    run: str = ""
    always_fused: bool = False
    workers: Sequence[str] = ()
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from environment variables; see ``gmm_run.py -h``.

        Raises
        ------
        InputError
            When a variable has a value that makes no sense.
        """
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
        return cls(
            _shortest(given.get("LA", "LA")),
            _shortest(given.get("WORK", "")),
            given.get("RUN", ""),
            _one_of(given, "FUSION", "auto", "always") == "always",
            workers,
            options,
        )


TRAINING = ("gmm_train_recur", "gmm_ensemble_train", "gmm_filelevel_train")
OPTIONS = {
    **dict(zip(TRAINING, ("TRAIN_OPTIONS", "ENSEMBLE_OPTIONS", "FILELEVEL_OPTIONS"), strict=True)),
    "score_eval": "EVALUATION_OPTIONS",
}


def _shortest(path: str) -> Path:
    """Return a path relative to the current folder where it lies in it."""
    here = Path.cwd()
    return Path(path).relative_to(here) if Path(path).is_relative_to(here) else Path(path)


def _one_of(given: Mapping[str, str], name: str, *values: str) -> str:
    value = given.get(name, values[0])
    if value not in values:
        raise InputError(f"{name}={value}: must be {' or '.join(values)}")
    return value


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
        When a type is unknown or given twice, when the types' windows differ, or when `run` is no name.
    """

    def __init__(self, ftypes: Sequence[str], settings: Settings):
        self.framed = _frame_level_types(ftypes)
        self._silence = [SILENCE] * (SILENCE in ftypes)
        _check_run(settings.run)
        self._settings = settings
        self._data = settings.work / "data"
        self._model, self._score_lists, self._experiment, self._output = (
            settings.work / name / settings.run for name in ("model", "ensemble", "experiment", "output")
        )
        self._joined = "+".join(self.framed)
        self.is_fused = len(self.framed) > 1 or (settings.always_fused and bool(self.framed))
        self._ensemble = f"ensemble-{self._joined}"
        self._filelevel = "+".join([f"filelevel-{self._joined}", *self._silence])
        self.systems = [*self.framed, *([self._ensemble, self._filelevel] if self.is_fused else [])]

    # -- preprocess ------------------------------------------------------------------------------------

    def preprocess(self) -> Iterator[Step]:
        """Yield the steps that make ``data/SPLIT/SPLIT-TYPE.pkl`` of each type and split.

        Raises
        ------
        InputError
            Before the first step, when a folder or protocol of the data set is not there.
        """
        ftypes = [*self.framed, *self._silence]
        audio = {split: self._settings.la / f"ASVspoof2019_LA_{split}" / "flac" for split in SPLITS}
        self._check_data_set(*audio.values(), *map(self.protocol, SPLITS))
        for split in SPLITS:
            places = {"data_path": audio[split], "label_path": self.protocol(split), "output_path": self._data / split}
            command = self._command("gmm_data_processing", data_split=split, **places, ftype=ftypes)
            yield Step(f"features of {split}: {' '.join(ftypes)}", [command])

    # -- train -----------------------------------------------------------------------------------------

    def train(self) -> Iterator[Step]:
        """Yield the steps that train the base models and, with two types or more, their fusions.

        Raises
        ------
        InputError
            Before the first step, when a list is missing.
        """
        self._check_framed()
        self._check_lists(SPLITS if self.is_fused else SPLITS[:1])
        if self._silence and not self.is_fused:
            cli.log("silence takes part in file-level fusion only: name a second type, or set FUSION=always")
        for ftype in self.framed:
            command = self._command(
                "gmm_train_recur", data_path=self._list("train", ftype), model_path=self._model / ftype
            )
            yield Step(f"train {ftype}", [command])
        if not self.is_fused:
            return

        columns = {split: [path for ftype in self.framed for path in self._scores(ftype, split)] for split in SPLITS}
        scoring = [self._frame_scores(ftype, split) for ftype in self.framed for split in SPLITS]
        yield Step(f"frame scores of {' '.join(self.framed)}", scoring, tells=False)
        yield self._fusion_training("gmm_ensemble_train", self._joined, self._ensemble, columns, self.framed)

        columns = {
            split: [*self._scores(self._ensemble, split), *(self._list(split, ftype) for ftype in self._silence)]
            for split in SPLITS
        }
        scoring = [self._file_scores(split) for split in SPLITS]
        yield Step(f"file scores of {self._ensemble}", scoring, tells=False)
        yield self._fusion_training("gmm_filelevel_train", self._filelevel, self._filelevel, columns, [self._ensemble])

    def _fusion_training(
        self, script: str, experiment: str, system: str, columns: Mapping[str, list[Path]], members: Sequence[str]
    ) -> Step:
        folder = self._experiment / experiment
        command = self._command(script, data_dir=folder / "train", model_path=self._model / system)
        links = {folder / split: columns[split] for split in SPLITS}
        return Step(f"train {system}", [command], links, [self._model / member for member in members])

    def _frame_scores(self, ftype: str, split: str) -> list[str]:
        data = {"data_split": split, "data_path": self._list(split, ftype), "model_path": self._model / ftype}
        output = self._score_lists / ftype
        return self._command("gmm_ensemble_preprocess", **data, model_name=ftype, output_path=output)

    def _file_scores(self, split: str) -> list[str]:
        name = self._ensemble
        data = {"data_split": split, "data_dir": self._experiment / self._joined / split}
        models = {"model_path": self._model / name, "model_name": name}
        return self._command("gmm_filelevel_preprocess", **data, **models, output_path=self._score_lists / name)

    def _scores(self, system: str, split: str) -> list[Path]:
        """Return the paths of the lists of scores that a system contributes to a fusion."""
        folder, whole = self._score_lists / system / split, system == self._ensemble
        return [folder / names.score_list(system, side, split, whole) for side in names.SIDES]

    # -- test ------------------------------------------------------------------------------------------

    def test(self) -> Iterator[Step]:
        """Yield the steps that score dev and eval with every system and calibrate it on dev.

        Raises
        ------
        InputError
            Before the first step, when models, lists or protocols are missing.
        """
        self._check_framed()
        for system in self.systems:
            if not has_models(self._model / system):
                raise InputError(f"{self._model / system}: no models in it; {self._made_by('train')}")
        self._check_lists(_HELD_OUT)
        self._check_data_set(*map(self.protocol, _HELD_OUT))
        for system in self._outdated():
            cli.warn(f"{self._model / system}: the fusions stand on an older training of it; {self._made_by('train')}")
        scoring = [self._scoring(system, split) for split in _HELD_OUT for system in self.systems]
        yield Step(f"score dev and eval: {' '.join(self.systems)}", scoring, tells=False)
        if "dev" in self._labelled:
            calibrating = [
                _command("gmm_calibrate", cm_score=self.score_file(system, "dev"), model_path=self._model / system)
                for system in self.systems
            ]
            yield Step("calibrate on dev", calibrating, tells=False, may_fail=True)

    def results(self) -> list[str] | None:
        """Return the command that shows the results in one table; None where neither dev nor eval has labels."""
        if not self._labelled:
            return None
        *others, shown = self._labelled
        files = {split: [self.score_file(system, split) for system in self.systems] for split in self._labelled}
        more: dict[str, object] = {split: files[split] for split in others}
        asv_scores = self._settings.la / _ASV_SCORES
        if shown == "eval" and asv_scores.is_file():
            more["asv_score"] = asv_scores
        return self._command("score_eval", cm_score=files[shown], name=self.systems, **more)

    def _scoring(self, system: str, split: str) -> list[str]:
        bonafide, spoof = model_files(self._model / system)
        models = {"model_path_bon": bonafide, "model_path_sp": spoof}
        output = {"label_path": self.protocol(split), "output_path": self.score_file(system, split)}
        if system in self.framed:
            return self._command("gmm_test", data_path=self._list(split, system), **models, **output)
        script, name = (
            ("gmm_ensemble_test", self._joined) if system == self._ensemble else ("gmm_filelevel_test", system)
        )
        return self._command(script, data_dir=self._experiment / name / split, **models, **output)

    @cached_property
    def _labelled(self) -> list[str]:
        """Those of dev and eval that have labelled trials of both classes."""
        labels = {split: {trial.label for trial in read_protocol(self.protocol(split))} for split in _HELD_OUT}
        return [split for split in _HELD_OUT if labels[split] >= set(LABELS)]

    def _outdated(self) -> Iterator[str]:
        """Yield the systems whose models are not those that gave the score lists which the fusions stand on."""
        for system in self.systems[:-1] if self.is_fused else []:
            now = read_model(self._model / system / BONAFIDE_FILE).record.get("training_id")
            path = self._scores(system, "dev")[0]
            record = provenance.read(path) if path.exists() else None
            if now and record and record.model.get("training_id", now) != now:
                yield system

    # -- what all share --------------------------------------------------------------------------------

    def protocol(self, split: str) -> Path:
        """Return the path of a split's protocol."""
        ending = "trn" if split == "train" else "trl"
        return self._settings.la / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{ending}.txt"

    def score_file(self, system: str, split: str) -> Path:
        """Return the path of a system's score file."""
        return self._output / f"{system}-{split}.txt"

    def _list(self, split: str, ftype: str) -> Path:
        return self._data / split / names.feature_list(split, ftype)

    def _command(self, script: str, **options: object) -> list[str]:
        workers = [] if script == "score_eval" else self._settings.workers
        return [*_command(script, **options), *workers, *self._settings.options.get(script, ())]

    def _check_framed(self) -> None:
        if not self.framed:
            raise InputError("silence has no base model; name frame-level types with it")

    def _check_data_set(self, *paths: Path) -> None:
        for path in paths:
            if not path.exists():
                raise InputError(f"{path}: not there; give the place of the data set by LA=FOLDER")

    def _check_lists(self, splits: Sequence[str]) -> None:
        """Check that the lists are there, and those of a split made from one protocol as far as they say."""
        for split in splits:
            ftypes = [*self.framed, *(self._silence if self.is_fused else [])]
            digests = {}
            for path in (self._list(split, ftype) for ftype in ftypes):
                if not path.exists():
                    raise InputError(f"{path}: no such file; {self._made_by('preprocess')}")
                if record := provenance.read(path):
                    digests[record.protocol_sha256] = path
            if len(digests) > 1:
                one, other, *_ = digests.values()
                raise InputError(f"{one} and {other.name} are of different protocols; {self._made_by('preprocess')}")

    def _made_by(self, pipeline: str) -> str:
        ftypes = " ".join([*self.framed, *self._silence])
        called = f"./{pipeline}.sh" if sys.argv[0].endswith(".py") else f"gmm_run {pipeline}"
        return f"{called} {ftypes} makes it"


def _command(script: str, **options: object) -> list[str]:
    words = [script]
    for name, value in options.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


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


def _check_run(run: str) -> None:
    """Check that a run's folder is none of another run's models."""
    if not run:
        return
    is_system = run.startswith(("ensemble-", "filelevel-")) or types.is_name(run)
    if is_system or not re.fullmatch(r"[A-Za-z0-9_][\w.+-]*", run):
        raise InputError(f"RUN={run}: give a short name of letters, digits and _ . + - that is no feature type")
