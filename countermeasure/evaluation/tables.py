"""The tables of a result, for the text and for the report page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from countermeasure.evaluation import asvspoof
from countermeasure.evaluation.results import ATTACK, POOLED, Group, Study
from tDCF_python import metrics
from tDCF_python.evaluation import EER, MIN_DCF, MIN_TDCF_2019, MIN_TDCF_REVISITED, tdcf_name
from tDCF_python.intervals import LEVEL

NONE = "-"
NO_INTERVAL = "[-]"  # beside a figure; a note tells the reason
LEVEL_NAME = f"{100 * LEVEL:.0f} %"
FIGURES = {
    EER: "EER",
    MIN_TDCF_2019: "min t-DCF (2019)",
    MIN_TDCF_REVISITED: "min t-DCF (revisited)",
    MIN_DCF: "min DCF",
}
CLLR = "cllr"
HEADINGS = {
    EER: "EER\n%",
    MIN_TDCF_2019: "min t-DCF\n2019",
    MIN_TDCF_REVISITED: "min t-DCF\nrevisited",
    MIN_DCF: "min DCF",
    "actual_dcf": "act. DCF",
    CLLR: "C_llr\nbits",
}


class Column(NamedTuple):
    """A heading of one or more lines, a cell for each row, and the rows of the best values among several."""

    heading: str
    cells: Sequence[str]
    best: frozenset[int] = frozenset()


class Table(NamedTuple):
    """A caption and columns, of which the first has the names of the rows.

    Attributes
    ----------
    caption : str
    columns : list of Column
    total : bool
        Whether the last row sums up the others.
    about : mapping from str to str
        What the names of rows mean, where that is known.
    """

    caption: str
    columns: list[Column]
    total: bool
    about: Mapping[str, str]

    @property
    def header(self) -> list[tuple[str, ...]]:
        """The rows of the heading."""
        return list(zip_longest(*(column.heading.split("\n") for column in self.columns), fillvalue=""))

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows below it."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    def __str__(self) -> str:
        """Return the table in fixed width, the first column left-aligned; the best values have a star."""
        stacked = []
        for k, (column, *heading) in enumerate(zip(self.columns, *self.header, strict=True)):
            pad = " " * bool(column.best)
            words = [line + pad for line in heading]
            words += [cell + ("*" if row in column.best else pad) for row, cell in enumerate(column.cells)]
            width = max(map(len, words))
            words = [word.rjust(width) if k else word.ljust(width) for word in words]
            words.insert(len(heading), "-" * width)
            if self.total:
                words.insert(-1, "-" * width)
            stacked.append(words)
        lines = [
            "  ".join([first, *others, self.about.get(first.strip(), "")]).rstrip()
            for first, *others in zip(*stacked, strict=True)
        ]
        has_best = any(column.best for column in self.columns)
        return "\n".join([f"{self.caption}{'; * best' * has_best}", *lines])


def table(
    caption: str, columns: Iterable[Column], total: bool = False, about: Mapping[str, str] | None = None
) -> Table:
    """Return a table of the columns that have a value in any row."""
    return Table(caption, [column for column in columns if {*column.cells} - {"", NONE}], total, about or {})


# -- all systems -------------------------------------------------------------------------------------


def trials(study: Study) -> str:
    """Return how many trials the systems were evaluated on, or that they differ."""
    if len(study.counts) > 1:
        return "different trials"
    ((n_bonafide, n_spoof),) = study.counts
    return f"{n_bonafide + n_spoof:,} trials, {n_bonafide:,} bona fide and {n_spoof:,} spoof"


def systems(study: Study) -> Table:
    """Return every system's figures over all trials, and its EER on the development set where there is one."""
    groups = [system.pooled for system in study.systems]
    caption = trials(study).capitalize() if len(groups) > 1 else "All trials"
    columns = [_names(study)]
    if dev := study.dev:
        caption += "; best on dev marked" * (len(groups) > 1)
        columns.append(_column("dev EER\n%", EER, [dev[system.name].pooled for system in study.systems], True))
    are_comparable = len(study.counts) == 1
    if not are_comparable:
        columns += _counts(groups)
    columns += [_column(heading, figure, groups, not dev and are_comparable) for figure, heading in HEADINGS.items()]
    return table(caption, columns)


def intervals(study: Study) -> Table | None:
    """Return every system's figures with their intervals; None if no system has any."""
    groups = [system.pooled for system in study.systems]
    if not any(interval.low is not None for group in groups for interval in group.intervals.values()):
        return None
    units = [f"{len(system.units):,} {system.units.over}" for system in study.systems if system.units]
    is_one = len({*units}) == 1
    columns = [_column(_title(figure).replace(", ", "\n"), figure, groups, with_interval=True) for figure in FIGURES]
    over = Column("over", [] if is_one else units)
    caption = f"{LEVEL_NAME} intervals{f' over {units[0]}' * is_one}"
    return table(caption, [_names(study), *columns, over])


def comparisons(study: Study) -> Table | None:
    """Return how all other systems compare with one; None if there is nothing to compare."""
    if not study.comparisons:
        return None
    digits = decimals(system.pooled for system in study.systems)
    columns = [Column("system", list(dict.fromkeys(found.system for found in study.comparisons)))]
    for figure in dict.fromkeys(found.figure for found in study.comparisons):
        found = [one for one in study.comparisons if one.figure == figure]
        name = FIGURES[figure].partition(" (")[0]

        def signed(value: float | None, figure: str = figure) -> str:
            return number(value or 0, figure, digits, "+")

        spans = [f"[{signed(one.interval.low)}, {signed(one.interval.high)}]" for one in found]
        columns += [
            Column(f"{name}\ndifference", [signed(one.difference) for one in found]),
            Column(f"{name}\ninterval", spans),
            Column(f"{name}\np", [p_value(one.p) for one in found]),
        ]
    first = study.comparisons[0]
    of_best = ", the best" if study[first.reference] is study.best else ""
    caption = f"Compared with {first.reference}{of_best}: {LEVEL_NAME} interval of the difference, paired"
    if first.n_comparisons > 1:
        caption += f"; p corrected for {first.n_comparisons} comparisons"
    return table(caption, columns)


def operating_points(study: Study) -> Table:
    """Return the thresholds of every system's EER and minima, and the error rates there."""
    digits = decimals(system.pooled for system in study.systems)
    rows = [
        (system.name, name, f"{point.threshold:.6f}", *(number(p, EER, digits) for p in (point.p_miss, point.p_fa)))
        for system in study.systems
        for figure, name in FIGURES.items()
        if (point := getattr(system.evaluation, figure))
    ]
    headings = ("system", "metric", "threshold", "P_miss\n%", "P_fa\n%")
    return table("Operating points", map(Column, headings, zip(*rows, strict=True)))


def applied(study: Study) -> Table | None:
    """Return error rates at the thresholds of other files; None if there are none."""
    digits = decimals(system.pooled for system in study.systems)
    found = [(system.name, one) for system in study.systems for one in system.applied]
    columns = [
        Column("system", [name for name, _ in found]),
        Column("metric", [FIGURES[one.rule] for _, one in found]),
        Column("threshold", [f"{one.threshold:.6f}" for _, one in found]),
        Column("P_miss, %\nthere", [number(one.expected_p_miss, EER, digits) for _, one in found]),
        Column("P_fa, %\nthere", [number(one.expected_p_fa, EER, digits) for _, one in found]),
        Column("P_miss, %\nhere", [number(one.p_miss, EER, digits) for _, one in found]),
        Column("P_fa, %\nhere", [number(one.p_fa, EER, digits) for _, one in found]),
        Column("DCF\nhere", [number(one.dcf, MIN_DCF, digits) for _, one in found]),
    ]
    return table("At thresholds set on other scores (--threshold_from)", columns) if found else None


# -- by attack and other columns ---------------------------------------------------------------------


def by_group(study: Study) -> Iterator[Table]:
    """Yield the tables by the columns that were asked for, pooled last."""
    figures = [EER, *([tdcf_name(study.legacy)] if study.rates else []), MIN_DCF, CLLR]
    about = asvspoof.attacks(study.systems[0].scores) if study.by[:1] == (ATTACK,) else {}
    grids: list[tuple[str, dict[tuple[str, ...], Group]]] = []
    if len(study.by) == 2:
        for system in study.systems:
            crossed = {}
            for group in (*system.parts, system.pooled):
                place = dict(zip(group.by, group.values, strict=True))
                crossed[tuple(place.get(column, POOLED) for column in study.by)] = group
            grids.append((f"{system.name}: ", crossed))
    elif study.by and len(study.systems) > 1:
        every = [(group, system) for system in study.systems for group in system.groups(*study.by)]
        grids.append(("", {(group.name, system.name): group for group, system in every}))
    elif study.by:
        yield _by_group_with_counts(study, figures, about)
    for title, groups in grids:
        for figure in figures:
            caption = f"{title}{_title(figure)} by {' and '.join(study.by)}"
            yield _grid(caption, study.by[0], groups, figure, about if figure == EER else {})


def _by_group_with_counts(study: Study, figures: Sequence[str], about: Mapping[str, str]) -> Table:
    """Return all figures of the one system by the one column."""
    (system,), (by,) = study.systems, study.by
    groups = system.groups(by)
    columns = [_column(_title(figure), figure, groups, with_interval=True) for figure in figures]
    names = Column(by, [group.name for group in groups])
    return table(f"{system.name} by {by}", [names, *_counts(groups), *columns], True, about)


def _grid(
    caption: str, corner: str, groups: Mapping[tuple[str, ...], Group], figure: str, about: Mapping[str, str]
) -> Table:
    """Return one figure of groups by the names of their row and column."""
    rows, columns = (sorted(dict.fromkeys(names), key=POOLED.__eq__) for names in zip(*groups, strict=True))
    cells = [[_cell(groups.get((row, column)), figure) for row in rows] for column in columns]
    return table(caption, [Column(corner, rows), *map(Column, columns, cells)], True, about)


# -- columns and cells -------------------------------------------------------------------------------


def _names(study: Study) -> Column:
    return Column("system", [system.name for system in study.systems])


def _counts(groups: Sequence[Group]) -> list[Column]:
    return [
        Column("bona fide\ntrials", [f"{group.n_bonafide:,}" for group in groups]),
        Column("spoof\ntrials", [f"{group.n_spoof:,}" for group in groups]),
    ]


def _column(
    heading: str, figure: str, groups: Sequence[Group], marks_best: bool = False, with_interval: bool = False
) -> Column:
    """Return the column of a figure, whose least values are the best among several."""
    values = [group.value(figure) for group in groups]
    known = [value for value in values if value is not None]
    best = [row for row, value in enumerate(values) if value == min(known)] if marks_best and len(known) > 1 else []
    return Column(heading, [_cell(group, figure, with_interval) for group in groups], frozenset(best))


def _cell(group: Group | None, figure: str, with_interval: bool = False) -> str:
    value = group.value(figure) if group else None
    if group is None or value is None:
        return NONE
    digits = decimals([group])
    cell = number(value, figure, digits)
    interval = group.intervals.get(figure) if with_interval else None
    if interval is None:
        return cell
    if interval.low is None or interval.high is None:
        return f"{cell} {NO_INTERVAL}"
    low, high = (number(end, figure, max(digits - 1, 1)) for end in (interval.low, interval.high))
    return f"{cell} [{low}, {high}]"


def _title(figure: str) -> str:
    return "EER, %" if figure == EER else FIGURES.get(figure, "C_llr")


def decimals(groups: Iterable[Group]) -> int:
    """Return how many decimals of rates in percent all of these groups support; costs have one more."""
    return min((metrics.decimals(group.n_bonafide, group.n_spoof) for group in groups if group.evaluation), default=1)


def number(value: float, figure: str, digits: int, sign: str = "") -> str:
    """Return a figure as text: the EER in percent with so many decimals, a cost with one more."""
    return f"{100 * value:{sign}.{digits}f}" if figure == EER else f"{value:{sign}.{digits + 1}f}"


def percent(fraction: float, digits: int) -> str:
    """Return a fraction as a percentage with so many decimals."""
    return f"{100 * fraction:.{digits}f} %"


def p_value(p: float) -> str:
    """Return a p value as text."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
