"""The speaker verification system that a countermeasure protects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from countermeasure.trials.lines import SPOOF
from countermeasure.trials.score_files import ASV_KEYS, AsvScores
from tDCF_python import metrics
from tDCF_python.defaults import LA_EVAL_NAME
from tDCF_python.intervals import numbered


class AsvSystem(NamedTuple):
    """A verification system's error rates, overall and attack by attack."""

    rates: metrics.AsvRates
    attack_p_miss: Mapping[str, float]  # fraction of each attack's spoofs that it rejects by itself; empty if unknown
    source: str  # where the rates come from, for the signature of a result

    def against(self, attack: str) -> metrics.AsvRates:
        """Return the error rates when all spoofs are of one attack.

        For an attack whose rate is unknown: those over all attacks.
        """
        return self.rates._replace(p_miss_spoof=self.attack_p_miss.get(attack, self.rates.p_miss_spoof))


def from_scores(asv: AsvScores) -> AsvSystem:
    """Return the operating point that a verification system's scores give.

    The threshold is that of targets against nontargets, for every attack.
    """
    names, codes = numbered(asv.keys)
    targets, nontargets, spoofs = (asv.scores[codes == names.index(key)] for key in ASV_KEYS)
    rates = metrics.asv_rates(targets, nontargets, spoofs)
    attacks, which = numbered([attack for attack, key in zip(asv.attacks, asv.keys, strict=True) if key == SPOOF])
    missed = np.bincount(which, weights=spoofs < rates.threshold) / np.bincount(which)
    return AsvSystem(rates, dict(zip(attacks, missed.tolist(), strict=True)), f"sha256:{asv.sha256[:12]}")


# Counted in the organisers' scores of the evaluation set (ASVspoof2019.LA.asv.eval.gi.trl.scores.txt,
# ODC-By): 5,370 targets, 33,327 nontargets, 4,914 spoofs of each attack.
_LA_EVAL_SPOOFS = 4914
_LA_EVAL_MISSED = (36, 163, 3745, 196, 179, 150, 103, 13, 29, 35, 4571, 3898, 2172)  # of A07 to A19
LA_EVAL = AsvSystem(
    metrics.AsvRates(
        eer=0.0245778373868689,
        threshold=-5.680051,
        p_miss=132 / 5370,
        p_fa=820 / 33327,
        p_miss_spoof=sum(_LA_EVAL_MISSED) / (_LA_EVAL_SPOOFS * len(_LA_EVAL_MISSED)),
    ),
    {f"A{number:02d}": missed / _LA_EVAL_SPOOFS for number, missed in enumerate(_LA_EVAL_MISSED, 7)},
    LA_EVAL_NAME,
)
