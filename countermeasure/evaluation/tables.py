"""The results as tables of words, whatever they are then shown in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from countermeasure.evaluation.study import ATTACK, SPEAKER, Comparison, Group, Study, SystemResult
from tDCF_python.evaluation import EER, MIN_DCF, MIN_TDCF_2019, MIN_TDCF_REVISITED, tdcf_name
from tDCF_python.metrics import Point
from tDCF_python.resampling import LEVEL, Interval

NONE = "-"
FIGURES = {
    EER: "EER",
    MIN_TDCF_2019: "min t-DCF (2019)",
    MIN_TDCF_REVISITED: "min t-DCF (revisited)",
    MIN_DCF: "min DCF",
}


@dataclass(frozen=True)
class Table:
    """A caption, a heading of one or more rows, and rows whose first cell is a name.

    Attributes
    ----------
    caption : str
    header : list of list of str
    rows : list of list of str
    total : bool
        Whether the last row sums up the others.
    """

    caption: str
    header: list[list[str]]
    rows: list[list[str]]
    total: bool = False


def percent(fraction: float, digits: int) -> str:
    """Return a fraction as a percentage with so many decimals."""
    return f"{100 * fraction:.{digits}f} %"


def systems(study: Study) -> Table:
    """Return every system's figures over all trials."""
    header = [
        ["system", "bona fide", "spoof", "EER", "min t-DCF", "min t-DCF", "min DCF", "act. DCF", "C_llr"],
        ["", "trials", "trials", "%", "2019", "revisited", "", "", "bits"],
    ]
    rows = []
    for system in study.systems:
        e = system.evaluation
        rows.append(
            [
                system.name,
                f"{e.n_bonafide:,}",
                f"{e.n_spoof:,}",
                f"{100 * e.eer.value:.3f}",
                _value(e.min_tdcf_2019),
                _value(e.min_tdcf_revisited),
                _value(e.min_dcf),
                f"{e.actual_dcf:.4f}",
                f"{e.cllr:.4f}",
            ]
        )
    return Table("All trials", header, rows)


def intervals(study: Study) -> Table | None:
    """Return every system's figures with their intervals; None where nothing was resampled."""
    drawn = [system.resampling for system in study.systems if system.resampling]
    if not drawn:
        return None
    figures = [figure for figure in FIGURES if figure in study.systems[0].replicates]
    header = [
        ["system", *(FIGURES[figure] for figure in figures)],
        ["", *("%" if figure == EER else "" for figure in figures)],
    ]
    rows = [[system.name, *(_with_interval(system.pooled, figure) for figure in figures)] for system in study.systems]
    units = [f"{plan.n_units:,} {plan.over}" for plan in drawn]
    if len(set(units)) > 1:
        header = [[*header[0], "drawn"], [*header[1], ""]]
        rows = [[*row, unit] for row, unit in zip(rows, units, strict=True)]
    over = f" over {units[0]}" if len(set(units)) == 1 else ""
    return Table(f"{percent(LEVEL, 0)} intervals, bootstrap of {drawn[0].n_replicates:,}{over}", header, rows)


def applied(study: Study) -> Table | None:
    """Return error rates at the thresholds of other files; None where there are none."""
    rows = [
        [
            system.name,
            FIGURES[found.rule],
            f"{found.threshold:.6f}",
            f"{100 * found.expected_p_miss:.3f}",
            f"{100 * found.expected_p_fa:.3f}",
            f"{100 * found.p_miss:.3f}",
            f"{100 * found.p_fa:.3f}",
            f"{found.dcf:.4f}",
        ]
        for system in study.systems
        for found in system.applied
    ]
    header = [
        ["system", "threshold", "threshold", "P_miss, %", "P_fa, %", "P_miss, %", "P_fa, %", "DCF"],
        ["", "of", "", "there", "there", "here", "here", "here"],
    ]
    return Table("At thresholds set on other scores (--threshold_from)", header, rows) if rows else None


def by_group(study: Study, kind: str) -> list[Table]:
    """Return the tables by attack or speaker, pooled last; none where there are no such groups."""
    shown = [system for system in study.systems if system.groups(kind)]
    if not shown:
        return []
    if len(shown) == 1:
        return [_one_by_group(shown[0], study, kind)]
    figures = [EER, tdcf_name(study.legacy) if study.rates else MIN_DCF]
    return [_several_by_group(shown, figure, kind) for figure in figures]


def sentences(study: Study) -> list[str]:
    """Return what the comparisons say."""
    return [_sentence(comparison) for comparison in study.comparisons]


def worst(study: Study) -> list[str]:
    """Return a line on each system's hardest attack and speaker."""
    lines = []
    for kind in (ATTACK, SPEAKER):
        for system in study.systems:
            group = system.worst(kind)
            if group and group.evaluation:
                lines.append(
                    f"Worst {kind} of {system.name}: {group.name}, EER {percent(group.evaluation.eer.value, 3)}"
                )
    return lines


def _one_by_group(system: SystemResult, study: Study, kind: str) -> Table:
    figures = [EER, *([MIN_TDCF_2019, MIN_TDCF_REVISITED] if study.rates else []), MIN_DCF]
    header = [
        [kind, "bona fide", "spoof", *(FIGURES[figure] for figure in figures)],
        ["", "trials", "trials", *("%" if figure == EER else "" for figure in figures)],
    ]
    rows = [
        [
            group.name,
            f"{group.n_bonafide:,}",
            f"{group.n_spoof:,}",
            *(_with_interval(group, figure) for figure in figures),
        ]
        for group in system.groups(kind)
    ]
    return Table(f"{system.name} by {kind}", header, rows, total=True)


def _several_by_group(shown: Sequence[SystemResult], figure: str, kind: str) -> Table:
    names = list(dict.fromkeys(group.name for system in shown for group in system.groups(kind)[:-1]))
    found = {(system.name, group.name): group for system in shown for group in system.groups(kind)[:-1]}
    rows = [[name, *(_cell(found.get((system.name, name)), figure) for system in shown)] for name in sorted(names)]
    rows.append([shown[0].pooled.name, *(_cell(system.pooled, figure) for system in shown)])
    unit = ", %" if figure == EER else ""
    return Table(f"{FIGURES[figure]}{unit} by {kind}", [[kind, *(system.name for system in shown)]], rows, total=True)


def _sentence(comparison: Comparison) -> str:
    points = comparison.figure == EER
    name = FIGURES[comparison.figure]
    low, high = comparison.interval.low, comparison.interval.high
    if points:
        size = f"{100 * abs(comparison.difference):.3f} points"
        span = f"{100 * low:+.3f} to {100 * high:+.3f}"
    else:
        size, span = f"{abs(comparison.difference):.4f}", f"{low:+.4f} to {high:+.4f}"
    corrected = f", corrected for {comparison.n_comparisons} comparisons" if comparison.n_comparisons > 1 else ""
    test = f"({percent(LEVEL, 0)} interval of the difference {span}; p = {comparison.p:.3f}{corrected})"
    if not comparison.difference:
        return f"{comparison.system} and {comparison.reference} have the same {name} {test}."
    direction = "lower" if comparison.difference < 0 else "higher"
    verdict = "this is more than noise" if comparison.p < 1 - LEVEL else "this may be noise"
    return (
        f"{comparison.system} has {_article(name)} {name} {size} {direction} than {comparison.reference} "
        f"{test}: {verdict}."
    )


def _article(name: str) -> str:
    return "an" if name.startswith("E") else "a"


def _figure(group: Group, figure: str) -> Point | None:
    return getattr(group.evaluation, figure) if group.evaluation else None


def _cell(group: Group | None, figure: str) -> str:
    point = _figure(group, figure) if group else None
    return _number(point.value, figure) if point else NONE


def _with_interval(group: Group, figure: str) -> str:
    cell, interval = _cell(group, figure), group.intervals.get(figure)
    return f"{cell} {_span(interval, figure)}" if interval else cell


def _span(interval: Interval, figure: str) -> str:
    digits = 2 if figure == EER else 3
    scale = 100 if figure == EER else 1
    return f"[{scale * interval.low:.{digits}f}, {scale * interval.high:.{digits}f}]"


def _number(value: float, figure: str) -> str:
    return f"{100 * value:.3f}" if figure == EER else f"{value:.4f}"


def _value(point: Point | None) -> str:
    return NONE if point is None else f"{point.value:.4f}"
