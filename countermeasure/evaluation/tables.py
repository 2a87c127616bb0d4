"""A result in words, for the text and for the report page: tables and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from countermeasure.evaluation import advice, asvspoof
from countermeasure.evaluation.results import ATTACK, NO_INTERVAL, Comparison, Group, Study, SystemResult
from tDCF_python import metrics
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
ACTUAL_DCF, CLLR = "actual_dcf", "cllr"
ALL_FIGURES = {**FIGURES, ACTUAL_DCF: "act. DCF", CLLR: "C_llr"}
WITHOUT_ASV = f"For min t-DCF give the ASV system's scores: --asv_score FILE, or {LA_EVAL_NAME} for that evaluation set"
_RULE = "-" * 72


@dataclass(frozen=True)
class Table:
    """A caption, a heading of one or more rows, and rows whose first cell is a name.

    Attributes
    ----------
    caption : str
    header, rows : list of list of str
    total : bool
        Whether the last row sums up the others.
    best : frozenset of (int, int)
        Row and column of the best values, among several.
    about : mapping from str to str
        What the names of rows mean, where that is known.
    """

    caption: str
    header: list[list[str]]
    rows: list[list[str]]
    total: bool = False
    best: frozenset[tuple[int, int]] = frozenset()
    about: Mapping[str, str] = field(default_factory=dict)

    def without_empty_columns(self) -> Table:
        """Return the table without columns that have no value in any row."""
        kept = [k for k, cells in enumerate(zip(*self.rows, strict=True)) if set(cells) - {"", NONE}]
        header, rows = ([[cells[k] for k in kept] for cells in part] for part in (self.header, self.rows))
        best = frozenset((row, kept.index(column)) for row, column in self.best if column in kept)
        return replace(self, header=header, rows=rows, best=best)

    def __str__(self) -> str:
        """Return the table in fixed-width letters, the first column to the left; the best values have a star."""
        starred = {column for _, column in self.best}
        marked = [
            [cell + ("*" if (row, k) in self.best else " " * (k in starred)) for k, cell in enumerate(cells)]
            for row, cells in enumerate(self.rows)
        ]
        header = [[cell + " " * (k in starred) for k, cell in enumerate(cells)] for cells in self.header]
        widths = [max(map(len, column)) for column in zip(*header, *marked, strict=True)]
        rule = ["-" * width for width in widths]
        rows = [*marked[:-1], rule, marked[-1]] if self.total else marked
        lines = []
        for cells in (*header, rule, *rows):
            first, *others = map(str.rjust, cells, widths)
            line = "  ".join([first.strip().ljust(widths[0]), *others, self.about.get(first.strip(), "")])
            lines.append(line.rstrip())
        return "\n".join([f"{self.caption}{'; * best' * bool(self.best)}", *lines])


def percent(fraction: float, digits: int) -> str:
    """Return a fraction as a percentage with so many decimals."""
    return f"{100 * fraction:.{digits}f} %"


def decimals(groups: Iterable[Group]) -> int:
    """Return how many decimals of rates in percent all of these groups support; costs have one more."""
    return min((metrics.decimals(group.n_bonafide, group.n_spoof) for group in groups if group.evaluation), default=1)


# -- the single system -------------------------------------------------------------------------------


def plain(study: Study) -> str:
    """Return the report on the first system: verification system, EER, min t-DCF and operating points."""
    system, asv = study.systems[0], study.asv
    found, pooled = system.evaluation, system.pooled
    digits = decimals([pooled])
    lines = [f"{system.name}: {trials(study)}; higher score = bona fide", ""]
    if asv is not None:
        rates = asv.rates
        lines += [
            f"Speaker verification ({asv.source}), at its equal error rate",
            f"  EER                   {percent(rates.eer, 3):>10}   at threshold {rates.threshold:.6f}",
            f"  P_fa                  {percent(rates.p_fa, 3):>10}   nontargets accepted",
            f"  P_miss                {percent(rates.p_miss, 3):>10}   targets rejected",
            f"  P_miss,spoof          {percent(rates.p_miss_spoof, 3):>10}   spoofs rejected",
            "",
        ]
    lines += [
        "Countermeasure",
        f"  EER                   {percent(found.eer.value, digits):>10}   {_where(found.eer, digits)}",
    ]
    point = found.min_tdcf(study.legacy)
    if point:
        name = FIGURES[tdcf_name(study.legacy)]
        value = f"{point.value:.{digits + 3}f}  "
        lines += ["", "Both in tandem", f"  {name:<21} {value:>10}   {_where(point, digits)}"]
    else:
        lines += ["", "No min t-DCF with these ASV error rates, see the note" if asv else WITHOUT_ASV]
    return "\n".join(lines)


def _where(point: Point, digits: int) -> str:
    rates = f"P_miss {percent(point.p_miss, digits)}, P_fa {percent(point.p_fa, digits)}"
    return f"at threshold {point.threshold:.6f}, {rates}"


# -- all systems -------------------------------------------------------------------------------------


def trials(study: Study) -> str:
    """Return how many trials the systems were evaluated on, or that they differ."""
    counts = {(system.pooled.n_bonafide, system.pooled.n_spoof) for system in study.systems}
    if len(counts) > 1:
        return "different trials"
    ((n_bonafide, n_spoof),) = counts
    return f"{n_bonafide + n_spoof:,} trials, {n_bonafide:,} bona fide and {n_spoof:,} spoof"


def systems(study: Study) -> Table:
    """Return every system's figures over all trials, and its EER on the development set where there is one."""
    groups = [system.pooled for system in study.systems]
    digits = decimals(groups)
    differ = len({(group.n_bonafide, group.n_spoof) for group in groups}) > 1
    header = [
        ["system", "bona fide", "spoof", "EER", "min t-DCF", "min t-DCF", "min DCF", "act. DCF", "C_llr"],
        ["", "", "", "%", "2019", "revisited", "", "", "bits"],
    ]
    rows, best = [], set()
    for system in study.systems:
        counts = [f"{system.pooled.n_bonafide:,}", f"{system.pooled.n_spoof:,}"] if differ else ["", ""]
        rows.append([system.name, *counts, *(_cell(system.pooled, figure, digits) for figure in ALL_FIGURES)])
    for column, figure in enumerate(ALL_FIGURES, 3):
        values = [group.value(figure) for group in groups]
        known = [value for value in values if value is not None]
        if len(known) > 1:
            best |= {(row, column) for row, value in enumerate(values) if value == min(known)}
    caption = "All trials" if len(study.systems) == 1 else trials(study).capitalize()
    table = Table(caption, header, rows, best=frozenset(best)).without_empty_columns()
    return _with_dev(table, study, study.dev) if study.dev else table


def _with_dev(table: Table, study: Study, dev: Study) -> Table:
    """Return the systems' table with the EER on dev in the second column, and the best there marked instead."""
    digits = decimals(system.pooled for system in dev.systems)
    cells = [_cell(dev[system.name].pooled, EER, digits) for system in study.systems]
    header = [[cells[0], added, *cells[1:]] for cells, added in zip(table.header, ("dev EER", "%"), strict=True)]
    rows = [[cells[0], added, *cells[1:]] for cells, added in zip(table.rows, cells, strict=True)]
    best = frozenset((row, 1) for row, cell in enumerate(cells) if cell == _cell(dev.best.pooled, EER, digits))
    return replace(table, caption=f"{table.caption}; best on dev marked", header=header, rows=rows, best=best)


def intervals(study: Study) -> Table | None:
    """Return every system's figures with their intervals; None where no system has any."""
    if not any(interval.low is not None for system in study.systems for interval in system.pooled.intervals.values()):
        return None
    units = [f"{len(system.units):,} {system.units.over}" for system in study.systems if system.units]
    header = [["system", *FIGURES.values(), "over"], ["", "%", "", "", "", ""]]
    digits = decimals(system.pooled for system in study.systems)
    rows = [
        [system.name, *(_cell(system.pooled, figure, digits, True) for figure in FIGURES), over * (len(set(units)) > 1)]
        for system, over in zip(study.systems, units, strict=True)
    ]
    over = f" over {units[0]}" if len(set(units)) == 1 else ""
    return Table(f"{percent(LEVEL, 0)} intervals{over}", header, rows).without_empty_columns()


def comparisons(study: Study) -> Table | None:
    """Return how all other systems compare with one; None where there is nothing to compare."""
    if not study.comparisons:
        return None
    first = study.comparisons[0]
    figures = list(dict.fromkeys(found.figure for found in study.comparisons))
    header = [["system"], [""]]
    for figure in figures:
        for row, names in zip(header, ((FIGURES[figure], "", ""), ("difference", "interval", "p")), strict=True):
            row += names
    digits = decimals(system.pooled for system in study.systems)
    rows = []
    for name in dict.fromkeys(found.system for found in study.comparisons):
        rows.append([name])
        for found in study.comparisons:
            if found.system == name:
                low, high = found.interval.low or 0, found.interval.high or 0
                spans = [_number(value, found.figure, digits, "+") for value in (found.difference, low, high)]
                rows[-1] += [spans[0], f"[{spans[1]}, {spans[2]}]", _p_value(found.p)]
    of_best = ", the best" if study[first.reference] is study.best else ""
    caption = f"Compared with {first.reference}{of_best}: {percent(LEVEL, 0)} interval of the difference, paired"
    if first.n_comparisons > 1:
        caption += f"; p corrected for {first.n_comparisons} comparisons"
    return Table(caption, header, rows)


def summary(study: Study) -> list[str]:
    """Return a sentence on the best system, and one on the differences that may be chance."""
    if len(study.systems) == 1:
        return []
    best = study.best.pooled
    digits = decimals([best])
    sentence = f"{study.best.name} has the lowest EER of {len(study.systems)} systems: "
    sentence += percent(study.best.evaluation.eer.value, digits)
    interval = best.intervals.get(EER)
    if interval and interval.low is not None and interval.high is not None:
        low, high = (_number(end, EER, max(digits - 1, 1)) for end in (interval.low, interval.high))
        sentence += f" ({percent(LEVEL, 0)} interval {low} to {high})"
    found = [one for one in study.comparisons if one.figure == EER]
    return [f"{each}." for each in (sentence, _on_chance(found) if found else None) if each]


def _on_chance(found: Sequence[Comparison]) -> str:
    reference = found[0].reference
    doubtful = [one for one in found if not one.is_significant]
    if not doubtful:
        return f"Every other system's EER differs from that of {reference} by more than chance (p < 0.05)"
    names = ", ".join(f"{one.system} (p = {_p_value(one.p)})" for one in doubtful)
    return f"May be chance: the difference in EER between {reference} and {names}"


def applied(study: Study) -> Table | None:
    """Return error rates at the thresholds of other files; None where there are none."""
    digits = decimals(system.pooled for system in study.systems)
    rows = [
        [
            system.name,
            FIGURES[found.rule],
            f"{found.threshold:.6f}",
            *(f"{100 * p:.{digits}f}" for p in (found.expected_p_miss, found.expected_p_fa, found.p_miss, found.p_fa)),
            _number(found.dcf, MIN_DCF, digits),
        ]
        for system in study.systems
        for found in system.applied
    ]
    header = [
        ["system", "threshold", "threshold", "P_miss, %", "P_fa, %", "P_miss, %", "P_fa, %", "DCF"],
        ["", "of", "", "there", "there", "here", "here", "here"],
    ]
    return Table("At thresholds set on other scores (--threshold_from)", header, rows) if rows else None


# -- by attack and other columns ---------------------------------------------------------------------


def by_group(study: Study) -> Iterator[Table]:
    """Yield the tables by the columns that were asked for, pooled last."""
    figures = [EER, *([tdcf_name(study.legacy)] if study.rates else []), MIN_DCF, CLLR]
    if len(study.by) == 2:
        yield from (_crossed(study, system, figure) for system in study.systems for figure in figures)
    elif study.by and len(study.systems) == 1:
        yield _one_by_group(study, figures)
    elif study.by:
        yield from (_several_by_group(study, figure) for figure in figures)


def _one_by_group(study: Study, figures: Sequence[str]) -> Table:
    system, (by,) = study.systems[0], study.by
    groups = system.groups(by)
    header = [[by, "bona fide", "spoof", *map(_with_unit, figures)], ["", "trials", "trials", *[""] * len(figures)]]
    digits = decimals(groups)
    rows = [
        [
            group.name,
            f"{group.n_bonafide:,}",
            f"{group.n_spoof:,}",
            *(_cell(group, figure, digits, True) for figure in figures),
        ]
        for group in groups
    ]
    return Table(f"{system.name} by {by}", header, rows, True, about=_about(study)).without_empty_columns()


def _several_by_group(study: Study, figure: str) -> Table:
    (by,) = study.by
    found = [{group.name: group for group in system.groups(by)} for system in study.systems]
    names = list(dict.fromkeys(name for groups in found for name in groups))
    names.append(names.pop(names.index(study.systems[0].pooled.name)))
    digits = decimals(group for groups in found for group in groups.values())
    rows = [[name, *(_cell(groups.get(name), figure, digits) for groups in found)] for name in names]
    header = [[by, *(system.name for system in study.systems)]]
    return Table(f"{_with_unit(figure)} by {by}", header, rows, True, about=_about(study, figure))


def _crossed(study: Study, system: SystemResult, figure: str) -> Table:
    """Return one figure of one system by two columns, the values of the first as rows."""
    one, other = study.by
    rows, columns = ([group.values for group in system.groups(column)[:-1]] + [()] for column in study.by)
    found = {group.values: group for group in (*system.groups(one, other), system.pooled)}
    margins = {(column, group.values): group for column in study.by for group in system.groups(column)[:-1]}

    def group(row: tuple[str, ...], column: tuple[str, ...]) -> Group | None:
        if row and column:
            return found.get(row + column)
        return margins[one, row] if row else margins[other, column] if column else system.pooled

    digits = decimals(found.values())
    header = [[one, *("".join(column) or system.pooled.name for column in columns)]]
    cells = [
        ["".join(row) or system.pooled.name, *(_cell(group(row, column), figure, digits) for column in columns)]
        for row in rows
    ]
    caption = f"{system.name}: {_with_unit(figure)} by {one} and {other}"
    return Table(caption, header, cells, True, about=_about(study, figure))


def _about(study: Study, figure: str = EER) -> dict[str, str]:
    """Return what the attacks are, to stand in the first of several tables."""
    return asvspoof.attacks(study.systems[0].scores) if study.by[0] == ATTACK and figure == EER else {}


def worst(study: Study) -> Iterator[str]:
    """Yield a line on each system's hardest group, by one column."""
    for system in study.systems if len(study.by) == 1 else ():
        if group := system.worst(study.by[0]):
            yield f"Hardest {study.by[0]} for {system.name}: {group.name}, EER {_cell(group, EER, decimals([group]))} %"


# -- cells -------------------------------------------------------------------------------------------


def _with_unit(figure: str) -> str:
    return f"{ALL_FIGURES[figure]}{', %' * (figure == EER)}"


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _number(value: float, figure: str, digits: int, sign: str = "") -> str:
    return f"{100 * value:{sign}.{digits}f}" if figure == EER else f"{value:{sign}.{digits + 1}f}"


def _cell(group: Group | None, figure: str, digits: int, with_interval: bool = False) -> str:
    value = group.value(figure) if group else None
    if group is None or value is None:
        return NONE
    cell = _number(value, figure, digits)
    interval = group.intervals.get(figure) if with_interval else None
    if interval is None:
        return cell
    if interval.low is None or interval.high is None:
        return f"{cell} {NO_INTERVAL}"
    low, high = (_number(end, figure, max(digits - 1, 1)) for end in (interval.low, interval.high))
    return f"{cell} [{low}, {high}]"


# -- the whole ---------------------------------------------------------------------------------------


def text(study: Study, brief: bool = False) -> str:
    """Return the report: the plain one for a single system, a table for several; then all else.

    Parameters
    ----------
    study : Study
    brief : bool
        Leave out what was computed for pictures alone: groups, intervals and comparisons.
    """
    extended = not brief and bool(study.systems[0].units or study.by)
    parts: list[str | Table | None] = []
    if len(study.systems) == 1:
        parts += [plain(study), systems(study) if study.systems[0].applied or extended or study.dev else None]
    else:
        parts += [systems(study), None if study.asv else WITHOUT_ASV]
    parts.append(None if brief else intervals(study))
    parts.append(applied(study))
    if not brief:
        parts += [comparisons(study), *by_group(study), "\n".join(worst(study))]
    advised = advice.sentences(study.dev) if study.dev else ()
    parts.append("\n".join([*advised, *summary(study), *(f"Note: {note}" for note in study.notes)]))
    return "\n\n".join(str(part) for part in parts if part) + f"\n{_RULE}\n{study.signature()}"
