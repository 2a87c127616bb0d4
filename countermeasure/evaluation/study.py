"""Several systems evaluated together: groups of trials, intervals, comparisons, thresholds from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, compress, product

import numpy as np

from countermeasure.errors import InputError
from countermeasure.evaluation import advice
from countermeasure.evaluation.asv import AsvSystem
from countermeasure.evaluation.results import (
    ATTACK,
    SPEAKER,
    AppliedThreshold,
    Comparison,
    Group,
    Study,
    SystemResult,
    units_of,
)
from countermeasure.trials.lines import BONAFIDE
from countermeasure.trials.score_files import Bools, CmScores
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER, MIN_DCF, cost_functions, evaluate, tdcf_name, tdcf_problem
from tDCF_python.intervals import Influence, Units

_BLANK = {None, "-", BONAFIDE}


def run_study(
    systems: Mapping[str, CmScores],
    asv: AsvSystem | None = None,
    *,
    legacy: bool = True,
    by: Sequence[str] = (),
    with_intervals: bool | str = False,
    threshold_from: Mapping[str, CmScores] | None = None,
    reference: str | None = None,
) -> Study:
    """Evaluate systems, each on its own and every other one against the best.

    Parameters
    ----------
    systems : mapping from name to CmScores
    asv : AsvSystem, optional
        Without it there is no t-DCF.
    legacy : bool
        Which t-DCF is compared, and shown where only one is: that of 2019 (legacy) or the revisited one.
    by : sequence of str
        Columns to break the figures down by, one or two: ``'attack'``, ``'speaker'``, or any of `CmScores.others`.
    with_intervals : bool, 'speakers' or 'trials'
        Give intervals and comparisons, over these units; True: over speakers where every trial names one and either
        class has enough of them, else over trials.
    threshold_from : mapping from system to CmScores, optional
        Scores, of a development set for instance, whose thresholds are applied.
    reference : str, optional
        The system that others are compared with, instead of the one with the lowest EER.

    Raises
    ------
    InputError
        When a system has no trial of a class, no trial names the requested groups, a trial names no speaker for
        intervals over speakers, or no system has the reference's name.
    """
    if reference not in (None, *systems):
        raise InputError(f"--reference {reference}: no such system; give one of {', '.join(systems)}")
    if len(by) > 2:
        raise InputError(f"--by {' '.join(by)}: give one column, or two for a table of one by the other")
    problem = tdcf_problem(asv.rates) if asv else None
    over = with_intervals if isinstance(with_intervals, str) else None
    results = []
    for name, scores in systems.items():
        units = units_of(scores, over) if with_intervals else None
        applied = _applied(scores, threshold_from[name]) if threshold_from else ()
        results.append(_system(name, scores, None if problem else asv, by, units, applied))
    study = Study(tuple(results), tuple(by), (), asv, legacy, ())
    comparisons, not_compared = _compared(study, reference)
    notes = [*advice.notes(study, over), *not_compared, *([problem] if problem else [])]
    return replace(study, comparisons=tuple(comparisons), notes=tuple(dict.fromkeys(notes)))


def _system(
    name: str,
    scores: CmScores,
    asv: AsvSystem | None,
    by: Sequence[str],
    units: Units | None,
    applied: tuple[AppliedThreshold, ...],
) -> SystemResult:
    """Evaluate one system, over all trials and group by group."""
    pooled, influences = _group((), (), scores, np.ones(len(scores.scores), bool), asv, units)
    if pooled.evaluation is None:
        raise _one_class(scores)
    members = [dict(_members(scores, column)) for column in by]
    parts = [
        _group((column,), (value,), scores, trials, asv, units)[0]
        for column, of_column in zip(by, members, strict=True)
        for value, trials in of_column.items()
    ]
    if len(by) > 1:
        parts += [
            _group(tuple(by), (one, other), scores, trials & others, asv, units)[0]
            for (one, trials), (other, others) in product(*(of_column.items() for of_column in members))
        ]
    return SystemResult(name, scores, pooled.evaluation, pooled, tuple(parts), applied, units, influences)


def _group(
    by: tuple[str, ...],
    values: tuple[str, ...],
    scores: CmScores,
    trials: Bools,
    asv: AsvSystem | None,
    units: Units | None,
) -> tuple[Group, dict[str, Influence]]:
    """Return the figures of some of a file's trials, and what their intervals come from."""
    of_group, bonafide = scores.scores[trials], scores.bonafide[trials]
    n_bonafide = int(np.count_nonzero(bonafide))
    n_spoof = len(of_group) - n_bonafide
    if not n_bonafide or not n_spoof:
        return Group(by, values, n_bonafide, n_spoof, None, {}), {}
    rates = asv.rates if asv else None
    if asv and ATTACK in by:
        rates = asv.against(values[by.index(ATTACK)])
        rates = None if tdcf_problem(rates) else rates  # an attack that never passes has no t-DCF
    influences: dict[str, Influence] = {}
    if units:
        # Within one speaker, trials are the units.
        own = Units(intervals.TRIALS, np.arange(len(of_group))) if SPEAKER in by else units.of(trials)
        influences = intervals.influences(of_group, bonafide, own, cost_functions(rates))
    found = {figure: intervals.interval(influence) for figure, influence in influences.items()}
    evaluation = evaluate(of_group[bonafide], of_group[~bonafide], rates)
    return Group(by, values, n_bonafide, n_spoof, evaluation, found), influences


def _members(scores: CmScores, column: str) -> Iterator[tuple[str, Bools]]:
    """Yield each value of a column and its trials.

    If a column is blank for all bona fide trials, as for attacks, each value's spoofs are evaluated against all bona
    fide trials; otherwise each value's trials are evaluated on their own.
    """
    values = scores.column(column)
    if {*values} <= _BLANK:
        raise InputError(f"{scores.path}: no trial names its {column}; leave out --by {column}")
    is_of_spoofs = {*compress(values, scores.bonafide.tolist())} <= _BLANK
    names, codes = intervals.numbered(values)
    for code, name in enumerate(names):
        trials = codes == code
        if not is_of_spoofs:
            yield name, trials
        elif not scores.bonafide[trials].all():
            yield name, trials | scores.bonafide


def _applied(scores: CmScores, source: CmScores) -> tuple[AppliedThreshold, ...]:
    if source.bonafide.all() or not source.bonafide.any():
        raise _one_class(source)
    found = evaluate(*source.classes)
    applied = []
    for rule, point in ((EER, found.eer), (MIN_DCF, found.min_dcf)):
        # Both sets are counted by the same rule, so that the rates can be compared.
        expected = metrics.rates_at(point.threshold, *source.classes)
        seen = metrics.rates_at(point.threshold, *scores.classes)
        cost = metrics.dcf()(*seen)
        applied.append(AppliedThreshold(rule, point.threshold, *expected, *seen, cost, source.path, source.sha256))
    return tuple(applied)


def _one_class(scores: CmScores) -> InputError:
    missing = "spoof" if scores.bonafide.any() else "bona fide"
    return InputError(f"{scores.path}: no {missing} trial in it; error rates need both classes")


def _compared(study: Study, named: str | None) -> tuple[list[Comparison], list[str]]:
    """Compare every other system with one; return the comparisons, and notes on systems that cannot be compared.

    The best system was chosen by the same scores, so any pair of systems could have become a comparison with it: p is
    corrected for all pairs.
    """
    reference = study[named] if named else study.best
    others, notes = [], []
    for system in study.systems if reference.units else ():
        if system is reference:
            continue
        if problem := reference.mismatch(system):
            notes.append(f"{system.name} is not compared with {reference.name}: their files {problem}")
        elif not (reference.influences[EER].reason or system.influences[EER].reason):
            others.append(system.name)
    pairs = [(name, reference.name) for name in others]
    if not named:
        pairs += combinations(others, 2)
    found = []
    for figure in (EER, tdcf_name(study.legacy) if study.rates else MIN_DCF):
        compared = [study.compare(*pair, figure) for pair in pairs]
        p_values = intervals.holm([comparison.p for comparison in compared])
        found += [
            comparison._replace(p=p, n_comparisons=len(pairs))
            for comparison, p in zip(compared, p_values, strict=True)
            if comparison.reference == reference.name
        ]
    return found, notes
