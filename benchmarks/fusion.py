"""Compare ways to fuse base models, on a data set small enough to train them many times over.

  python -m benchmarks.fusion ./LA
  python -m benchmarks.fusion ./LA --ftype mfcc lfcc --n_components 512 --repetitions 1

Each system is tested on the data set's own splits and in rotation: speakers are divided into four groups, two of
which train, one is the development set and one is tested, in turns. Attacks that are unknown to the training set are
also left out of training in rotation. A data set without eval is tested on dev; one without speakers has no rotation.
Systems are compared with the member that has the lowest EER on dev. Other rules for file-level fusion are compared with
the default over the same columns: the two log-likelihoods of the frame-level fusion, as in `train.sh` (`fusion`), or
those of each base model (`members`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import gmm_data_processing
from countermeasure import cli
from countermeasure.gmm import logistic
from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters
from countermeasure.lists.pickles import ListWriter, read_list
from countermeasure.options import SPLITS, TrainingOptions
from countermeasure.stages import training
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import read_protocol
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER
from tDCF_python.intervals import Influence, Interval

N_GROUPS = 4
AVERAGED = ("value", "corrected", "own", "others")
SILENCE = "silence"
BEST = "member best on dev"
DEFAULT = "default"
LOGISTIC = "logistic regression"
Mixtures = tuple[Parameters, Parameters]  # of bona fide and of spoofed speech
Division = dict[str, np.ndarray]  # numbers of trials by split
Systems = dict[str, np.ndarray]  # a score for each trial of the corpus


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("path", metavar="LA", help="the data set, in the layout of ASVspoof 2019 LA")
    parser.add_argument("--ftype", nargs="+", default=["mfcc", "lfcc"], help="members (default: %(default)s)")
    parser.add_argument("--n_components", type=int, default=64, help="of the base models (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=2, help="seeds of groups and models (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.read(Path(args.path), args.ftype, Path(folder))
        benches = [Bench(corpus, args.n_components, seed, Path(folder)) for seed in range(args.repetitions)]
        print(f"{' '.join(args.ftype)}, {args.n_components} components, {args.repetitions} repetitions")
        corpus.report("own splits", [corpus.tested([corpus.division()], one.systems) for one in benches])
        if corpus.rotates:
            corpus.report("rotation", [corpus.tested(corpus.rotation(one.seed), one.systems) for one in benches])
    return 0


@dataclass(frozen=True)
class Corpus:
    """All splits of a data set, one after another.

    Attributes
    ----------
    trials : list of Trial
    splits, speakers : array of str, [n_trials]
    is_bonafide, is_known : array of bool, [n_trials]
        Known: bona fide, or of an attack that the training set has.
    features : dict from type to list of array [frames, D]
    """

    trials: list[Trial]
    splits: np.ndarray
    speakers: np.ndarray
    is_bonafide: np.ndarray
    is_known: np.ndarray
    features: dict[str, list[np.ndarray]]

    @classmethod
    def read(cls, path: Path, ftypes: Sequence[str], folder: Path) -> Corpus:
        trials: list[Trial] = []
        splits: list[str] = []
        features: dict[str, list] = {ftype: [] for ftype in (*ftypes, SILENCE)}
        for split in SPLITS:
            ending = "trn" if split == "train" else "trl"
            protocol = path / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{ending}.txt"
            if split == "eval" and not protocol.is_file():
                continue
            audio = path / f"ASVspoof2019_LA_{split}" / "flac"
            gmm_data_processing.main(
                ["--data_split", split, "--data_path", str(audio), "--label_path", str(protocol),
                 "--output_path", str(folder / "features"), "--ftype", *features]
            )  # fmt: skip
            trials += read_protocol(protocol)
            splits += [split] * (len(trials) - len(splits))
            for ftype, arrays in features.items():
                arrays += [array for array, _ in read_list(folder / "features" / f"{split}-{ftype}.pkl")]
        known = {trial.attack for trial, split in zip(trials, splits, strict=True) if split == "train"}
        return cls(
            trials,
            np.array(splits),
            np.array([trial.speaker or "" for trial in trials]),
            np.array([trial.label == "bonafide" for trial in trials]),
            np.array([trial.attack in known for trial in trials]),
            features,
        )

    @property
    def rotates(self) -> bool:
        """Whether there are enough speakers for a rotation."""
        return len(np.unique(self.speakers)) >= N_GROUPS

    def division(self) -> Division:
        """Return the data set's own splits."""
        found = {split: np.flatnonzero(self.splits == split) for split in SPLITS}
        return found if len(found["eval"]) else {**found, "eval": found["dev"]}

    def rotation(self, seed: int) -> Iterator[Division]:
        """Yield divisions by speakers in which each trial is tested once."""
        names = np.random.default_rng(seed).permutation(np.unique(self.speakers))
        group_of = {name: i % N_GROUPS for i, name in enumerate(names)}
        groups = np.array([group_of[speaker] for speaker in self.speakers])
        for test in range(N_GROUPS):
            dev = (test + 1) % N_GROUPS
            train = ~np.isin(groups, (test, dev)) & self.is_known
            divided = {"train": train, "dev": (groups == dev) & self.is_known, "eval": groups == test}
            yield {split: np.flatnonzero(chosen) for split, chosen in divided.items()}

    def tested(self, divisions: Iterable[Division], systems: Callable[[Division], Systems]) -> dict[str, Systems]:
        """Return each system's scores on dev and eval, NaN for trials that no division has there."""
        found: dict[str, Systems] = {"dev": {}, "eval": {}}
        for division in divisions:
            for name, scores in systems(division).items():
                for split, tested in found.items():
                    items = division[split]
                    tested.setdefault(name, np.full(len(self.trials), np.nan))[items] = scores[items]
        return found

    def report(self, title: str, repetitions: list[dict[str, Systems]]) -> None:
        """Print EERs on dev and eval, and the differences from the reference on eval, with intervals of 95 %."""
        dev, test = (self._influences([one[split] for one in repetitions]) for split in ("dev", "eval"))
        print(f"\n{title}, intervals over {test[BEST].over}\n")
        print("| system | dev | 95 % | eval | 95 % | less its reference | 95 % |\n|---|---|---|---|---|---|---|")
        for name, found in test.items():
            columns, _, rule = name.partition(": ")
            reference = test[f"{columns}: {DEFAULT}" if rule and rule != DEFAULT else BEST]
            cells = [name]
            for one in (dev[name], found):
                cells += [f"{100 * one.value:.1f}", span(intervals.interval(one))]
            difference = intervals.compare(reference, found)[0]
            cells += [f"{100 * (found.value - reference.value):+.1f}", span(difference, "+")]
            print(f"| {' | '.join(cells)} |", flush=True)

    def _influences(self, repetitions: list[Systems]) -> dict[str, Influence]:
        """Return each system's EER, the mean of the repetitions, and its influences for an interval."""
        items = np.flatnonzero(np.isfinite(repetitions[0][BEST]))
        is_bonafide = self.is_bonafide[items]
        trials = [self.trials[item] for item in items]
        speakers, utterances = [trial.speaker for trial in trials], [trial.utterance for trial in trials]
        units = intervals.choose_units(speakers, utterances, is_bonafide)
        return {
            name: mean_influence(
                [intervals.influences(one[name][items], is_bonafide, units, {})[EER] for one in repetitions]
            )
            for name in repetitions[0]
        }


def mean_influence(influences: list[Influence]) -> Influence:
    """Return the influence of a figure's mean over systems on the same trials."""
    means = {name: np.mean([getattr(one, name) for one in influences], axis=0) for name in AVERAGED}
    return influences[0]._replace(**means)


class Bench:
    """Base models and fusions of one seed."""

    def __init__(self, corpus: Corpus, n_components: int, seed: int, folder: Path):
        self.seed = seed
        self._corpus, self._n_components, self._folder = corpus, n_components, folder

    def systems(self, division: Division) -> Systems:
        """Train all systems, those of `train.sh` and others; return their scores."""
        train = division["train"]
        frames = self.members(train)
        files = {ftype: _means(arrays) for ftype, arrays in frames.items()}
        llrs = {ftype: _llr(one) for ftype, one in files.items()}
        fused = [np.hstack(arrays) for arrays in zip(*frames.values(), strict=True)]
        frame_level = _means(_scored(self._mixtures(fused, train, 64), fused))
        silence = np.vstack(self._corpus.features[SILENCE])
        found = self.frame_level(llrs, division) | {"frame-level mixtures": _llr(frame_level)}
        fusions = {"fusion": {"fused": frame_level}, "members": files}
        for what, scores in fusions.items():
            names = [f"{name}-{side}" for name in scores for side in ("bon", "sp")]
            rows = np.hstack(list(scores.values()))
            with_silence = np.hstack([rows, silence]), [*names, SILENCE, SILENCE]
            for columns, table in ((what, (rows, names)), (f"{what} + {SILENCE}", with_silence)):
                found |= {f"{columns}: {rule}": one for rule, one in self.file_level(*table, train).items()}
        return found

    def members(self, train: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Train base models; return for each type the log-likelihoods of each trial, arrays [frames, 2]."""
        n = self._n_components
        return {
            ftype: _scored(self._mixtures(arrays, train, n), arrays)
            for ftype, arrays in self._corpus.features.items()
            if ftype != SILENCE
        }

    def frame_level(self, llrs: Systems, division: Division) -> Systems:
        """Return the scores of the members and of fusions of their LLRs."""
        columns = np.column_stack(list(llrs.values()))
        dev, is_bonafide = columns[division["dev"]], self._corpus.is_bonafide[division["dev"]]
        best = np.argmin([metrics.eer(*pair)[0] for pair in zip(dev[is_bonafide].T, dev[~is_bonafide].T, strict=True)])
        found = {**llrs, BEST: columns[:, best], "mean of LLRs": columns.mean(axis=1)}
        is_bonafide = self._corpus.is_bonafide[division["train"]]
        weights, offset = logistic.fit(columns[division["train"]], is_bonafide, 1.0)
        return {**found, LOGISTIC: columns @ weights + offset}

    def file_level(self, rows: np.ndarray, names: list[str], train: np.ndarray) -> Systems:
        """Return the scores of file-level fusions of one row per file, array [n_trials, D], by each rule."""
        paired = rows @ logistic.pairing(names)
        found: Systems = {}
        for rule, table, n in ((DEFAULT, rows, None), ("2 components", rows, 2), ("default over LLRs", paired, None)):
            arrays = [row[None] for row in table]
            found[rule] = _llr(np.vstack(_scored(self._mixtures(arrays, train, n), arrays)))
        weights, offset = logistic.fit(paired[train], self._corpus.is_bonafide[train], 1.0)
        return {**found, LOGISTIC: paired @ weights + offset}

    def _mixtures(self, arrays: Sequence[np.ndarray], train: np.ndarray, n_components: int | None) -> Mixtures:
        """Train with the suite's own stage."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name, quiet():
            with ListWriter(Path(name) / "lists" / "train.pkl") as out:
                for i in train:
                    out.append(arrays[i], self._corpus.trials[i].label)
            settings = TrainingOptions(seed=self.seed, n_components=n_components)
            pair = training.train_fusion(Path(name) / "lists", Path(name) / "model", settings, True, in_memory=True)
        return pair.bonafide.parameters, pair.spoof.parameters


def _scored(mixtures: Mixtures, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    kernels = [Kernel.of_raw(parameters) for parameters in mixtures]
    return [np.column_stack([kernel.log_likelihoods(array) for kernel in kernels]) for array in arrays]


def _means(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([array.mean(axis=0) for array in arrays])


def _llr(log_likelihoods: np.ndarray) -> np.ndarray:
    return log_likelihoods[:, 0] - log_likelihoods[:, 1]


def span(found: Interval, sign: str = "") -> str:
    """Return an interval in per cent, or the reason why there is none."""
    if found.low is None or found.high is None:
        return found.reason
    return f"{100 * found.low:{sign}.1f} to {100 * found.high:{sign}.1f}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the messages of the stages."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    cli.run(main)
