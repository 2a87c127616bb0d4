"""Compare ways to fuse base models, on a data set small enough to train them many times over.

  python -m benchmarks.fusion ./LA
  python -m benchmarks.fusion ./LA --ftype mfcc lfcc --n_components 512 --repetitions 1

Each system is tested on the data set's own division and in rotation: all speakers are dealt into four hands, two of
which train, one is the development set and one is tested, in turns. Attacks that the training set does not have stay
unknown to the training in rotation, too. A data set without eval is tested on dev, one that names no speakers only so.
Systems are compared with the member that has the lowest EER on dev, since nobody can choose by the test set; rules for
file-level fusion with the suite's own default over the same columns. These are the two log-likelihoods of the
frame-level fusion, as `train.sh` has them (`fusion`), or those of each base model (`members`).
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

N_HANDS = 4
SILENCE = "silence"
BEST = "member best on dev"
DEFAULT = "default"
LOGISTIC = "logistic regression, l2 {:g}"
Mixtures = tuple[Parameters, Parameters]  # of bona fide and of spoofed speech
Division = dict[str, np.ndarray]  # numbers of trials by split
Systems = dict[str, np.ndarray]  # a score for each trial of the corpus


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("path", metavar="LA", help="the data set, in the layout of ASVspoof 2019 LA")
    parser.add_argument("--ftype", nargs="+", default=["mfcc", "lfcc"], help="members (default: %(default)s)")
    parser.add_argument("--n_components", type=int, default=64, help="of the base models (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=2, help="deals and seeds (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.read(Path(args.path), args.ftype, Path(folder))
        benches = [Bench(corpus, args.n_components, seed, Path(folder)) for seed in range(args.repetitions)]
        print(f"{' '.join(args.ftype)}, {args.n_components} components, {args.repetitions} repetitions")
        corpus.report("own division", [corpus.tested([corpus.division()], one.systems) for one in benches])
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
        """Whether there is a speaker at least for each hand."""
        return len(np.unique(self.speakers)) >= N_HANDS

    def division(self) -> Division:
        """Return the data set's own division."""
        found = {split: np.flatnonzero(self.splits == split) for split in SPLITS}
        return found if len(found["eval"]) else {**found, "eval": found["dev"]}

    def rotation(self, seed: int) -> Iterator[Division]:
        """Yield divisions by speakers in which each trial is tested once."""
        names = np.random.default_rng(seed).permutation(np.unique(self.speakers))
        hand = {name: i % N_HANDS for i, name in enumerate(names)}
        hands = np.array([hand[speaker] for speaker in self.speakers])
        for test in range(N_HANDS):
            dev = (test + 1) % N_HANDS
            train = ~np.isin(hands, (test, dev)) & self.is_known
            divided = {"train": train, "dev": (hands == dev) & self.is_known, "eval": hands == test}
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
        """Return each system's EER, mean of the repetitions, with what its interval is computed from."""
        items = np.flatnonzero(np.isfinite(repetitions[0][BEST]))
        is_bonafide = self.is_bonafide[items]
        utterances = np.array([trial.utterance for trial in self.trials])[items]
        units = intervals.choose_units(self.speakers[items].astype("S"), utterances.astype("S"), is_bonafide)
        return {
            name: intervals.mean(
                [intervals.influences(one[name][items], is_bonafide, units, {})[EER] for one in repetitions]
            )
            for name in repetitions[0]
        }


class Bench:
    """Base models and fusions of one seed."""

    def __init__(self, corpus: Corpus, n_components: int, seed: int, folder: Path):
        self.seed = seed
        self._corpus, self._n_components, self._folder = corpus, n_components, folder

    def systems(self, division: Division) -> Systems:
        """Train on train and dev, as `train.sh` does and by other rules; return each system's scores."""
        train = division["train"]
        frames = self.members(train)
        files = {ftype: _means(arrays) for ftype, arrays in frames.items()}
        llrs = {ftype: _llr(one) for ftype, one in files.items()}
        fused = [np.hstack(arrays) for arrays in zip(*frames.values(), strict=True)]
        frame_level = _means(_scored(self._mixtures(fused, train, n_components=64), fused))
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
        """Train base models; return the log-likelihoods, array [frames, 2], of each trial under each type's two."""
        n = self._n_components
        return {
            ftype: _scored(self._mixtures(arrays, train, n_components=n), arrays)
            for ftype, arrays in self._corpus.features.items()
            if ftype != SILENCE
        }

    def frame_level(self, llrs: Systems, division: Division) -> Systems:
        """Return the scores of members and of what can be made of their LLRs alone."""
        columns = np.column_stack(list(llrs.values()))
        dev, is_bonafide = columns[division["dev"]], self._corpus.is_bonafide[division["dev"]]
        best = np.argmin([metrics.eer(*pair)[0] for pair in zip(dev[is_bonafide].T, dev[~is_bonafide].T, strict=True)])
        found = {**llrs, BEST: columns[:, best], "mean of LLRs": columns.mean(axis=1)}
        is_bonafide = self._corpus.is_bonafide[division["train"]]
        for l2 in (0.01, 0.1, 1.0):
            weights, offset = logistic.fit(columns[division["train"]], is_bonafide, l2)
            found[LOGISTIC.format(l2)] = columns @ weights + offset
        return found

    def file_level(self, rows: np.ndarray, names: list[str], train: np.ndarray) -> Systems:
        """Return the scores of file-level fusions of a row a file, array [n_trials, D], by each rule."""
        is_bonafide = self._corpus.is_bonafide[train]
        paired = rows @ logistic.pairing(names)
        found: Systems = {}
        for what, table in (("", rows), ("LLRs, ", paired)):
            arrays = [row[None] for row in table]
            mixtures = {
                DEFAULT: self._mixtures(arrays, train, n_components=None),
                "2 components": self._mixtures(arrays, train, n_components=2),
                "4 components": self._mixtures(arrays, train, n_components=4),
                "4 components, --var_floor 0.5": self._mixtures(arrays, train, n_components=4, var_floor=0.5),
                "1 component, variances half pooled": gaussians(table[train], is_bonafide, 0.5),
                "1 component, variances pooled": gaussians(table[train], is_bonafide, 1.0),
            }
            found |= {what + rule: _llr(np.vstack(_scored(pair, arrays))) for rule, pair in mixtures.items()}
        weights, offset = logistic.fit(paired[train], is_bonafide, 1.0)
        return {**found, LOGISTIC.format(1): paired @ weights + offset}

    def _mixtures(self, arrays: Sequence[np.ndarray], train: np.ndarray, **options: float | None) -> Mixtures:
        """Train with the suite's own stage."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name, quiet():
            with ListWriter(Path(name) / "lists" / "train.pkl") as out:
                for i in train:
                    out.append(arrays[i], self._corpus.trials[i].label)
            settings = TrainingOptions(seed=self.seed, **options)  # type: ignore[arg-type]
            pair = training.train_fusion(Path(name) / "lists", Path(name) / "model", settings, True, in_memory=True)
        return pair.bonafide.parameters, pair.spoof.parameters


def gaussians(rows: np.ndarray, is_bonafide: np.ndarray, shrinkage: float) -> Mixtures:
    """Return a Gaussian a class; variances from each class's own, at 0, to those of both around their means, at 1.

    Source: J. Friedman, Regularized discriminant analysis, JASA 84, 1989, with diagonal covariances.
    """
    classes = [rows[is_bonafide], rows[~is_bonafide]]
    pooled = sum(one.var(axis=0) * len(one) for one in classes) / len(rows)
    bonafide, spoof = (
        Parameters(np.ones(1), one.mean(axis=0)[None], ((1 - shrinkage) * one.var(axis=0) + shrinkage * pooled)[None])
        for one in classes
    )
    return bonafide, spoof


def _scored(mixtures: Mixtures, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    kernels = [Kernel.of_raw(parameters) for parameters in mixtures]
    return [np.column_stack([kernel.log_likelihoods(array) for kernel in kernels]) for array in arrays]


def _means(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([array.mean(axis=0) for array in arrays])


def _llr(log_likelihoods: np.ndarray) -> np.ndarray:
    return log_likelihoods[:, 0] - log_likelihoods[:, 1]


def span(found: Interval, sign: str = "") -> str:
    """Return an interval in percent, or the reason why there is none."""
    if found.low is None or found.high is None:
        return found.reason
    return f"{100 * found.low:{sign}.1f} to {100 * found.high:{sign}.1f}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the stages tell to themselves."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    cli.run(main)
