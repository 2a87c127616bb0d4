"""A result in words, for the text and for the report page: tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from countermeasure.evaluation import advice
from countermeasure.evaluation.results import ATTACK, NO_INTERVAL, SPEAKER, Comparison, Group, Study, SystemResult
from tDCF_python.defaults import LA_EVAL_NAME
from tDCF_python.evaluation import EER, MIN_DCF, MIN_TDCF_2019, MIN_TDCF_REVISITED, tdcf_name
from tDCF_python.intervals import LEVEL
from tDCF_python.metrics import Point

NONE = "-"
FIGURES = {
    EER: "EER",
    MIN_TDCF_2019: "min t-DCF (2019)",
    MIN_TDCF_REVISITED: "min t-DCF (revisited)",
    MIN_DCF: "min DCF",
}
WITHOUT_ASV = (
    "min t-DCF needs the error rates of a speaker verification system: give its score file with --asv_score,\n"
    f"or --asv_score {LA_EVAL_NAME} for the evaluation set of ASVspoof 2019 LA"
)


@dataclass(frozen=True)
class Table:
    """A caption, a heading of one or more rows, and rows whose first cell is a name.

    Attributes
    ----------
    caption : str
    header, rows : list of list of str
    total : bool
        Whether the last row sums up the others.
    """

    caption: str
    header: list[list[str]]
    rows: list[list[str]]
    total: bool = False

    def __str__(self) -> str:
        """Return the table in fixed-width letters, the first column to the left and the others to the right."""
        widths = [max(map(len, column)) for column in zip(*self.header, *self.rows, strict=True)]
        rule = ["-" * width for width in widths]
        rows = [*self.rows[:-1], rule, self.rows[-1]] if self.total else self.rows
        lines = (
            "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]).rstrip()
            for first, *others in (*self.header, rule, *rows)
        )
        return "\n".join([self.caption, *lines])


def percent(fraction: float, digits: int) -> str:
    """Return a fraction as a percentage with so many decimals."""
    return f"{100 * fraction:.{digits}f} %"


def plain(study: Study) -> str:
    """Return the report on the first system: verification system, EER, min t-DCF and operating points."""
    system, asv = study.systems[0], study.asv
    found, pooled = system.evaluation, system.pooled
    lines = [
        f"{system.name}: {pooled.n_bonafide + pooled.n_spoof:,} trials, {pooled.n_bonafide:,} bona fide and "
        f"{pooled.n_spoof:,} spoof; higher score = bona fide",
        "",
    ]
    if asv is not None:
        rates = asv.rates
        lines += [
            f"Speaker verification ({asv.source}), at its equal error rate",
            f"  EER                   {percent(rates.eer, 6):>11}   at threshold {rates.threshold:.6f}",
            f"  P_fa                  {percent(rates.p_fa, 6):>11}   nontargets accepted",
            f"  P_miss                {percent(rates.p_miss, 6):>11}   targets rejected",
            f"  P_miss,spoof          {percent(rates.p_miss_spoof, 6):>11}   spoofs rejected",
            "",
        ]
    lines += [
        "Countermeasure",
        f"  EER                   {percent(found.eer.value, 5):>10}    {_where(found.eer)}",
        "",
    ]
    point = found.min_tdcf(study.legacy)
    if point:
        name = FIGURES[tdcf_name(study.legacy)]
        lines += ["Both in tandem", f"  {name:<21} {point.value:8.6f}      {_where(point)}"]
    else:
        lines.append("No min t-DCF with these ASV error rates, see the note" if asv else WITHOUT_ASV)
    return "\n".join(lines)


def systems(study: Study) -> Table:
    """Return every system's figures over all trials, and its EER on the development set where there is one."""
    header = [
        ["system", "bona fide", "spoof", "EER", "min t-DCF", "min t-DCF", "min DCF", "act. DCF", "C_llr"],
        ["", "trials", "trials", "%", "2019", "revisited", "", "", "bits"],
    ]
    rows = [
        [
            system.name,
            *_counts(system.pooled),
            *(_cell(system.pooled, figure) for figure in FIGURES),
            f"{system.evaluation.actual_dcf:.4f}",
            f"{system.evaluation.cllr:.4f}",
        ]
        for system in study.systems
    ]
    if study.dev:
        best = _cell(study.dev.best.pooled, EER)
        on_dev = [_cell(study.dev[system.name].pooled, EER) for system in study.systems]
        cells = ["dev EER", "%", *(f"* {cell}" if cell == best else cell for cell in on_dev)]
        for row, cell in zip([*header, *rows], cells, strict=True):
            row.insert(3, cell)
        return Table("All trials; *: best on dev", header, rows)
    return Table("All trials", header, rows)


def intervals(study: Study) -> Table | None:
    """Return every system's figures with their intervals; None where no system has any."""
    if not any(interval.low is not None for system in study.systems for interval in system.pooled.intervals.values()):
        return None
    units = [f"{len(system.units):,} {system.units.over}" for system in study.systems if system.units]
    figures = [figure for figure in FIGURES if figure in study.systems[0].influences]
    header = [["system", *(FIGURES[figure] for figure in figures)], ["", *_units(figures)]]
    rows = [[system.name, *(_cell(system.pooled, figure, True) for figure in figures)] for system in study.systems]
    over = f" over {units[0]}"
    if len(set(units)) > 1:
        over = ""
        for row, cell in zip([*header, *rows], ["over", "", *units], strict=True):
            row.append(cell)
    return Table(f"{percent(LEVEL, 0)} intervals{over}", header, rows)


def applied(study: Study) -> Table | None:
    """Return error rates at the thresholds of other files; None where there are none."""
    rows = [
        [
            system.name,
            FIGURES[found.rule],
            f"{found.threshold:.6f}",
            *(f"{100 * p:.3f}" for p in (found.expected_p_miss, found.expected_p_fa, found.p_miss, found.p_fa)),
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
    if len(shown) == 1:
        return [_one_by_group(shown[0], study, kind)]
    figures = [EER, tdcf_name(study.legacy) if study.rates else MIN_DCF]
    return [_several_by_group(shown, figure, kind) for figure in figures] if shown else []


def worst(study: Study, kind: str) -> list[str]:
    """Return a line on each system's hardest attack or speaker."""
    found = [(system, system.worst(kind)) for system in study.systems]
    return [
        f"Worst {kind} of {system.name}: {group.name}, EER {percent(group.evaluation.eer.value, 3)}"
        for system, group in found
        if group and group.evaluation
    ]


def sentences(study: Study) -> list[str]:
    """Return what the comparisons say."""
    return [_sentence(comparison) for comparison in study.comparisons]


def text(study: Study, brief: bool = False) -> str:
    """Return the report: the plain one for a single system, a table for several; then all else.

    Parameters
    ----------
    study : Study
    brief : bool
        Leave out what was computed for pictures alone: groups, intervals and comparisons.
    """
    first = study.systems[0]
    extended = not brief and (first.units or first.attacks or first.speakers)
    parts: list[str | Table | None] = []
    if len(study.systems) == 1:
        parts += [plain(study), systems(study) if first.applied or extended or study.dev else None]
    else:
        parts += [systems(study), None if study.asv else WITHOUT_ASV]
    if study.dev:
        parts.append("\n".join(advice.sentences(study.dev)))
    if brief:
        parts.append(applied(study))
    else:
        parts += [intervals(study), applied(study)]
        parts += [table for kind in (ATTACK, SPEAKER) for table in by_group(study, kind)]
        parts.append("\n".join(line for kind in (ATTACK, SPEAKER) for line in worst(study, kind)))
        parts.append("\n".join(sentences(study)))
    parts.append("\n".join(f"Note: {note}" for note in study.notes))
    parts.append("\n".join(f"Signature: {study.signature(system)}" for system in study.systems))
    return "\n\n".join(str(part) for part in parts if part)


def _one_by_group(system: SystemResult, study: Study, kind: str) -> Table:
    figures = [EER, *([MIN_TDCF_2019, MIN_TDCF_REVISITED] if study.rates else []), MIN_DCF]
    header = [
        [kind, "bona fide", "spoof", *(FIGURES[figure] for figure in figures)],
        ["", "trials", "trials", *_units(figures)],
    ]
    rows = [
        [group.name, *_counts(group), *(_cell(group, figure, True) for figure in figures)]
        for group in system.groups(kind)
    ]
    return Table(f"{system.name} by {kind}", header, rows, total=True)


def _several_by_group(shown: Sequence[SystemResult], figure: str, kind: str) -> Table:
    found = [{group.name: group for group in system.groups(kind)[:-1]} for system in shown]
    names = sorted({name for groups in found for name in groups})
    rows = [[name, *(_cell(groups.get(name), figure) for groups in found)] for name in names]
    rows.append([shown[0].pooled.name, *(_cell(system.pooled, figure) for system in shown)])
    unit = ", %" if figure == EER else ""
    return Table(f"{FIGURES[figure]}{unit} by {kind}", [[kind, *(system.name for system in shown)]], rows, total=True)


def _sentence(found: Comparison) -> str:
    name, low, high = FIGURES[found.figure], found.interval.low or 0, found.interval.high or 0
    if found.figure == EER:
        size, span = f"{100 * abs(found.difference):.3f} points", f"{100 * low:+.3f} to {100 * high:+.3f}"
    else:
        size, span = f"{abs(found.difference):.4f}", f"{low:+.4f} to {high:+.4f}"
    corrected = f", corrected for {found.n_comparisons} comparisons" if found.n_comparisons > 1 else ""
    test = f"({percent(LEVEL, 0)} interval of the difference {span}; p = {found.p:.3f}{corrected})"
    if not found.difference:
        return f"{found.system} and {found.reference} have the same {name} {test}."
    article = "an" if found.figure == EER else "a"
    direction = "lower" if found.difference < 0 else "higher"
    verdict = "this is more than noise" if found.p < 1 - LEVEL else "this may be noise"
    return f"{found.system} has {article} {name} {size} {direction} than {found.reference} {test}: {verdict}."


def _cell(group: Group | None, figure: str, with_interval: bool = False) -> str:
    point: Point | None = getattr(group.evaluation, figure) if group and group.evaluation else None
    if group is None or point is None:
        return NONE
    scale, digits = (100, 3) if figure == EER else (1, 4)
    cell = f"{scale * point.value:.{digits}f}"
    interval = group.intervals.get(figure) if with_interval else None
    if interval is None:
        return cell
    if interval.low is None or interval.high is None:
        return f"{cell} {NO_INTERVAL}"
    return f"{cell} [{scale * interval.low:.{digits - 1}f}, {scale * interval.high:.{digits - 1}f}]"


def _counts(group: Group) -> list[str]:
    return [f"{group.n_bonafide:,}", f"{group.n_spoof:,}"]


def _units(figures: Sequence[str]) -> list[str]:
    return ["%" if figure == EER else "" for figure in figures]


def _where(point: Point) -> str:
    return f"at threshold {point.threshold:.6f}, P_miss {percent(point.p_miss, 4)}, P_fa {percent(point.p_fa, 4)}"
