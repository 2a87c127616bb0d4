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
    SPEAKER,
    AppliedThreshold,
    Comparison,
    Group,
    Study,
    SystemResult,
)
from countermeasure.trials.score_files import Bools, CmScores, ModelsRecord
from tDCF_python import intervals, metrics
from tDCF_python.defaults import FEWEST_SPEAKERS
from tDCF_python.evaluation import EER, MIN_DCF, cost_functions, evaluate, tdcf_name, tdcf_problem
from tDCF_python.intervals import Influence, Units
from tDCF_python.metrics import COSTS, Floats, percent

# Sums and pictures of larger scores would overflow.
_LARGEST_SCORE = 1e100
_BLANK = (b"", b"-", b"bonafide")


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
    by : sequence of str
        Columns to break the figures down by, one or two: ``'attack'``, ``'speaker'``, or any of `CmScores.others`.
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
    if len(by) > 2:
        raise InputError(f"--by {' '.join(by)}: give one column, or two for a table of one by the other")
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
    study = Study(tuple(results), tuple(by), (), asv, legacy, COSTS, ())
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
    pooled, influences = _group((), (), scores, np.ones(len(scores.scores), bool), asv, units)
    if pooled.evaluation is None:  # `_refuse_unusable` has seen to that
        raise InputError(f"{scores.path}: a class is empty")
    members = [[(value, trials) for value, trials in _members(scores, column)] for column in by]
    parts = [
        _group((column,), (value,), scores, trials, asv, units)[0]
        for column, of_column in zip(by, members, strict=True)
        for value, trials in of_column
    ]
    if len(by) > 1:
        parts += [
            _group(tuple(by), (one, other), scores, trials & others, asv, units)[0]
            for one, trials in members[0]
            for other, others in members[1]
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
        # Of one speaker alone there are only trials.
        own = Units(intervals.TRIALS, np.arange(len(of_group))) if SPEAKER in by else units.of(trials)
        influences = intervals.influences(of_group, bonafide, own, cost_functions(rates))
    found = {figure: intervals.interval(influence) for figure, influence in influences.items()}
    evaluation = evaluate(of_group[bonafide], of_group[~bonafide], rates)
    return Group(by, values, n_bonafide, n_spoof, evaluation, found), influences


def _members(scores: CmScores, column: str) -> Iterator[tuple[str, Bools]]:
    """Yield each value of a column and its trials.

    A column in which all bona fide trials are blank tells spoofs apart, as attacks do: each value's spoofs stand
    against all bona fide trials. Else a value's trials of both classes stand alone.
    """
    values = {ATTACK: scores.attacks, SPEAKER: scores.speakers}.get(column, scores.others.get(column, np.array([b""])))
    if np.isin(values, _BLANK).all():
        raise InputError(f"{scores.path}: no trial names its {column}; leave out --by {column}")
    is_of_spoofs = bool(np.isin(values[scores.bonafide], _BLANK).all())
    for value in np.unique(values[~scores.bonafide] if is_of_spoofs else values):
        if value:
            trials = values == value
            yield value.decode(), trials | scores.bonafide if is_of_spoofs else trials


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
        unnamed = any((result.scores.speakers == b"").any() for result in results if result.name in over_trials)
        why = "not every trial names its speaker" if unnamed else f"a class has fewer than {FEWEST_SPEAKERS} speakers"
        yield (
            f"{_of(over_trials, results)}intervals are over trials, for {why}; they say nothing of other speakers and "
            "are likely too narrow"
        )
    reasons: dict[str, list[str]] = {}
    for found in results:
        every = (one.reason for group in (found.pooled, *found.parts) for one in group.intervals.values() if one.reason)
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
    elif _is_worse_than_chance(result):
        causes = "; ".join(f"({number}) {cause}" for number, cause in enumerate(_causes(result.scores.models), 1))
        turned = percent(1 - result.evaluation.eer.value, result.pooled.n_bonafide, result.pooled.n_spoof)
        yield (
            f"{result.name}: EER above 50 %, worse than chance. Likely causes, the likeliest first: {causes}. With the "
            f"scores' sign turned the EER would be about {turned}"
        )
    if result.scores.unscored:
        yield f"{result.name}: {result.scores.unscored:,} trials of the protocol have no score and are not counted"
    attacks = (group.values[0] for group in result.parts if group.by == (ATTACK,))
    if unknown := [attack for attack in attacks if asv and attack not in asv.attack_p_miss]:
        yield f"the ASV scores have no {', '.join(unknown)}; t-DCF of these takes the ASV rates over all attacks"


def _is_worse_than_chance(result: SystemResult) -> bool:
    """Return whether the interval of an EER above 50 % leaves 50 % out."""
    if result.evaluation.eer.value <= 0.5:
        return False
    found = result.pooled.intervals.get(EER)
    if not found:
        scores = result.scores
        units = intervals.choose_units(scores.speakers, scores.utterances, scores.bonafide)
        found = intervals.interval(intervals.influences(scores.scores, scores.bonafide, units, {})[EER])
    return found.low is not None and found.low > 0.5


def _causes(models: ModelsRecord | None) -> Iterator[str]:
    """Yield why scores may tell the classes the wrong way round, the likeliest first."""
    if models and models.has_few_rows and (n_components := models.scarcest[1]) > 1:
        rows = "files" if models.kind == "file scores" else "frames"
        of_fusion = models.kind != "features"
        yield (
            f"the {'fusion' if of_fusion else 'models'} learnt the training {rows} by heart, {n_components} "
            f"components over {models.scarcest[0]} {rows}: train with fewer --n_components"
            f"{' or --method logistic' * of_fusion}"
        )
    yield "bona fide and spoof are swapped, in the models (--model_path_bon takes bon.gmm) or in the labels"
    yield "the scores' sign is turned; higher must mean bona fide"
