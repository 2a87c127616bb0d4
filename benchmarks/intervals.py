"""How often intervals of 95 % cover the truth, and how often equal systems are told apart: simulated corpora.

    python -m benchmarks.intervals            # 400 corpora a line, about 5 minutes of processor time
    python -m benchmarks.intervals --quick    # 50 corpora a line

Run from the checkout. A score is the mean of its class or attack, plus what its speaker adds, plus noise. Speakers
account for 30 % of the variance within bona fide speech and within each attack, about what they do in the scores of
baseline B01 on ASVspoof 2019 LA; what a speaker adds to attacks goes along with what it adds to bona fide speech
(correlation 0.3). There are six attacks; one speaker in four has no spoofs, and numbers of trials differ between
speakers. The truth is that of all speakers, computed from the densities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.optimize import brentq
from scipy.stats import norm

from countermeasure import cli
from countermeasure.evaluation.asv import LA_EVAL
from tDCF_python import intervals
from tDCF_python.evaluation import EER, MIN_DCF, MIN_TDCF_2019, cost_functions
from tDCF_python.intervals import Influence, Units
from tDCF_python.metrics import Floats

ATTACKS = np.array([0.0, -0.5, -1.0, -1.5, -2.0, -3.0])  # their mean scores
SPEAKER = 0.3  # share of the variance that speakers account for
TOGETHER = 0.3  # correlation between what a speaker adds to bona fide speech and to each attack
WITHOUT_SPOOFS = 0.25
ALIKE = 0.5  # correlation between the scores of two systems that are compared
COSTS = {name: cost for name, cost in cost_functions(LA_EVAL.rates).items() if name in (MIN_DCF, MIN_TDCF_2019)}
FIGURES = (EER, *COSTS)
EERS = (0.01, 0.05, 0.2)


@dataclass(frozen=True)
class Design:
    """Size of a corpus; without speakers each trial is independent of all others."""

    n_speakers: int
    n_bonafide: int
    n_spoof: int

    def __str__(self) -> str:
        return f"{self.n_speakers or 'none'} | {self.n_bonafide} + {self.n_spoof}"


DESIGNS = (
    *(Design(n, n * 30, n * 90) for n in (7, 10, 20, 67)),
    *(Design(n, n * 10, n * 20) for n in (10, 20)),
    Design(0, 300, 900),
    Design(0, 50, 50),
)
QUICK = (Design(10, 300, 900), Design(0, 50, 50))


def rates(shift: float, threshold: float | Floats) -> tuple[Floats, Floats]:
    """Return P_miss and P_fa at thresholds; bona fide scores lie `shift` above the hardest attack in the mean."""
    return norm.cdf(threshold - shift), norm.sf(np.subtract.outer(threshold, ATTACKS)).mean(axis=-1)


def eer(shift: float) -> float:
    """Return the EER over all speakers."""
    return float(rates(shift, brentq(lambda t: float(np.subtract(*rates(shift, t))), -20, 20))[0])


def truth(shift: float) -> dict[str, float]:
    """Return the figures over all speakers."""
    p_miss, p_fa = rates(shift, np.linspace(-8, shift + 8, 20_001))
    return {EER: eer(shift)} | {name: float(cost(p_miss, p_fa).min()) for name, cost in COSTS.items()}


class Corpus:
    """Trials, and the scores of systems on them."""

    def __init__(self, design: Design, rng: Generator) -> None:
        self.rng, self.has_speakers, self.n_speakers = rng, design.n_speakers > 0, max(design.n_speakers, 1)
        self.bonafide = np.arange(design.n_bonafide + design.n_spoof) < design.n_bonafide
        self.attack = rng.integers(len(ATTACKS), size=len(self.bonafide))
        shares = rng.dirichlet(np.full(self.n_speakers, 8.0), size=2)
        shares[1, rng.permutation(self.n_speakers)[: int(WITHOUT_SPOOFS * self.n_speakers)]] = 0
        numbers = [
            rng.multinomial(n, share / share.sum())
            for n, share in zip((design.n_bonafide, design.n_spoof), shares, strict=True)
        ]
        self.speaker = np.concatenate([np.repeat(np.arange(self.n_speakers), each) for each in numbers])
        if self.has_speakers:
            self.units = Units(intervals.SPEAKERS, np.unique(self.speaker, return_inverse=True)[1])
        else:
            self.units = Units(intervals.TRIALS, np.arange(len(self.bonafide)))

    def effects(self) -> tuple[Floats, Floats, Floats]:
        """Draw what speakers add to bona fide scores, to those of each attack, and the noise."""
        rng, n = self.rng, self.n_speakers
        bonafide, spoof = rng.normal(size=(2, n))
        common = math.sqrt(TOGETHER) * bonafide + math.sqrt(1 - TOGETHER) * spoof
        own = rng.normal(size=(n, len(ATTACKS)))
        attacks = math.sqrt(TOGETHER) * common[:, None] + math.sqrt(1 - TOGETHER) * own
        return bonafide, attacks, rng.normal(size=len(self.bonafide))

    def scores(self, shift: float, effects: Iterable[Floats]) -> Floats:
        """Return a system's scores."""
        bonafide, attacks, noise = effects
        mean = np.where(self.bonafide, shift, ATTACKS[self.attack])
        if not self.has_speakers:
            return mean + noise
        voice = np.where(self.bonafide, bonafide[self.speaker], attacks[self.speaker, self.attack])
        return mean + math.sqrt(SPEAKER) * voice + math.sqrt(1 - SPEAKER) * noise

    def influences(self, scores: Floats) -> dict[str, Influence]:
        return intervals.influences(scores, self.bonafide, self.units, COSTS)


def line(design: Design, rate: float, n_corpora: int, seed: int) -> str:
    """Return a line of the table."""
    rng = np.random.default_rng(seed)
    shift = brentq(lambda shift: eer(shift) - rate, -1, 12)
    true = truth(shift)
    below, above, found_out = (dict.fromkeys(FIGURES, 0) for _ in range(3))
    for _ in range(n_corpora):
        corpus = Corpus(design, rng)
        effects = corpus.effects()
        others = [
            math.sqrt(ALIKE) * a + math.sqrt(1 - ALIKE) * b for a, b in zip(effects, corpus.effects(), strict=True)
        ]
        one, other = (corpus.influences(corpus.scores(shift, each)) for each in (effects, others))
        for name in FIGURES:
            its = intervals.interval(one[name])
            if its.low is None or its.high is None:
                raise SystemExit(f"{design}: {its.reason}")
            below[name] += true[name] < its.low
            above[name] += true[name] > its.high
            found_out[name] += intervals.compare(one[name], other[name])[1] < 1 - intervals.LEVEL
    percent = 100 / n_corpora
    cells = [f"{percent * (n_corpora - below[f] - above[f]):.1f} ({percent * above[f]:.1f})" for f in FIGURES]
    return (
        f"| {design} | {100 * rate:g} | {' | '.join([*cells, *(f'{percent * found_out[f]:.1f}' for f in FIGURES)])} |"
    )


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="50 corpora of two designs instead of all")
    parser.add_argument("--corpora", type=int, metavar="N", help="corpora a line (default: 400; with --quick: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    args = parser.parse_args()
    n_corpora = args.corpora or (50 if args.quick else 400)
    print(f"Per cent of {n_corpora} corpora in which the interval covers the truth (in which the truth lies above it),")
    print("and in which two systems of equal quality differ with p < 0.05.\n")
    print("| speakers | trials | EER, % | EER | min DCF | min t-DCF | equal: EER | min DCF | min t-DCF |")
    print("|---|---|---|---|---|---|---|---|---|")
    for design in QUICK if args.quick else DESIGNS:
        for rate in EERS:
            print(line(design, rate, n_corpora, args.seed), flush=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
