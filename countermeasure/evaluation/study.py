"""Several systems evaluated together: groups of trials, intervals, comparisons, thresholds from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from countermeasure.errors import InputError
from countermeasure.evaluation.asv import AsvSystem
from countermeasure.evaluation.results import (
    ATTACK,
    NO_INTERVAL,
    POOLED,
    SPEAKER,
    AppliedThreshold,
    Comparison,
    Group,
    Study,
    SystemResult,
)
from countermeasure.trials.score_files import Bools, CmScores
from tDCF_python import intervals, metrics
from tDCF_python.defaults import FEWEST_SPEAKERS
from tDCF_python.evaluation import EER, MIN_DCF, cost_functions, evaluate, tdcf_name, tdcf_problem
from tDCF_python.intervals import Influence, Units
from tDCF_python.metrics import COSTS, AsvRates, Floats

# Sums and pictures of larger scores would overflow.
_LARGEST_SCORE = 1e100


def run_study(
    systems: Mapping[str, CmScores],
    asv: AsvSystem | None = None,
    *,
    legacy: bool = True,
    by: Sequence[str] = (),
    with_intervals: bool = False,
    intervals_over: str | None = None,
    threshold_from: Mapping[str, CmScores] | None = None,
    reference: str | None = None,
    watch: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Study:
    """Evaluate systems, each on its own and every other one against the best.

    Parameters
    ----------
    systems : mapping from name to CmScores
    asv : AsvSystem, optional
        Without it there is no t-DCF.
    legacy : bool
        Which t-DCF is compared, and shown where only one is: that of 2019 (legacy) or the revisited one.
    by : sequence of {'attack', 'speaker'}
        What to break the figures down by.
    with_intervals : bool
        Give intervals and comparisons.
    intervals_over : {'speakers', 'trials'}, optional
        By default speakers, where every trial names one and either class has enough of them.
    threshold_from : mapping from system to CmScores, optional
        Scores, of a development set for instance, whose thresholds are applied.
    reference : str, optional
        The system that others are compared with, instead of the one with the lowest EER.
    watch : callable, optional
        Yields the systems' names that it is given; a place for a progress bar.

    Raises
    ------
    InputError
        When a system has no trial of a class or a score beyond ±1e100, when groups are asked for that
        no trial names, intervals over speakers where not every trial names one, or no system is the reference.
    """
    if reference not in (None, *systems):
        raise InputError(f"--reference {reference}: no such system; give one of {', '.join(systems)}")
    problem = tdcf_problem(asv.rates) if asv else None
    usable = None if problem else asv
    results = []
    for name in watch(list(systems)):
        scores = systems[name]
        _refuse_unusable(scores)
        units = None
        if with_intervals:
            units = intervals.choose_units(scores.speakers, scores.utterances, scores.bonafide, intervals_over)
        applied = _applied(scores, threshold_from[name]) if threshold_from else ()
        results.append(_system(name, scores, usable, by, units, applied))
    study = Study(tuple(results), (), asv, legacy, COSTS, ())
    comparisons, not_compared = _compared(study, reference, (EER, tdcf_name(legacy) if usable else MIN_DCF))
    notes = [note for result in results for note in _notes(result, usable)]
    notes += _notes_on_units(results, intervals_over)
    notes += not_compared
    if problem:
        notes.append(problem)
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
    everything = np.ones(len(scores.scores), bool)
    pooled, influences = _group(POOLED, POOLED, scores, everything, asv.rates if asv else None, units)
    groups: dict[str, tuple[Group, ...]] = {
        kind: tuple(_group(kind, *member, units)[0] for member in _members(scores, kind, asv)) for kind in by
    }
    if pooled.evaluation is None:  # `_refuse_unusable` has seen to that
        raise InputError(f"{scores.path}: a class is empty")
    attacks, speakers = groups.get(ATTACK, ()), groups.get(SPEAKER, ())
    return SystemResult(name, scores, pooled.evaluation, pooled, attacks, speakers, applied, units, influences)


def _group(
    kind: str,
    name: str,
    scores: CmScores,
    trials: Bools,
    asv: AsvRates | None,
    units: Units | None,
) -> tuple[Group, dict[str, Influence]]:
    """Return the figures of some of a file's trials, and what their intervals come from."""
    values, bonafide = scores.scores[trials], scores.bonafide[trials]
    n_bonafide = int(np.count_nonzero(bonafide))
    n_spoof = len(values) - n_bonafide
    if not n_bonafide or not n_spoof:
        return Group(kind, name, n_bonafide, n_spoof, None, {}), {}
    influences: dict[str, Influence] = {}
    if units:
        # Of one speaker alone there are only trials.
        own = Units(intervals.TRIALS, np.arange(len(values))) if kind == SPEAKER else units.of(trials)
        influences = intervals.influences(values, bonafide, own, cost_functions(asv))
    found = {figure: intervals.interval(influence) for figure, influence in influences.items()}
    evaluation = evaluate(values[bonafide], values[~bonafide], asv)
    return Group(kind, name, n_bonafide, n_spoof, evaluation, found), influences


def _members(
    scores: CmScores, kind: str, asv: AsvSystem | None
) -> Iterator[tuple[str, CmScores, Bools, AsvRates | None]]:
    """Yield name, scores, trials and verification system's rates of each attack or speaker."""
    names = scores.attacks if kind == ATTACK else scores.speakers
    members = np.unique(names[names != b""])
    if not members.size:
        raise InputError(f"{scores.path}: no trial names its {kind}; leave out --by {kind}")
    for name in members:
        trials = names == name
        rates = asv.rates if asv else None
        if asv and kind == ATTACK:
            own = asv.against(name.decode())
            rates = None if tdcf_problem(own) else own  # an attack that never passes has no t-DCF
        yield name.decode(), scores, trials | scores.bonafide if kind == ATTACK else trials, rates


def _applied(scores: CmScores, source: CmScores) -> tuple[AppliedThreshold, ...]:
    _refuse_unusable(source)
    (bonafide, spoof), (source_bonafide, source_spoof) = _classes(scores), _classes(source)
    found = evaluate(source_bonafide, source_spoof)
    applied = []
    for rule, point in ((EER, found.eer), (MIN_DCF, found.min_dcf)):
        # Recounted on both sets by the same rule, for the two to be compared.
        expected = metrics.rates_at(point.threshold, source_bonafide, source_spoof)
        seen = metrics.rates_at(point.threshold, bonafide, spoof)
        cost = metrics.dcf()(*seen)
        applied.append(AppliedThreshold(rule, point.threshold, *expected, *seen, cost, source.path, source.sha256))
    return tuple(applied)


def _classes(scores: CmScores) -> tuple[Floats, Floats]:
    return scores.scores[scores.bonafide], scores.scores[~scores.bonafide]


def _compared(study: Study, named: str | None, figures: Sequence[str]) -> tuple[list[Comparison], list[str]]:
    """Return every system's comparison with one, and why some are not compared.

    The best system was chosen by the same scores: every pair of systems could have become a comparison with it, and
    p is corrected for so many.
    """
    reference = study[named] if named else study.best
    others, notes = [], []
    for system in study.systems:
        if system is reference or system.units is None or reference.units is None:
            continue
        if problem := reference.mismatch(system):
            notes.append(f"{system.name} is not compared with {reference.name}: their files {problem}")
        elif not (reference.influences[EER].reason or system.influences[EER].reason):
            others.append(system.name)
    pairs = [(name, reference.name) for name in others]
    if not named:
        pairs += combinations(others, 2)
    found = []
    for figure in figures:
        compared = [study.compare(*pair, figure) for pair in pairs]
        p_values = intervals.holm([comparison.p for comparison in compared])
        found += [
            replace(comparison, p=p, n_comparisons=len(pairs))
            for comparison, p in zip(compared, p_values, strict=True)
            if comparison.reference == reference.name
        ]
    return found, notes


def _refuse_unusable(scores: CmScores) -> None:
    for label, present in (("bona fide", scores.bonafide), ("spoof", ~scores.bonafide)):
        if not present.any():
            raise InputError(f"{scores.path}: no {label} trial in it; error rates need both classes")
    largest = int(np.abs(scores.scores).argmax())
    if abs(scores.scores[largest]) > _LARGEST_SCORE:
        raise InputError(
            f"{scores.path}: score {scores.scores[largest]:g} of {scores.utterances[largest].decode()} is beyond "
            f"±{_LARGEST_SCORE:g}; look at the detector that gave it"
        )


def _notes_on_units(results: Sequence[SystemResult], asked_for: str | None) -> Iterator[str]:
    """Yield what there is to say of intervals over trials, or over too few units, once for all systems."""
    over_trials = [result.name for result in results if result.units and result.units.over == intervals.TRIALS]
    if over_trials and asked_for is None:
        yield (
            f"{_of(over_trials, results)}fewer than {FEWEST_SPEAKERS} speakers of a class are named, or not in every "
            "trial, so intervals are over trials; they say nothing of other speakers and are likely too narrow"
        )
    reasons: dict[str, list[str]] = {}
    for found in results:
        groups = (found.pooled, *found.attacks, *found.speakers)
        every = (interval.reason for group in groups for interval in group.intervals.values() if interval.reason)
        for reason in dict.fromkeys(every):
            reasons.setdefault(reason, []).append(found.name)
    for reason, names in reasons.items():
        hint = "; --bootstrap_over trials gives those over trials" if intervals.SPEAKERS in reason else ""
        yield f"{_of(names, results)}{NO_INTERVAL} {reason}, which needs {FEWEST_SPEAKERS} of either class{hint}"


def _of(names: Sequence[str], results: Sequence[SystemResult]) -> str:
    return f"{', '.join(names)}: " if len(names) < len(results) else ""


def _notes(result: SystemResult, asv: AsvSystem | None) -> Iterator[str]:
    if np.ptp(result.scores.scores) == 0:
        yield f"{result.name}: all scores are equal, so they tell nothing; ties count against the detector"
    elif result.evaluation.eer.value > 0.5:
        yield (
            f"{result.name}: EER above 50 %; higher must mean bona fide, so the scores' sign may be turned "
            f"(with the other sign: about {100 * (1 - result.evaluation.eer.value):.2f} %)"
        )
    if result.scores.unscored:
        yield f"{result.name}: {result.scores.unscored:,} trials of the protocol have no score and are not counted"
    unknown = [group.name for group in result.attacks if asv and group.name not in asv.attack_p_miss]
    if unknown:
        yield f"the ASV scores have no {', '.join(unknown)}; t-DCF of these takes the ASV rates over all attacks"
