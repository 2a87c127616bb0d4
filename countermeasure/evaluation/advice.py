"""Sentences about a result: the best system, differences by chance, notes, and advice on fusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from countermeasure.evaluation.results import ATTACK, Comparison, Study, SystemResult, units_of
from countermeasure.evaluation.tables import LEVEL_NAME, NO_INTERVAL, decimals, number, p_value, percent
from countermeasure.lists import names
from countermeasure.trials.score_files import ModelsRecord, ScoreRecord
from tDCF_python import intervals, metrics
from tDCF_python.defaults import FEWEST_SPEAKERS
from tDCF_python.evaluation import EER

# -- results -----------------------------------------------------------------------------------------


def summary(study: Study) -> list[str]:
    """Return advice on each fusion, the best system, and the differences that may be chance."""
    sentences = list(on_fusions(study.dev)) if study.dev else []
    if len(study.systems) > 1:
        comparisons = [one for one in study.comparisons if one.figure == EER]
        sentences += [f"{each}." for each in (_on_best(study), _on_chance(comparisons)) if each]
    return sentences


def _on_best(study: Study) -> str:
    if len(study.counts) > 1:
        return "The systems are evaluated on different trials, so none of them is called the best"
    best = study.best.pooled
    digits = decimals([best])
    shown = {system.name: percent(system.evaluation.eer.value, digits) for system in study.systems}
    lowest = shown[study.best.name]
    equals = [name for name, value in shown.items() if value == lowest]
    have = f"{' and '.join(equals)} {'have' if len(equals) > 1 else 'has'}"
    sentence = f"{have} the lowest EER of {len(study.systems)} systems: {lowest}"
    interval = best.intervals.get(EER) if len(equals) == 1 else None
    if interval and interval.low is not None and interval.high is not None:
        low, high = (number(end, EER, max(digits - 1, 1)) for end in (interval.low, interval.high))
        sentence += f" ({LEVEL_NAME} interval {low} to {high})"
    return sentence


def _on_chance(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return ""
    doubtful = ", ".join(f"{one.system} (p = {p_value(one.p)})" for one in comparisons if not one.is_significant)
    if doubtful:
        return f"May be chance: the difference in EER between {comparisons[0].reference} and {doubtful}"
    return f"Every other system's EER differs from that of {comparisons[0].reference} by more than chance (p < 0.05)"


# -- notes -------------------------------------------------------------------------------------------


def notes(study: Study, over: str | None = None) -> Iterator[str]:
    """Yield notes that a reader needs; `over` are the requested units of intervals."""
    for system in study.systems:
        yield from _notes_on_scores(system)
        attacks = [group.values[0] for group in system.parts if group.by == (ATTACK,)]
        if study.asv and study.rates and (unknown := [name for name in attacks if name not in study.asv.attack_p_miss]):
            yield f"The ASV scores have no {', '.join(unknown)}; their t-DCF uses the ASV rates over all attacks"
    yield from _notes_on_units(study.systems, over)


def _notes_on_scores(system: SystemResult) -> Iterator[str]:
    if np.ptp(system.scores.scores) == 0:
        yield f"{system.name}: all scores are equal and carry no information; ties count against the detector"
    elif _is_worse_than_chance(system):
        causes = "; ".join(f"({number}) {cause}" for number, cause in enumerate(_causes(system.scores.record), 1))
        turned = percent(1 - system.evaluation.eer.value, decimals([system.pooled]))
        yield (
            f"{system.name}: EER above 50 %, worse than chance. Possible causes, the likeliest first: {causes}. With "
            f"the scores negated the EER would be about {turned}"
        )
    if system.scores.record and system.scores.record.split == "train":
        yield f"{system.name}: scores of training data, which the models fit better than other data"
    if n := system.scores.unscored:
        trials = "1 trial" if n == 1 else f"{n:,} trials"
        yield f"{system.name}: {trials} of the protocol without a score {'is' if n == 1 else 'are'} not counted"


def _is_worse_than_chance(system: SystemResult) -> bool:
    """Return whether the interval of an EER above 50 % leaves 50 % out."""
    if system.evaluation.eer.value <= 0.5:
        return False
    interval = system.pooled.intervals.get(EER)
    if not interval:
        scores = system.scores
        influences = intervals.influences(scores.scores, scores.bonafide, units_of(scores), {})
        interval = intervals.interval(influences[EER])
    return interval.low is not None and interval.low > 0.5


def _causes(record: ScoreRecord | None) -> Iterator[str]:
    """Yield possible causes of an EER above 50 %, the likeliest first."""
    models = record.models if record else None
    if models and models.has_few_rows and (n_components := models.scarcest[1]) > 1:
        rows = "files" if models.kind == "file scores" else "frames"
        of_fusion = models.kind != "features"
        yield (
            f"the {'fusion overfits' if of_fusion else 'models overfit'}, {n_components} components for "
            f"{models.scarcest[0]} training {rows}: train with fewer --n_components"
            f"{' or --method logistic' * of_fusion}"
        )
    yield "bona fide and spoof are swapped, in the models (--model_path_bon takes bon.gmm) or in the labels"
    yield "the scores have the wrong sign; higher must mean bona fide"


def _notes_on_units(systems: Sequence[SystemResult], over: str | None) -> Iterator[str]:
    """Yield notes on intervals over trials, and on too few units for an interval."""
    if over is None and any(system.units and system.units.over == intervals.TRIALS for system in systems):
        yield (
            f"Intervals are over trials, because a trial names no speaker or a class has fewer than {FEWEST_SPEAKERS} "
            "speakers; they say nothing about other speakers and are probably too narrow"
        )
    groups = [group for system in systems for group in (system.pooled, *system.parts)]
    every = (interval for group in groups for interval in group.intervals.values())
    for reason in dict.fromkeys(interval.reason for interval in every if interval.reason):
        hint = "; --intervals trials gives those over trials" if intervals.SPEAKERS in reason else ""
        yield f"{NO_INTERVAL} {reason}, which needs {FEWEST_SPEAKERS} of either class{hint}"


# -- the development set -----------------------------------------------------------------------------


def on_fusions(dev: Study) -> Iterator[str]:
    """Yield a sentence for each fusion of other systems: whether it beats them, and what to use.

    Parameters
    ----------
    dev : Study
        Of a development set, with intervals. Records beside the score files name the members of a fusion; systems
        without a record are skipped.
    """
    records = {system.name: system.scores.record for system in dev.systems}
    for system in dev.systems:
        record = records[system.name]
        members = [dev[name] for name in _members(system.name, records)]
        if members and record and not (problem := system.mismatch(members[0])):
            best = min(members, key=lambda member: member.evaluation.eer.value)
            comparison = dev.compare(system.name, best.name)
            yield f"{_verdict(comparison, system)}{_what_to_do(comparison, record.models)}"
        elif members:
            yield f"{system.name} is not compared with its members: their files {problem}."


def _members(name: str, records: dict[str, ScoreRecord | None]) -> list[str]:
    """Return the systems that a system is a fusion of, directly or through others."""
    members = [name]
    for system in members:  # grows in the loop
        record = records[system]
        columns = [names.score_column(column) for column in record.inputs] if record else []
        direct = dict.fromkeys(column.model for column in columns if column and column.model in records)
        members += [member for member in direct if member not in members]
    return members[1:]


def _verdict(comparison: Comparison, system: SystemResult) -> str:
    if not comparison.difference:
        return f"{comparison.system}: as good as its best member {comparison.reference} on dev. "
    digits = metrics.decimals(system.pooled.n_bonafide, system.pooled.n_spoof)
    low, high = comparison.interval.low, comparison.interval.high
    if low is None or high is None:
        interval = comparison.interval.reason
    else:
        over = f" over {system.units.over}" if system.units else ""
        interval = f"{LEVEL_NAME} interval{over} {number(low, EER, digits, '+')} to {number(high, EER, digits, '+')}"
    better, lower = ("better", "lower") if comparison.difference < 0 else ("worse", "higher")
    perhaps = "" if comparison.is_significant else "perhaps "
    return (
        f"{comparison.system}: {perhaps}{better} than its best member {comparison.reference} on dev, its EER is "
        f"{number(abs(comparison.difference), EER, digits)} points {lower} ({interval}). "
    )


def _what_to_do(comparison: Comparison, models: ModelsRecord | None) -> str:
    if comparison.difference < 0:
        return "Use it." if comparison.is_significant else f"Either will do; {comparison.reference} alone is simpler."
    advice = ""
    if models and models.kind == "file scores" and models.has_few_rows:
        n_rows, n_components = models.scarcest
        n = f"{n_components} component{'s' * (n_components > 1)}"
        advice = f"Too few files for a file-level mixture: {n_rows:,} rows for {n}. "
    logistic = ", or fuse with --method logistic" if models and models.method == "gmm" else ""
    return f"{advice}Use {comparison.reference} alone{logistic}."
