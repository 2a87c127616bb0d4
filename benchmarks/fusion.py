"""Compare ways to fuse base models, on a data set small enough to train them many times over.

  python -m benchmarks.fusion ./LA
  python -m benchmarks.fusion ./LA --ftype mfcc lfcc --repetitions 1 --n_components 512
  python -m benchmarks.fusion ./LA --subsets --ftype mfcc lfcc bfcc ngcc cqcc imfcc --repetitions 4

Each system is tested on the data set's own division, with intervals over trials where its evaluation set has few
speakers, and in rotation: all speakers are dealt into four hands, two of which train, one is the development set and
one is tested, in turns. Attacks that the training set does not have stay unknown to the training in rotation, too.
The reference is the member with the lowest EER on the development set: who chooses by the test set is not told what
the choice is worth. Nothing is chosen by test data but l2, of which three values are shown.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import gmm_data_processing
from countermeasure import cli
from countermeasure.gmm import logistic
from countermeasure.gmm.models import model_files
from countermeasure.lists.pickles import ListWriter, read_list
from countermeasure.options import SPLITS, LogisticOptions, TrainingOptions
from countermeasure.stages import scoring, training
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_cm_scores
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER
from tDCF_python.intervals import Influence, Interval

N_HANDS = 4
REFERENCE = "member best on dev"
SHOWN = "logistic regression on train, l2 1"
Division = dict[str, np.ndarray]
Systems = dict[str, np.ndarray]


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("path", metavar="LA", help="the data set, in the layout of ASVspoof 2019 LA")
    parser.add_argument("--ftype", nargs="+", default=["mfcc", "lfcc", "bfcc", "ngcc"], help="members of the fusion")
    parser.add_argument("--n_components", type=int, default=64, help="of the base models (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=2, help="deals and seeds (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=3, help="of out-of-fold scores (default: %(default)s)")
    parser.add_argument("--subsets", action="store_true", help="average over all subsets of the types")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.read(Path(args.path), args.ftype, Path(folder))
        if args.subsets:
            subsets(corpus, args, Path(folder))
            return 0
        own: list[Systems] = []
        rotated: list[Systems] = []
        for seed in range(args.repetitions):
            bench = Bench(corpus, TrainingOptions(n_components=args.n_components, seed=seed), args.folds, Path(folder))
            own.append(bench.systems({split: np.flatnonzero(corpus.splits == split) for split in SPLITS}))
            tested: Systems = {}
            for division in corpus.rotation(seed):
                for name, scores in bench.systems(division).items():
                    tested.setdefault(name, np.full(len(corpus.trials), np.nan))[division["eval"]] = scores
            rotated.append(tested)
            print(f"repetition {seed + 1} of {args.repetitions} done", flush=True)
        print(f"\n{' '.join(args.ftype)}, {args.n_components} components, {args.repetitions} repetitions")
        corpus.report("own division", own, np.flatnonzero(corpus.splits == "eval"))
        corpus.report("rotation", rotated, np.arange(len(corpus.trials)))
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
    features : dict from type to list of array [frames, 60]
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
        features: dict[str, list] = {ftype: [] for ftype in ftypes}
        for split in SPLITS:
            ending = "trn" if split == "train" else "trl"
            protocol = path / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{ending}.txt"
            audio = path / f"ASVspoof2019_LA_{split}" / "flac"
            gmm_data_processing.main(
                ["--data_split", split, "--data_path", str(audio), "--label_path", str(protocol),
                 "--output_path", str(folder / "features"), "--ftype", *ftypes]
            )  # fmt: skip
            trials += read_protocol(protocol)
            splits += [split] * (len(trials) - len(splits))
            for ftype in ftypes:
                features[ftype] += [array for array, _ in read_list(folder / "features" / f"{split}-{ftype}.pkl")]
        known = {trial.attack for trial, split in zip(trials, splits, strict=True) if split == "train"}
        return cls(
            trials,
            np.array(splits),
            np.array([trial.speaker for trial in trials]),
            np.array([trial.label == "bonafide" for trial in trials]),
            np.array([trial.attack in known for trial in trials]),
            features,
        )

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

    def folds(self, items: np.ndarray, n_folds: int) -> list[np.ndarray]:
        """Divide items by speakers: the speaker with most of them goes first, into the smallest fold so far."""
        names, counts = np.unique(self.speakers[items], return_counts=True)
        folds: list[list[str]] = [[] for _ in range(min(n_folds, len(names)))]
        sizes = [0] * len(folds)
        for k in np.argsort(-counts, kind="stable"):
            smallest = int(np.argmin(sizes))
            folds[smallest].append(names[k])
            sizes[smallest] += int(counts[k])
        return [items[np.isin(self.speakers[items], fold)] for fold in folds]

    def report(self, title: str, repetitions: list[Systems], items: np.ndarray) -> None:
        """Print EERs and their differences from the reference, with intervals of 95 %."""
        is_bonafide = self.is_bonafide[items]
        utterances = np.array([trial.utterance for trial in self.trials])[items]
        units = intervals.choose_units(self.speakers[items].astype("S"), utterances.astype("S"), is_bonafide)

        def influence(name: str) -> Influence:
            return intervals.mean([intervals.influences(one[name], is_bonafide, units, {})[EER] for one in repetitions])

        def eer(name: str) -> float:
            return float(np.mean([rate(one[name], is_bonafide) for one in repetitions]))

        print(f"\n{title}: {len(items)} trials, intervals over {units.over}\n")
        print(f"| system | EER | 95 % | less the {REFERENCE} | 95 % |\n|---|---|---|---|---|")
        for name in repetitions[0]:
            whole, (difference, _) = (
                intervals.interval(influence(name)),
                intervals.compare(influence(REFERENCE), influence(name)),
            )
            print(
                f"| {name} | {eer(name):.1f} % | {span(whole)} | {eer(name) - eer(REFERENCE):+.1f} "
                f"| {span(difference, '+')} |",
                flush=True,
            )


def span(found: Interval, sign: str = "") -> str:
    """Return an interval in percent, or the reason why there is none."""
    if found.low is None or found.high is None:
        return found.reason
    return f"{100 * found.low:{sign}.1f} to {100 * found.high:{sign}.1f}"


def subsets(corpus: Corpus, args: argparse.Namespace, folder: Path) -> None:
    """Print the EER in rotation of fusions by logistic regression, averaged over sets of members of one size."""
    sizes = range(2, len(args.ftype) + 1)
    found: dict[str, dict[int, list[float]]] = {}
    influences: dict[str, dict[int, list[Influence]]] = {name: {n: [] for n in sizes} for name in (SHOWN, REFERENCE)}
    utterances = np.array([trial.utterance for trial in corpus.trials]).astype("S")
    units = intervals.choose_units(corpus.speakers.astype("S"), utterances, corpus.is_bonafide)
    for seed in range(args.repetitions):
        options = TrainingOptions(n_components=args.n_components, seed=seed)
        bench = Bench(corpus, options, args.folds, folder)
        divisions = list(corpus.rotation(seed))
        llrs = [bench.members(division) for division in divisions]
        for n in sizes:
            for members in map(list, itertools.combinations(range(len(args.ftype)), n)):
                tested: Systems = {}
                for division, of in zip(divisions, llrs, strict=True):
                    for name, scores in _fused(corpus, division, {k: v[:, members] for k, v in of.items()}).items():
                        tested.setdefault(name, np.full(len(corpus.trials), np.nan))[division["eval"]] = scores
                rates = {name: rate(scores, corpus.is_bonafide) for name, scores in tested.items()}
                for name in (SHOWN, REFERENCE):
                    influences[name][n].append(intervals.influences(tested[name], corpus.is_bonafide, units, {})[EER])
                alone = [rates.pop(f"member {k}") for k in range(n)]
                rates = {"average member": float(np.mean(alone)), "member best in the test": min(alone), **rates}
                for name, value in rates.items():
                    found.setdefault(name, {}).setdefault(n, []).append(value)
        print(f"repetition {seed + 1} of {args.repetitions} done", flush=True)
    print(f"\n{' '.join(args.ftype)}, {args.n_components} components, {args.repetitions} repetitions")
    print(f"\n| members | {' | '.join(map(str, sizes))} |\n|---|{'---|' * len(sizes)}")
    for name, by_size in found.items():
        print(f"| {name} | {' | '.join(f'{np.mean(by_size[n]):.1f} %' for n in sizes)} |")
    reference, shown = ([intervals.mean(influences[name][n]) for n in sizes] for name in (REFERENCE, SHOWN))
    differences = [intervals.compare(*pair)[0] for pair in zip(reference, shown, strict=True)]
    print(f"\n{SHOWN}, less the {REFERENCE}, 95 % over {units.over}:")
    print(", ".join(f"{n} members {span(one, '+')}" for n, one in zip(sizes, differences, strict=True)))


def _fused(corpus: Corpus, division: Division, llrs: dict[str, np.ndarray]) -> Systems:
    is_bonafide = {split: corpus.is_bonafide[items] for split, items in division.items()}
    best = int(np.argmin([rate(one, is_bonafide["dev"]) for one in llrs["dev"].T]))
    found = {f"member {k}": one for k, one in enumerate(llrs["eval"].T)}
    found |= {REFERENCE: llrs["eval"][:, best], "mean of LLRs": llrs["eval"].mean(axis=1)}
    for split in ("train", "dev"):
        for l2 in (0.01, 0.1, 0.25, 1.0, 4.0):
            weights, offset = logistic.fit(llrs[split], is_bonafide[split], l2)
            found[f"logistic regression on {split}, l2 {l2:g}"] = llrs["eval"] @ weights + offset
    return found


def rate(scores: np.ndarray, is_bonafide: np.ndarray) -> float:
    """Return the EER in per cent."""
    return 100 * metrics.eer(scores[is_bonafide], scores[~is_bonafide])[0]


class Bench:
    """Base models and fusions of one seed, made with the suite's own stages in a folder that is emptied each time."""

    def __init__(self, corpus: Corpus, options: TrainingOptions, n_folds: int, folder: Path):
        self._corpus, self._options, self._n_folds, self._folder = corpus, options, n_folds, folder

    def systems(self, division: Division) -> Systems:
        """Train on train and dev, test on eval; return each system's scores."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name, silence():
            return self._systems(division, Path(name))

    def _systems(self, division: Division, at: Path) -> Systems:
        ftypes = list(self._corpus.features)
        lines = [self._corpus.trials[i].line for i in division["eval"]]
        (at / "eval.txt").write_text("\n".join(lines) + "\n")
        for ftype in ftypes:
            self._base(ftype, division, at)
        llrs = {split: self._member_llrs(at / "scores" / split, ftypes) for split in ("dev", "eval")}
        members = dict(zip(ftypes, llrs["eval"], strict=True))
        dev = self._corpus.is_bonafide[division["dev"]]
        best = int(np.argmin([rate(one, dev) for one in llrs["dev"]]))
        found = {**members, REFERENCE: llrs["eval"][best], "mean of LLRs": np.mean(llrs["eval"], axis=0)}

        def fuse(what: str, data: str, options: TrainingOptions | LogisticOptions, files: Sequence[int] = ()) -> None:
            model = at / "model" / what
            training.train_fusion(at / data, model, options)
            folder = (at / data).parent
            found[what] = self._tested(folder / "eval", model, at)
            for n in files:
                higher = at / "file-level" / what
                for split in ("train", "eval"):
                    data_dir = at / data if split == "train" else folder / "eval"
                    scoring.write_file_scores(split, data_dir, model, "fused", higher)
                above = at / "model" / f"{what}, file {n}"
                training.train_fusion(higher / "train", above, self._mixtures(n))
                found[f"{what}, on top mixtures over files, {n} components"] = self._tested(higher / "eval", above, at)

        for kind, what in (("scores", ""), ("out-of-fold", "out-of-fold scores: ")):
            fuse(f"{what}mixtures over frames, 64 components", f"{kind}/train", self._mixtures(64), (4, 64))
            fuse(f"{what}mixtures over files, 4 components", f"{kind}-files/train", self._mixtures(4))
            for l2 in (0.01, 0.1, 1.0):
                fuse(f"{what}logistic regression, l2 {l2:g}", f"{kind}/train", LogisticOptions(l2))
            fuse(f"{what}logistic regression on both likelihoods, l2 1", f"{kind}-apart/train", LogisticOptions(1.0))
        fuse("logistic regression on dev, l2 1", "scores/dev", LogisticOptions(1.0))
        return found

    def members(self, division: Division) -> dict[str, np.ndarray]:
        """Train on train; return the LLRs of each split's files under each type's base model."""
        llrs: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
        for ftype in self._corpus.features:
            with tempfile.TemporaryDirectory(dir=self._folder) as name, silence():
                self._train_and_score(ftype, division["train"], division, Path(name))
                for split, of in llrs.items():
                    of += self._member_llrs(Path(name) / split, ["x"])
        return {split: np.column_stack(of) for split, of in llrs.items()}

    def _mixtures(self, n_components: int) -> TrainingOptions:
        return TrainingOptions(n_components=n_components, seed=self._options.seed)

    def _base(self, ftype: str, division: Division, at: Path) -> None:
        """Train a base model; write its frame scores, out-of-fold ones beside them, and both by file."""
        folder = at / "base" / ftype
        self._train_and_score(ftype, division["train"], division, folder)
        outside: dict[str, dict[int, np.ndarray]] = {"bon": {}, "sp": {}}
        for k, fold in enumerate(self._corpus.folds(division["train"], self._n_folds)):
            seen = np.setdiff1d(division["train"], fold)
            if np.intersect1d(self._corpus.speakers[seen], self._corpus.speakers[fold]).size:
                raise RuntimeError("a speaker is on both sides of a fold")
            self._train_and_score(ftype, seen, {"train": fold}, at / "fold" / f"{ftype}-{k}")
            for side, kept in outside.items():
                kept.update(zip(fold.tolist(), self._scores(at / "fold" / f"{ftype}-{k}", side, "train"), strict=True))
        for side in ("bon", "sp"):
            for split, items in division.items():
                inside = self._scores(folder, side, split)
                held_out = [outside[side][i] for i in items.tolist()] if split == "train" else inside
                for kind, scores in (("scores", inside), ("out-of-fold", held_out)):
                    means = [np.full((1, 1), one.mean(dtype=np.float64)) for one in scores]
                    self._write(at / kind / split / f"{ftype}-{side}-{split}.pkl", scores, items)
                    self._write(at / f"{kind}-files" / split / f"{ftype}-{side}-{split}.pkl", means, items)
                    # Under names that do not tell that two lists are a pair.
                    self._write(at / f"{kind}-apart" / split / f"{ftype}-{side}-alone-{split}.pkl", means, items)

    def _train_and_score(self, ftype: str, train: np.ndarray, scored: Division, folder: Path) -> None:
        features = self._corpus.features[ftype]
        self._write(folder / "train.pkl", [features[i] for i in train], train)
        training.train(folder / "train.pkl", folder / "model", self._options, in_memory=True)
        for split, items in scored.items():
            self._write(folder / f"{split}.pkl", [features[i] for i in items], items)
            scoring.write_frame_scores(split, folder / f"{split}.pkl", folder / "model", "x", folder)

    def _write(self, path: Path, arrays: Sequence[np.ndarray], items: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ListWriter(path) as out:
            for array, i in zip(arrays, items, strict=True):
                out.append(array, self._corpus.trials[i].label)

    @staticmethod
    def _scores(folder: Path, side: str, split: str) -> list[np.ndarray]:
        return [array for array, _ in read_list(folder / split / f"x-{side}-{split}.pkl") if array is not None]

    @staticmethod
    def _member_llrs(folder: Path, ftypes: Sequence[str]) -> list[np.ndarray]:
        def means(name: str) -> np.ndarray:
            path = folder / f"{name}-{folder.name}.pkl"
            return np.array([array.mean(dtype=np.float64) for array, _ in read_list(path) if array is not None])

        return [means(f"{ftype}-bon") - means(f"{ftype}-sp") for ftype in ftypes]

    @staticmethod
    def _tested(data_dir: Path, model: Path, at: Path) -> np.ndarray:
        scoring.score_fusion(data_dir, *model_files(model), at / "eval.txt", at / "scores.txt")
        return read_cm_scores(at / "scores.txt").scores


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what the stages tell to themselves."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    cli.run(main)
