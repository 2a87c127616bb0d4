"""The result of an evaluation as one value; tables, pictures, JSON, CSV and the report page are views of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from countermeasure import __version__
from countermeasure.evaluation.asv import AsvSystem
from countermeasure.trials.score_files import CmScores
from tDCF_python import intervals
from tDCF_python.evaluation import EER, Evaluation, tdcf_problem
from tDCF_python.intervals import LEVEL, Influence, Interval, Units
from tDCF_python.metrics import COSTS, AsvRates, Point

POOLED = "pooled"
ATTACK = "attack"
SPEAKER = "speaker"


class Group(NamedTuple):
    """The figures of all trials, or of those with given values in one or two columns.

    An attack's spoofs are evaluated against all bona fide trials, those of a codec or speaker against its own.
    """

    by: tuple[str, ...]  # the columns, ('attack', 'codec') for instance
    values: tuple[str, ...]  # the group's values in them
    n_bonafide: int
    n_spoof: int
    evaluation: Evaluation | None  # None where a class is empty
    intervals: Mapping[str, Interval]  # by a figure's name in `Evaluation`; empty where none were asked for

    @property
    def name(self) -> str:
        """The values in one word, or `POOLED`."""
        return ",".join(self.values) or POOLED

    def value(self, figure: str) -> float | None:
        """Return a figure by its name in `Evaluation`; None if there is none."""
        found = getattr(self.evaluation, figure, None)
        return found.value if isinstance(found, Point) else found


class AppliedThreshold(NamedTuple):
    """A threshold from another set of scores, and the error rates of both sets at it."""

    rule: str  # whose threshold it is: 'eer' or 'min_dcf'
    threshold: float
    expected_p_miss: float  # on the set that gave it
    expected_p_fa: float
    p_miss: float  # on the evaluated set
    p_fa: float
    dcf: float  # normalised, on the evaluated set
    source: str  # the file that gave it
    sha256: str


class SystemResult(NamedTuple):
    """All results of one system."""

    name: str
    scores: CmScores
    evaluation: Evaluation  # of all trials
    pooled: Group  # the same, with intervals
    parts: tuple[Group, ...]  # by each column that was asked for; with two columns, by both together, too
    applied: tuple[AppliedThreshold, ...]
    units: Units | None  # what intervals are over
    influences: Mapping[str, Influence]  # of the pooled figures, by name

    def groups(self, *by: str) -> tuple[Group, ...]:
        """Return the groups by these columns, the pooled one last; none if they were not requested."""
        groups = tuple(group for group in self.parts if group.by == by)
        return (*groups, self.pooled) if groups else ()

    def mismatch(self, other: SystemResult) -> str | None:
        """Return why two systems cannot be compared trial by trial; None if they can."""
        (trials, own), (of_other, others) = (
            intervals.numbered(system.scores.columns.utterances) for system in (self, other)
        )
        if trials != of_other:
            return "have different trials"
        one, two = np.argsort(own), np.argsort(others)
        contradicting = np.flatnonzero(self.scores.bonafide[one] != other.scores.bonafide[two])
        if contradicting.size:
            first = trials[contradicting[0]]
            return f"give {contradicting.size:,} of {len(trials):,} trials different labels, first {first}"
        if self.units is None or other.units is None:
            return "have no intervals"
        if self.units.over != other.units.over or not np.array_equal(self.units.codes[one], other.units.codes[two]):
            return "name different speakers"
        return None


def units_of(scores: CmScores, over: str | None = None) -> Units:
    """Return the units of a file's trials, see `intervals.choose_units`."""
    return intervals.choose_units(scores.columns.speakers, scores.columns.utterances, scores.bonafide, over)


class Comparison(NamedTuple):
    """Whether a system differs from a reference by more than chance."""

    reference: str
    system: str
    figure: str  # by its name in `Evaluation`
    difference: float  # `system` minus `reference`; below 0, `system` is better
    interval: Interval
    p: float  # two-sided, corrected for the number of comparisons; 1 where there is no interval
    n_comparisons: int = 1  # that p is corrected for

    @property
    def is_significant(self) -> bool:
        """Whether the two differ at the 5 % level."""
        return self.p < 1 - LEVEL


@dataclass(frozen=True)
class Study:
    """Results of several systems."""

    systems: tuple[SystemResult, ...]
    by: tuple[str, ...]  # the columns that figures are broken down by
    comparisons: tuple[Comparison, ...]  # every other system with one: the best, or the one asked for
    asv: AsvSystem | None
    legacy: bool  # which t-DCF is meant where only one is shown
    notes: tuple[str, ...]  # what a reader has to know about these results
    dev: Study | None = None  # of the same systems on a development set, by which to choose among them

    def __getitem__(self, name: str) -> SystemResult:
        """Return the system of this name."""
        return next(system for system in self.systems if system.name == name)

    @property
    def best(self) -> SystemResult:
        """The system with the lowest EER; the first of several."""
        return min(self.systems, key=lambda system: system.evaluation.eer.value)

    @property
    def counts(self) -> set[tuple[int, int]]:
        """Numbers of bona fide and of spoof trials, of all systems; several if the systems have different trials."""
        return {(system.pooled.n_bonafide, system.pooled.n_spoof) for system in self.systems}

    @property
    def rates(self) -> AsvRates | None:
        """Rates for the t-DCF; None without a verification system, or if its rates allow no t-DCF."""
        return self.asv.rates if self.asv and not tdcf_problem(self.asv.rates) else None

    def compare(self, system: str, reference: str, figure: str = EER) -> Comparison:
        """Compare two systems trial by trial.

        Parameters
        ----------
        system, reference : str
            Names of the two, between which there is no `SystemResult.mismatch`.
        figure : {'eer', 'min_dcf', 'min_tdcf_2019', 'min_tdcf_revisited'}
        """
        first, second = self[reference].influences[figure], self[system].influences[figure]
        interval, p = intervals.compare(first, second)
        return Comparison(reference, system, figure, second.value - first.value, interval, p)

    def signature(self, system: SystemResult | None = None) -> str:
        """Return one line with every setting that affects the figures of a system, or of all systems."""
        if len(self.systems) == 1:
            system = self.systems[0]
        c, shown = COSTS, [system] if system else self.systems
        over = dict.fromkeys(f"{len(each.units)} {each.units.over}" for each in shown if each.units)
        parts = [
            "EER=step",
            f"t-DCF=2019+revisited,shown:{'2019' if self.legacy else 'revisited'}" if self.asv else None,
            f"DCF=ASVspoof5,P_spoof:{c.p_spoof:g},P_tar:{c.p_target:g},P_non:{c.p_nontarget:g},"
            f"C_miss:{c.c_miss:g},C_fa:{c.c_fa:g}",
            f"asv={self.asv.source}" if self.asv else None,
            f"cm={Path(system.scores.path).name},sha256:{system.scores.sha256[:12]}" if system else None,
            f"trials={system.pooled.n_bonafide}+{system.pooled.n_spoof}" if system else None,
            f"threshold_from=sha256:{system.applied[0].sha256[:12]}" if system and system.applied else None,
            f"intervals=Korn-Graubard,over:{'+'.join(over)}" if over else None,
            f"suite={__version__}",
        ]
        return "|".join(part for part in parts if part)
